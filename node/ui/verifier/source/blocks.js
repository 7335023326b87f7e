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

/** {role, number, hash, time} of each block of which a file that holds has the header, each once,
 * as what proves most: the "state" of the file, a "certificate" in it, or a "time" alone. */
export function blocksOf({ certificate, pack }) {
  const state = (pack === null ? certificate?.state : pack.chain) ?? null;
  const inner = (pack?.certificates ?? []).map((part) => part.certificate?.state ?? null);
  const parts = [
    ...(state === null ? [] : [["state", state.block]]),
    ...inner.filter((each) => each !== null).map(({ block }) => ["certificate", block]),
    ...(state?.bounds ?? []).map((block) => ["time", block]),
  ];
  const found = new Map();
  for (const [role, part] of parts) {
    if (!found.has(part.hash)) found.set(part.hash, { role, ...part });
  }
  return [...found.values()].map(({ role, number, hash, header }) => {
    const { timestamp } = headerIn(unhex(header), "$");
    return { role, number, hash, time: new Date(1000 * timestamp) };
  });
}

/** What the block that a reader names says of a file with these blocks: the tone, and words with
 * what fills them. Only the block of its state proves the file. */
export function compared(blocks, told) {
  if (told === null) return { tone: "bad", words: [["block.none"]] };
  const found = blocks.find(({ hash }) => hash === told.hash);
  if (found === undefined) return { tone: "bad", words: [["block.other", { hash: told.hash }]] };
  const others = blocks.filter((block) => block !== found).map(({ number }) => number);
  const words = [[`block.is.${found.role}`, { number: found.number }]];
  if (others.length > 0) words.push(["block.left", { numbers: others.join(", ") }]);
  return { tone: found.role === "state" ? "good" : "wait", words };
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
