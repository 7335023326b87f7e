// The storage of a consortium's contracts by names, as chain/storage.py has it.

import { hex, unhex } from "./digest.js";
import { Failure, say } from "./failure.js";
import { keccak } from "./keccak.js";
import { wordHex } from "./slots.js";

const WORDS = 1n << 256n;
export const FULL = 256; // bits of a slot
const A_BLOCK = 40; // bits of the block in the facts of an anchored head

// Where the contracts keep their state (ERC-7201) and, from there, each member of it; a member of
// a struct that shares its slot has the bits below it and its own.
const NAMESPACE = {
  consortium: "0x0f9f0fb2f906ef66f43320d0f1af6e64947a351dc76eea45b5476e0509539800",
  jobs: "0xa7d3812b81d46d1f3e5684bfdb9d7a3cb731902f78eec9445de55651ebda2800",
  sites: "0x073d0ee24163d311818c86f104c4338aadb90e505514af57f5a2bfa50d2ed900",
  membership: "0xc66cb236599bdde60e919477fadc52751ceae7eb92f6f3af6fff5004e752b200",
  datasets: "0xd6bf224643e866a0b131428cff1abc0c054f5ef71bd8c4f56e5dace529fe7600",
  consents: "0xe659a1c85e2a362c0ce24821969a58b9e02de3e1d5d8c089259bdd0310a4cf00",
  models: "0x1a08133581b70de61502b3c1998f92683f0de74abb0ca7d0a5fd35e206587c00",
  anchors: "0x5b6a769019d8c3fb7cb28303b57f38e180e4232ae66eefa5fcad7a7d71b6b500",
};
export const BOOK = { contracts: [2, 0, 160], algorithms: [3], minimums: [5] };
export const ALGORITHM = { fromBlock: [1, 0, 64], untilBlock: [1, 64, 64] };
export const JOB = {
  proposer: [0],
  member: [1],
  specification: [2],
  algorithm: [3],
  purpose: [4],
  deadline: [5, 0, 64],
  proposedAt: [5, 64, 64],
  approvedAt: [5, 128, 64],
  startedAt: [5, 192, 64],
  endedAt: [6, 0, 64],
  state: [6, 64, 8],
};
export const JOBS = { list: [1, 0, 256] };
export const RECORD = { parties: [9], uses: [10], approvedAt: [12], attested: [13] };
export const PARTY = { site: [0], role: [1] };
export const USE = { party: [0, 0, 8], datasetId: [1], version: [2, 0, 32], grant: [3] };
export const SITES = { sites: [0], keys: [1] };
export const SITE_KEYS = [5];
export const SITE = { member: [0], operator: [1, 0, 160] };
export const KEY = {
  site: [0],
  purpose: [2],
  publicKey: [3],
  fromBlock: [4, 0, 64],
  untilBlock: [4, 64, 64],
};
export const MEMBERS = { members: [0], standings: [1] };
export const MEMBER = { name: [1] };
export const CHECKPOINT = { block: [0, 0, 96], standing: [0, 96, 160] };
export const DATASETS = { datasets: [0], versions: [1] };
export const VERSION = {
  schemaDigest: [0],
  rowsRoot: [1],
  rows: [2, 0, 64],
  columns: [2, 64, 32],
  fromBlock: [2, 96, 64],
  untilBlock: [2, 160, 64],
};
export const GRANT = {
  datasetId: [0],
  fromVersion: [1, 0, 32],
  toVersion: [1, 32, 32],
  grantee: [2],
  purposes: [3],
  algorithms: [4],
  until: [5, 0, 64],
  uses: [5, 64, 32],
  minParties: [5, 96, 8],
  minRows: [5, 104, 64],
  productBudget: [5, 168, 64],
  epsilonMicro: [6, 0, 64],
  columnRules: [7],
  amends: [8],
  nonce: [9],
  owner: [10],
  used: [11, 0, 32],
  fromBlock: [11, 32, 64],
  revokedAt: [11, 96, 64],
  amendedAt: [11, 160, 64],
};
export const MODEL = { modelDigest: [0], job: [1], fromBlock: [3, 0, 64], parents: [4] };
export const ANCHORS = { logs: [0], heads: [1], more: [2], numbers: [5] };
const HEAD = { facts: [0], root: [1] };

/** Where something stands in a contract's storage. */
class Place {
  constructor(slots, address, slot, shift = 0, bits = FULL) {
    Object.assign(this, { slots, address, slot: slot % WORDS, shift, bits });
  }

  /** A member of a struct that begins here, by its place in it. */
  at([slot, shift = 0, bits = FULL]) {
    return new Place(this.slots, this.address, this.slot + BigInt(slot), shift, bits);
  }

  /** What a mapping here holds under a key; `to` says which bits. */
  of(key, [, shift = 0, bits = FULL] = [0]) {
    const slot = hashed(`${wordHex(key)}${wordHex(this.slot).slice(2)}`);
    return new Place(this.slots, this.address, slot, shift, bits);
  }

  /** An item, of so many slots, of a list here. */
  item(number, size = 1) {
    const slot = hashed(wordHex(this.slot)) + BigInt(number) * BigInt(size);
    return new Place(this.slots, this.address, slot);
  }

  /** The number that stands here; a list's is its length. */
  get value() {
    const word = this.slots.word(this.address, this.slot);
    return (word >> BigInt(this.shift)) & ((1n << BigInt(this.bits)) - 1n);
  }

  /** Whether these bytes stand here: short ones with their length in one word, others behind the
   * hash of their place. */
  holds(content) {
    const length = BigInt(content.length);
    if (length < 32n) return this.value === padded(content) + 2n * length;
    if (this.value !== 2n * length + 1n) return false;
    for (let at = 0; at < content.length; at += 32) {
      const found = this.item(at / 32).value;
      if (found !== padded(content.subarray(at, at + 32))) return false;
    }
    return true;
  }
}

/** The contracts of a consortium, found by its own address book. */
export class Storage {
  constructor(slots, consortium) {
    this.slots = slots;
    this.consortium = new Place(slots, consortium, BigInt(NAMESPACE.consortium));
  }

  address(name) {
    const found = this.consortium.at(BOOK.contracts).of(named(name), BOOK.contracts).value;
    return `0x${found.toString(16).padStart(40, "0")}`;
  }

  /** The state of the contract of this name in the book. */
  contract(name) {
    return new Place(this.slots, this.address(name), BigInt(NAMESPACE[name]));
  }
}

/** `stated`, an id, a number, a decimal text or, where that is said, a name, is what stands here. */
export function equal(where, stated, place, isName = false) {
  const found = place.value;
  const wanted = isName ? named(stated) : BigInt(stated);
  if (wanted !== found) throw new Failure(where, stated, `0x${found.toString(16)}`);
}

/** That these bytes, or the bytes of this text, stand there. */
export function equalContent(where, stated, content, place) {
  if (!place.holds(content)) throw new Failure(where, stated, say("state.other"));
}

/** That the site anchored the head {size, root, block}; the facts beside its root. */
export function anchoredBy(anchors, site, anchored, where) {
  const head = anchors.at(ANCHORS.heads).of(BigInt(site)).of(BigInt(anchored.size));
  equal(`${where}.root`, anchored.root, head.at(HEAD.root));
  equal(`${where}.block`, anchored.block, head.at([0, 0, A_BLOCK]));
  return head.at(HEAD.facts).value;
}

/** A name as a word of storage; no word at all where it is too long. */
export function named(name) {
  const bytes = new TextEncoder().encode(name);
  return bytes.length <= 32 ? padded(bytes) : -1n;
}

/** Up to 32 bytes as the upper bytes of a word. */
function padded(bytes) {
  return BigInt(hex(bytes).padEnd(66, "0"));
}

function hashed(text) {
  return BigInt(hex(keccak(unhex(text))));
}
