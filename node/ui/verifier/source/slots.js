// What stood in the storage of contracts, proved against the header of one block, as
// chain/state_proof.py has it.

import { hex, unhex } from "./digest.js";
import { Failure, say } from "./failure.js";
import { keccak } from "./keccak.js";
import { decode } from "./rlp.js";
import { list, record, text, whole } from "./shapes.js";

const EMPTY = hex(keccak(Uint8Array.of(0x80))); // the root of a trie that holds nothing
const MAX_NODES = 20000;
const MAX_NODE = 1024; // bytes
const MAX_HEADER = 4096;
const FIELDS = 15; // of the oldest headers
const [PARENT, STATE_ROOT, NUMBER, TIMESTAMP] = [0, 3, 8, 11];

const bytesOf = (most) => text(2 + 2 * most, /^0x([0-9a-f]{2})+$/);
export const BLOCK = record({
  number: whole(0),
  hash: text(66, /^0x[0-9a-f]{64}$/),
  header: bytesOf(MAX_HEADER),
});
export const NODES = list(bytesOf(MAX_NODE), 0, MAX_NODES);
export const STATE = record({ block: BLOCK, nodes: NODES });

/** {hash, parent, stateRoot, number, timestamp} of a block's header with that hash and number. */
export function headerOf(block, where) {
  const found = headerIn(unhex(block.header), `${where}.header`, block.hash, `${where}.hash`);
  if (found.number !== block.number) {
    throw new Failure(`${where}.number`, block.number, found.number);
  }
  return found;
}

/** The same of the bytes alone, where no hash is told. */
export function headerIn(raw, where, told = null, at = where) {
  const hash = hex(keccak(raw));
  if (told !== null && hash !== told) throw new Failure(at, told, say("state.hash", { hash }));
  const fields = decode(raw);
  const isFlat = Array.isArray(fields) && fields.every((field) => !Array.isArray(field));
  if (!isFlat) throw new Failure(where, say("state.form"), say("state.header"));
  const isWhole =
    fields.length >= FIELDS && fields[PARENT].length === 32 && fields[STATE_ROOT].length === 32;
  if (!isWhole) throw new Failure(where, say("state.form"), say("state.header"));
  const [number, timestamp] = [wholeOf(fields[NUMBER]), wholeOf(fields[TIMESTAMP])];
  if (number === null || timestamp === null) {
    throw new Failure(where, say("state.form"), say("state.header"));
  }
  const stateRoot = hex(fields[STATE_ROOT]);
  return { hash, parent: hex(fields[PARENT]), stateRoot, number, timestamp };
}

function wholeOf(field) {
  const found = field.reduce((sum, byte) => 256 * sum + byte, 0);
  return field[0] === 0 || !Number.isSafeInteger(found) ? null : found;
}

/** The header of a state, and the slots under it. */
export function proved(state, where) {
  const header = headerOf(state.block, `${where}.block`);
  return { header, slots: new ProvedSlots(header.stateRoot, state.nodes, `${where}.nodes`) };
}

/** Words of storage by nodes under a state root; throws Failure for what they do not prove. */
export class ProvedSlots {
  #root;
  #where;
  #nodes;
  #used = new Set();
  #accounts = new Map();

  constructor(stateRoot, nodes, where) {
    this.#root = stateRoot;
    this.#where = where;
    this.#nodes = new Map(nodes.map(unhex).map((node) => [hex(keccak(node)), node]));
  }

  /** What stands in the slot, as BigInt; 0n where nothing does. */
  word(address, slot) {
    const root = this.#storageRoot(address.toLowerCase());
    const stored = this.value(root, keccak(unhex(wordHex(slot))));
    if (stored === null) return 0n;
    const word = decode(stored);
    const isWord = word instanceof Uint8Array && word.length <= 32;
    if (!isWord || word[0] === 0) throw this.#failed("state.form", "state.word");
    // Anvil keeps a slot that was set to nothing, as a word of no bytes.
    return word.length === 0 ? 0n : BigInt(hex(word));
  }

  /** What the trie of this root holds under the key; null where it proves to hold nothing. */
  value(root, key) {
    let node = this.#node(root);
    let path = hex(key).slice(2);
    while (node !== null) {
      if (node.length === 17 && path.length > 0) {
        [node, path] = [this.#child(node[Number.parseInt(path[0], 16)]), path.slice(1)];
        continue;
      }
      if (node.length === 17) return orNothing(this.#content(node[16]));
      const { part, isLeaf } = this.#path(node[0]);
      if (isLeaf) return part === path ? this.#content(node[1]) : null;
      if (!path.startsWith(part)) return null;
      if (isNothing(node[1])) throw this.#failed("state.form", "state.node");
      [node, path] = [this.#child(node[1]), path.slice(part.length)];
    }
    return null;
  }

  /** Nothing stands in the file that proves nothing. */
  requireAllUsed() {
    if (this.#used.size !== this.#nodes.size) throw this.#failed("state.more", "state.needed");
  }

  #storageRoot(address) {
    if (!this.#accounts.has(address)) {
      const account = this.value(this.#root, keccak(unhex(address)));
      if (account === null) throw this.#failed("state.no.account", "state.contract", { address });
      const fields = decode(account);
      if (!Array.isArray(fields) || fields.length !== 4 || fields[2].length !== 32) {
        throw this.#failed("state.form", "state.contract");
      }
      this.#accounts.set(address, hex(this.#content(fields[2])));
    }
    return this.#accounts.get(address);
  }

  #node(hash) {
    if (hash === EMPTY) return null;
    const node = this.#nodes.get(hash);
    if (node === undefined) throw this.#failed("state.no.node", "state.needed", { hash });
    this.#used.add(hash);
    return this.#formed(decode(node));
  }

  #child(told) {
    if (isNothing(told)) return null;
    // A node of fewer than 32 bytes stands in the one above it.
    return Array.isArray(told) ? this.#formed(told) : this.#node(hex(told));
  }

  #formed(node) {
    const isNode = Array.isArray(node) && (node.length === 2 || node.length === 17);
    if (!isNode) throw this.#failed("state.form", "state.node");
    return node;
  }

  /** Half-bytes as text, and whether a leaf ends them (hex-prefix, Yellow Paper C). */
  #path(told) {
    const digits = hex(this.#content(told)).slice(2);
    const isOdd = digits[0] === "1" || digits[0] === "3";
    if (!/^([02]0|[13])/.test(digits)) throw this.#failed("state.form", "state.node");
    const part = digits.slice(isOdd ? 1 : 2);
    const isLeaf = digits[0] === "2" || digits[0] === "3";
    if (part === "" && !isLeaf) throw this.#failed("state.form", "state.node");
    return { part, isLeaf };
  }

  #content(told) {
    if (!(told instanceof Uint8Array)) throw this.#failed("state.form", "state.node");
    return told;
  }

  #failed(found, expected, filled = {}) {
    return new Failure(this.#where, say(found, filled), say(expected));
  }
}

/** A number of 256 bits as 0x-hex of 32 bytes. */
export function wordHex(number) {
  return `0x${number.toString(16).padStart(64, "0")}`;
}

function isNothing(told) {
  return told instanceof Uint8Array && told.length === 0;
}

function orNothing(content) {
  return content.length === 0 ? null : content;
}
