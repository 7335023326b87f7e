// SHA-256 by WebCrypto, and bytes as text.

import { canonical } from "./canonical.js";

/** SHA-256 of the parts, one behind the other. */
export async function sha256(...parts) {
  const joined = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return new Uint8Array(await crypto.subtle.digest("SHA-256", joined));
}

/** SHA-256 of the canonical bytes of a value, 0x-hex. */
export async function digestOf(value) {
  return hex(await sha256(canonicalBytes(value)));
}

export function canonicalBytes(value) {
  return new TextEncoder().encode(canonical(value));
}

export function hex(bytes) {
  return `0x${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

/** Bytes of 0x-hex of even length, as the format has made sure. */
export function unhex(value) {
  const pairs = value.slice(2).match(/../g) ?? [];
  return Uint8Array.from(pairs, (pair) => Number.parseInt(pair, 16));
}
