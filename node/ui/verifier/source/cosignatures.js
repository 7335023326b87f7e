// Who stands behind the head of a log: the signatures below its note, by the keys that are named.
//
//     01                                   Ed25519 over the text: the log itself
//     04                                   cosignature/v1, Ed25519: a witness
//     ff fatechain/eip712-checkpoint/v1    EIP-712 by an Ethereum account: as contracts count it
//
// Sources: https://c2sp.org/signed-note, https://c2sp.org/tlog-cosignature, EIP-712

import { hex, sha256, unhex } from "./digest.js";
import { Failure } from "./failure.js";
import { keccak } from "./keccak.js";
import { bytesOf, signerOf } from "./secp256k1.js";
import { isSigned } from "./signature.js";

const NAME = "fatechain/";
const MAX_LINES = 100;
const [ID, TIME] = [4, 8]; // bytes
const utf8 = (text) => new TextEncoder().encode(text);
const ACCOUNT = utf8("fatechain/eip712-checkpoint/v1\n");
const DOMAIN = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)";
const CHECKPOINT = "Checkpoint(bytes32 logId,uint64 size,bytes32 root,uint64 time)";

/** Whose signatures of this head hold: the `sites`, and the members other than the log's own that
 * they are of, `members` by their audit keys and `accounts` by those that the contract counts.
 *
 * `head` is {log, size, root}; `stated` has the note, the signers with their keys, and where
 * contracts are. Throws a Failure with where: "other" (signatures of another head), "stranger" (of
 * nobody named), "forged", "unsigned" (not by the log itself), "malformed". */
export async function witnessesOf(head, stated) {
  const text = textOf(head);
  const [above, lines] = parted(stated.note);
  if (above !== text) throw refused("other");
  const own = stated.signers.find(({ site }) => site === head.log);
  const found = { members: new Set(), accounts: new Set(), sites: new Set() };
  let isOwn = false;
  for (const line of lines) {
    const signer = stated.signers.find(({ site }) => `${NAME}${site}` === line.name);
    const key = signer && (await keyOf(signer, line, stated));
    if (!key) throw refused("stranger");
    if (key.kind === "log" && signer !== own) throw refused("stranger");
    if (!(await key.verifies(head, text, line.blob))) throw refused("forged");
    if (signer === own) {
      isOwn ||= key.kind === "log";
      continue;
    }
    if (key.kind === "members") found.sites.add(signer.site);
    if (signer.member !== own?.member) found[key.kind].add(signer.member);
  }
  if (!isOwn) throw refused("unsigned");
  return found;
}

function refused(where) {
  return new Failure(where, "", "");
}

/** What is signed of a head (C2SP tlog-checkpoint). */
function textOf({ log, size, root }) {
  return `${NAME}${log}\n${size}\n${btoa(String.fromCharCode(...unhex(root)))}\n`;
}

function parted(note) {
  const at = note.lastIndexOf("\n\n");
  if (at < 0 || !note.endsWith("\n")) throw refused("malformed");
  const lines = note.slice(at + 2, -1).split("\n");
  if (lines.length > MAX_LINES) throw refused("malformed");
  return [note.slice(0, at + 1), lines.map(lineOf)];
}

function lineOf(line) {
  const [, name, encoded] = /^\u2014 ([^ +]+) ([A-Za-z0-9+/]+=*)$/.exec(line) ?? [];
  if (!name) throw refused("malformed");
  let raw;
  try {
    raw = Uint8Array.from(atob(encoded), (char) => char.charCodeAt(0));
  } catch {
    throw refused("malformed");
  }
  if (raw.length <= ID) throw refused("malformed");
  return { name, id: hex(raw.subarray(0, ID)), blob: raw.subarray(ID) };
}

/** The key of a signer that a line names by its id; null where it has none like it. */
async function keyOf(signer, line, { chain, contract }) {
  const audit = signer.audit.map(unhex);
  const keys = [
    ...audit.map((key) => ({ kind: "log", material: [Uint8Array.of(1), key], verifies: plain(key) })),
    ...audit.map((key) => ({
      kind: "members",
      material: [Uint8Array.of(4), key],
      verifies: timed(key),
    })),
    ...signer.accounts.map((account) => ({
      kind: "accounts",
      material: [
        Uint8Array.of(0xff), ACCOUNT, bytesOf(BigInt(chain)), unhex(contract), unhex(account),
      ],
      verifies: byAccount(account, chain, contract),
    })),
  ];
  for (const key of keys) {
    const id = (await sha256(utf8(`${line.name}\n`), ...key.material)).subarray(0, ID);
    if (hex(id) === line.id) return key;
  }
  return null;
}

function plain(key) {
  return (_, text, blob) => isSigned(key, base64(blob), utf8(text));
}

function timed(key) {
  return async (_, text, blob) => {
    if (blob.length <= TIME) return false;
    const said = `cosignature/v1\ntime ${timeOf(blob)}\n${text}`;
    return isSigned(key, base64(blob.subarray(TIME)), utf8(said));
  };
}

function byAccount(account, chain, contract) {
  return async ({ log, size, root }, _, blob) => {
    if (blob.length <= TIME) return false;
    const word = (bytes) => {
      const filled = new Uint8Array(32);
      filled.set(bytes, 32 - bytes.length);
      return filled;
    };
    const domain = hashed(
      keccak(utf8(DOMAIN)), keccak(utf8("FATE-Chain Checkpoint")), keccak(utf8("1")),
      bytesOf(BigInt(chain)), word(unhex(contract)),
    );
    const message = hashed(
      keccak(utf8(CHECKPOINT)), unhex(log), bytesOf(BigInt(size)), unhex(root),
      bytesOf(timeOf(blob)),
    );
    const found = signerOf(hashed(Uint8Array.of(0x19, 1), domain, message), blob.subarray(TIME));
    return found !== null && hex(found) === account;
  };
}

function hashed(...parts) {
  return keccak(Uint8Array.from(parts.flatMap((part) => [...part])));
}

/** Unix seconds, with which a signature begins, as BigInt. */
function timeOf(blob) {
  return BigInt(hex(blob.subarray(0, TIME)));
}

function base64(bytes) {
  return btoa(String.fromCharCode(...bytes));
}
