// Proof that leaves stand side by side in a log, none left out, as chain/ranges.py has it.

import { nodeHash } from "./merkle.js";

const MAX_PROOF = 128;

/** The root of the tree of `size` in which these leaves stand from `first` on; null for no range. */
export async function rootFromRange(first, leaves, size, proof) {
  const end = first + leaves.length;
  if (!(first >= 0 && end <= size && size > 0) || proof.length > MAX_PROOF) return null;
  const left = [...proof];

  async function root(low, high) {
    if (high <= first || low >= end) return left.shift() ?? null;
    if (high - low === 1) return leaves[low - first];
    const middle = low + half(high - low);
    const before = await root(low, middle);
    const after = before === null ? null : await root(middle, high);
    return after === null ? null : nodeHash(before, after);
  }

  const found = await root(0, size);
  return left.length === 0 ? found : null;
}

/** The largest power of two below it. Sizes have up to 53 bits: no shifts. */
function half(width) {
  let found = 1;
  while (found * 2 < width) found *= 2;
  return found;
}
