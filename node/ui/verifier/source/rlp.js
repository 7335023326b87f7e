// Recursive-length prefix, in its one form: bytes, or a list of such.

const MAX_DEPTH = 500; // of lists in lists: no form has more than three

/** The value, as Uint8Array or arrays of them; null for what is none. */
export function decode(data) {
  const found = item(data, 0, data.length, 0);
  return found === null || found.end !== data.length ? null : found.value;
}

function item(data, at, end, depth) {
  if (at >= end || depth > MAX_DEPTH) return null;
  const first = data[at];
  if (first < 0x80) return { value: data.subarray(at, at + 1), end: at + 1 };
  const base = first < 0xc0 ? 0x80 : 0xc0;
  const span = spanOf(data, at, end, first - base);
  if (span === null) return null;
  if (base === 0xc0) return list(data, ...span, depth + 1);
  const value = data.subarray(...span);
  return value.length === 1 && value[0] < 0x80 ? null : { value, end: span[1] };
}

/** From where to where the content stands. */
function spanOf(data, at, end, told) {
  let [start, length] = [at + 1, told];
  if (told > 55) {
    const bytes = data.subarray(start, start + told - 55);
    start += told - 55;
    // No form is as long as six bytes could say.
    if (start > end || bytes[0] === 0 || bytes.length > 6) return null;
    length = bytes.reduce((sum, byte) => 256 * sum + byte, 0);
    if (length <= 55) return null;
  }
  return start + length > end ? null : [start, start + length];
}

function list(data, start, end, depth) {
  const value = [];
  let at = start;
  while (at < end) {
    const found = item(data, at, end, depth);
    if (found === null) return null;
    value.push(found.value);
    at = found.end;
  }
  return { value, end };
}
