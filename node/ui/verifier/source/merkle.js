// Merkle trees as in RFC 6962 with SHA-256, as chain/merkle.py and MerkleLog.sol have them:
// tests/vectors/merkle.json holds all three to the same vectors.

import { hex, sha256 } from "./digest.js";

const HASH_BYTES = 32;

/** SHA-256(0x00 || data). */
export function leafHash(data) {
  return sha256(Uint8Array.of(0), data);
}

/** SHA-256(0x01 || left || right). */
export function nodeHash(left, right) {
  return sha256(Uint8Array.of(1), left, right);
}

/** Whether `leaf` is number `index` of the tree of `size` leaves with this root. */
export async function verifyInclusion(root, size, index, leaf, proof) {
  const found = await rootFromInclusion(leaf, index, size, proof);
  return found !== null && hex(found) === hex(root);
}

/** The root that a proof leads to (RFC 9162, 2.1.3.2); null where it cannot be one. */
export async function rootFromInclusion(leaf, index, size, proof) {
  if (!(index >= 0 && index < size)) return null;
  if (![leaf, ...proof].every((hash) => hash.length === HASH_BYTES)) return null;
  // Sizes have up to 53 bits: the shifts of JavaScript know 32.
  const half = (n) => Math.floor(n / 2);
  const isOdd = (n) => n % 2 === 1;
  let [node, last, found] = [index, size - 1, leaf];
  for (const sibling of proof) {
    if (last === 0) return null;
    if (isOdd(node) || node === last) {
      found = await nodeHash(sibling, found);
      // A node that ends an incomplete level has no sibling there: up to where it has one.
      while (node !== 0 && !isOdd(node)) [node, last] = [half(node), half(last)];
    } else {
      found = await nodeHash(found, sibling);
    }
    [node, last] = [half(node), half(last)];
  }
  return last === 0 ? found : null;
}
