// Ed25519 by WebCrypto.

const KEY_BYTES = 32;

/** Whether `signature` (base64) is one over the bytes by this key (raw bytes). */
export async function isSigned(publicKey, signature, bytes) {
  const raw = unbase64(signature);
  if (raw === null || publicKey.length !== KEY_BYTES) return false;
  const key = await imported(publicKey);
  return key !== null && crypto.subtle.verify("Ed25519", key, raw, bytes);
}

/** Whether this browser has what it takes: a secure place and the algorithm. */
export async function isAble() {
  if (globalThis.crypto?.subtle === undefined) return false;
  try {
    // The base point, which is a key like any other.
    await crypto.subtle.importKey(
      "raw", Uint8Array.from({ length: KEY_BYTES }, (_, at) => (at === 0 ? 0x58 : 0x66)),
      "Ed25519", false, ["verify"],
    );
    return true;
  } catch {
    return false;
  }
}

async function imported(publicKey) {
  try {
    return await crypto.subtle.importKey("raw", publicKey, "Ed25519", false, ["verify"]);
  } catch (error) {
    if (error.name === "DataError") return null; // no point of the curve
    throw error;
  }
}

/** The bytes; null unless it is the one way to write them: the last character has spare bits. */
function unbase64(value) {
  try {
    const content = atob(value);
    if (btoa(content) !== value) return null;
    return Uint8Array.from(content, (char) => char.charCodeAt(0));
  } catch {
    return null;
  }
}
