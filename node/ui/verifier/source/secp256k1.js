// Who signed: Ethereum accounts from their signatures (secp256k1, SEC 1 section 4.1.6), which
// WebCrypto has not. Everything here is public, so nothing needs to take constant time.

import { keccak } from "./keccak.js";

const P = 2n ** 256n - 2n ** 32n - 977n;
const N = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
const G = [
  0x79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798n,
  0x483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8n,
  1n,
];
const NOWHERE = [1n, 1n, 0n];

/** The account (20 bytes) whose signature r, s, v of a digest this is; null where it is nobody's.
 *
 * There is one form of each signature: v is 27 or 28 and s the lower of the two that fit. */
export function signerOf(digest, signature) {
  if (signature.length !== 65) return null;
  const [r, s] = [numberOf(signature.subarray(0, 32)), numberOf(signature.subarray(32, 64))];
  const odd = signature[64] - 27;
  if (odd !== 0 && odd !== 1) return null;
  if (r === 0n || r >= N || s === 0n || s > N / 2n) return null;
  const square = modulo(r * r * r + 7n, P);
  const root = power(square, (P + 1n) / 4n, P);
  if (modulo(root * root, P) !== square) return null;
  const y = Number(root & 1n) === odd ? root : P - root;
  const inverse = power(r, N - 2n, N);
  const one = modulo(-numberOf(digest) * inverse, N);
  const found = sum(one, G, modulo(s * inverse, N), [r, y, 1n]);
  if (found[2] === 0n) return null;
  const scale = power(found[2], P - 2n, P);
  const x = modulo(found[0] * scale * scale, P);
  const key = new Uint8Array(64);
  key.set(bytesOf(x));
  key.set(bytesOf(modulo(found[1] * scale * scale * scale, P)), 32);
  return keccak(key).subarray(12);
}

/** A number as 32 bytes, the highest first. */
export function bytesOf(number) {
  const text = number.toString(16).padStart(64, "0");
  return Uint8Array.from(text.match(/../g), (pair) => Number.parseInt(pair, 16));
}

function numberOf(bytes) {
  return bytes.reduce((sum, byte) => sum * 256n + BigInt(byte), 0n);
}

function modulo(value, by) {
  const rest = value % by;
  return rest < 0n ? rest + by : rest;
}

function power(base, exponent, by) {
  let [found, square] = [1n, base];
  for (let left = exponent; left > 0n; left >>= 1n) {
    if (left & 1n) found = (found * square) % by;
    square = (square * square) % by;
  }
  return found;
}

/** a A + b B, both at once. Points are (x / z², y / z³). */
function sum(a, A, b, B) {
  const both = added(A, B);
  let found = NOWHERE;
  for (let bit = 255n; bit >= 0n; bit -= 1n) {
    found = doubled(found);
    const [inA, inB] = [(a >> bit) & 1n, (b >> bit) & 1n];
    if (inA && inB) found = added(found, both);
    else if (inA) found = added(found, A);
    else if (inB) found = added(found, B);
  }
  return found;
}

function doubled([x, y, z]) {
  if (z === 0n || y === 0n) return NOWHERE;
  const yy = (y * y) % P;
  const four = (4n * x * yy) % P;
  const slope = (3n * x * x) % P;
  const to = modulo(slope * slope - 2n * four, P);
  return [to, modulo(slope * (four - to) - 8n * yy * yy, P), (2n * y * z) % P];
}

function added(one, other) {
  if (one[2] === 0n) return other;
  if (other[2] === 0n) return one;
  const [z, w] = [(one[2] * one[2]) % P, (other[2] * other[2]) % P];
  const [x, toX] = [(one[0] * w) % P, (other[0] * z) % P];
  const [y, toY] = [(one[1] * w * other[2]) % P, (other[1] * z * one[2]) % P];
  const [width, height] = [modulo(toX - x, P), modulo(toY - y, P)];
  if (width === 0n) return height === 0n ? doubled(one) : NOWHERE;
  const square = (width * width) % P;
  const cube = (square * width) % P;
  const side = (x * square) % P;
  const at = modulo(height * height - cube - 2n * side, P);
  return [at, modulo(height * (side - at) - y * cube, P), (one[2] * other[2] * width) % P];
}
