// Entries of an audit log as they are shown, as chain/entries.py opens them: what they disclose is
// what was committed to.

import { isObject } from "./canonical.js";
import { canonicalBytes, hex, sha256, unhex } from "./digest.js";
import { Failure, say } from "./failure.js";
import { leafHash } from "./merkle.js";

const HEX = /^[0-9a-f]{64}$/;

const opened = new WeakMap(); // an entry is looked at by several checks, always at one place

/** The fields that a shown entry discloses; throws Failure at the first place that does not fit. */
export function openEntry(shown, where) {
  if (!opened.has(shown)) opened.set(shown, open(shown, where));
  return opened.get(shown);
}

async function open(shown, where) {
  const entry = objectAt(shown, "entry", where);
  const disclosed = objectAt(shown, "disclosed", where);
  const leaf = hex(await leafHash(canonicalBytes(entry)));
  if (shown.leafHash !== leaf) throw new Failure(`${where}.leafHash`, shown.leafHash, leaf);
  const committed = objectAt(entry, "data", `${where}.entry`);
  for (const name of Object.keys(committed).sort()) {
    if (!isHex(committed[name])) {
      const at = `${where}.entry.data.${name}`;
      throw new Failure(at, committed[name], say("entry.commitment"));
    }
  }
  const fields = [];
  for (const name of Object.keys(disclosed).sort()) {
    const at = `${where}.disclosed.${name}`;
    fields.push([name, await openField(disclosed[name], name, committed, at)]);
  }
  return Object.fromEntries(fields);
}

async function openField(pair, name, committed, where) {
  if (!Object.hasOwn(committed, name)) {
    throw new Failure(where, say("entry.no.field"), say("entry.field"));
  }
  if (!Array.isArray(pair) || pair.length !== 2 || !isHex(pair[0])) {
    throw new Failure(where, say("entry.no.disclosure"), say("entry.disclosure"));
  }
  const commitment = await sha256(unhex(`0x${pair[0]}`), canonicalBytes(pair[1]));
  if (hex(commitment) !== `0x${committed[name]}`) {
    throw new Failure(where, say("entry.other"), say("entry.committed"));
  }
  return pair[1];
}

function objectAt(value, name, where) {
  if (!isObject(value) || !isObject(value[name])) {
    throw new Failure(`${where}.${name}`, say("entry.no.object"), say("entry.object"));
  }
  return value[name];
}

function isHex(value) {
  return typeof value === "string" && HEX.test(value);
}
