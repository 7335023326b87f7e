// Canonical JSON (RFC 8785), as chain/canonical.py has it: one byte string for a value.

import { Failure, say } from "./failure.js";

export const MAX_BYTES = 64 * 1024 * 1024;
const MAX_DEPTH = 40;
const BEYOND_INTEGERS = 1e21; // from here on the canonical form has an exponent: no integer's

/** The canonical text; throws for numbers and texts that have none. */
export function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (isObject(value)) {
    const named = (name) => `${text(name)}:${canonical(value[name])}`;
    return `{${Object.keys(value).sort().map(named).join(",")}}`; // by UTF-16 code units
  }
  if (typeof value === "string") return text(value);
  if (typeof value === "number") return number(value);
  if (value === null || typeof value === "boolean") return String(value);
  throw new TypeError(`${typeof value} has no JSON`);
}

/** The value of a file that is canonical JSON and a newline; throws Failure for all others. */
export function parse(bytes) {
  const form = say("form.canonical");
  const refuse = (found, expected = form) => new Failure("$", found, expected);
  if (bytes.length > MAX_BYTES) {
    throw refuse(say("form.bytes", { n: bytes.length }), say("form.at.most", { n: MAX_BYTES }));
  }
  if (bytes.at(-1) !== 0x0a) throw refuse(say("form.no.newline"));
  let content;
  try {
    content = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(
      bytes.subarray(0, -1),
    );
  } catch {
    throw refuse(say("form.not.utf8"));
  }
  // Looked at before anything recurses.
  if (isDeep(content)) throw refuse(say("form.deep"), say("form.levels", { n: MAX_DEPTH }));
  let value, expected;
  try {
    value = JSON.parse(content);
    expected = canonical(value);
  } catch {
    throw refuse(say("form.not.json"));
  }
  // A key that stands twice, a space, 1.0 for 1: each makes other bytes than the canonical ones.
  if (content !== expected) throw refuse(say("form.other"));
  return value;
}

/** Equal as JSON. */
export function same(found, expected) {
  return canonical(found) === canonical(expected);
}

export function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function text(value) {
  if (!value.isWellFormed()) throw new TypeError("half a character");
  return JSON.stringify(value);
}

function number(value) {
  const large = Math.abs(value);
  const inexact = Number.isInteger(value) && !Number.isSafeInteger(value);
  if (!Number.isFinite(value) || (inexact && large < BEYOND_INTEGERS)) {
    throw new RangeError("an integer that is not exact");
  }
  return JSON.stringify(value);
}

/** By hand: a regular expression would need a stack as deep as the longest text is long. */
function isDeep(content) {
  let depth = 0;
  let quoted = false;
  for (let at = 0; at < content.length; at += 1) {
    const char = content[at];
    if (char === '"') quoted = !quoted;
    else if (quoted && char === "\\") at += 1; // what follows ends no text
    else if (!quoted && (char === "[" || char === "{")) depth += 1;
    else if (!quoted && (char === "]" || char === "}")) depth -= 1;
    if (depth > MAX_DEPTH) return true;
  }
  return false;
}
