// The blocks by whose headers a file is proved, and the block that a reader names, as
// chain/blocks.py has them.

import { isObject } from "./canonical.js";
import { unhex } from "./digest.js";
import { Failure } from "./failure.js";
import { headerIn } from "./slots.js";

export const MOST = 65536; // characters in which somebody names a block
const HASH = /^0x[0-9a-f]{64}$/;
const RLP = /^0x([0-9a-f]{2}){33,4096}$/;

/** {hash, number} of a hash, a header's RLP or its JSON as nodes tell it; null for anything else. */
export function toldBlock(text) {
  if (text.length > MOST) return null;
  const given = text.trim();
  const digits = given.toLowerCase();
  if (HASH.test(digits)) return { hash: digits };
  if (RLP.test(digits)) return ofHeader(digits);
  const told = parsed(given);
  const block = isObject(told) && isObject(told.result) ? told.result : told;
  if (!isObject(block)) return null;
  if (typeof block.header === "string" && RLP.test(block.header)) return ofHeader(block.header);
  return typeof block.hash === "string" && HASH.test(block.hash) ? { hash: block.hash } : null;
}

/** {number, hash, time} of each block by which a file that holds is proved, each once. */
export function blocksOf({ certificate, pack }) {
  const states = pack === null ? [certificate?.state ?? null] : statesIn(pack);
  const parts = states
    .filter((state) => state !== null)
    .flatMap(({ block, bounds = [] }) => [block, ...bounds]);
  const found = new Map(parts.map((part) => [part.hash, part]));
  return [...found.values()].map(({ number, hash, header }) => {
    const { timestamp } = headerIn(unhex(header), "$");
    return { number, hash, time: new Date(1000 * timestamp) };
  });
}

function statesIn(pack) {
  return [pack.chain, ...pack.certificates.map((part) => part.certificate?.state ?? null)];
}

function ofHeader(text) {
  try {
    return { hash: headerIn(unhex(text), "$").hash };
  } catch (error) {
    if (error instanceof Failure) return null;
    throw error;
  }
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
