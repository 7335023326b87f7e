// Keccak-256 as Ethereum has it (the padding is that of Keccak, not of SHA-3): WebCrypto has none.
// Each lane of 64 bits is two numbers of 32, the lower first.

const RATE = 136; // bytes that a round takes in
const ROUNDS = 24;

// Where pi moves each lane to, and by how many bits rho turns it, along one walk over all but the
// first lane; and iota's constants. All three from their definitions (FIPS 202, 3.2).
const [MOVES, TURNS] = walk();
const CONSTANTS = constants();

/** 32 bytes. */
export function keccak(data) {
  const padded = new Uint8Array((Math.floor(data.length / RATE) + 1) * RATE);
  padded.set(data);
  padded[data.length] = 0x01;
  padded[padded.length - 1] |= 0x80;
  const words = new DataView(padded.buffer);
  const state = new Uint32Array(50);
  for (let start = 0; start < padded.length; start += RATE) {
    for (let n = 0; n < RATE / 4; n += 1) state[n] ^= words.getUint32(start + 4 * n, true);
    permute(state);
  }
  const found = new DataView(new ArrayBuffer(32));
  for (let n = 0; n < 8; n += 1) found.setUint32(4 * n, state[n], true);
  return new Uint8Array(found.buffer);
}

function permute(state) {
  const column = new Uint32Array(10);
  const row = new Uint32Array(10);
  for (let round = 0; round < ROUNDS; round += 1) {
    // theta: each lane takes in two columns
    for (let n = 0; n < 10; n += 1) {
      column[n] = state[n] ^ state[n + 10] ^ state[n + 20] ^ state[n + 30] ^ state[n + 40];
    }
    for (let x = 0; x < 5; x += 1) {
      const [before, after] = [2 * ((x + 4) % 5), 2 * ((x + 1) % 5)];
      const low = column[before] ^ turned(column[after], column[after + 1], 1);
      const high = column[before + 1] ^ turned(column[after + 1], column[after], 1);
      for (let at = 2 * x; at < 50; at += 10) {
        state[at] ^= low;
        state[at + 1] ^= high;
      }
    }
    // rho and pi: each lane is turned and moves to another place
    let [low, high] = [state[2], state[3]];
    for (let n = 0; n < 24; n += 1) {
      const to = 2 * MOVES[n];
      const [one, other] = TURNS[n] < 32 ? [low, high] : [high, low];
      [low, high] = [state[to], state[to + 1]];
      state[to] = turned(one, other, TURNS[n] % 32);
      state[to + 1] = turned(other, one, TURNS[n] % 32);
    }
    // chi: each lane takes in the two that follow it in its row
    for (let start = 0; start < 50; start += 10) {
      row.set(state.subarray(start, start + 10));
      for (let n = 0; n < 10; n += 1) state[start + n] ^= ~row[(n + 2) % 10] & row[(n + 4) % 10];
    }
    // iota
    state[0] ^= CONSTANTS[2 * round];
    state[1] ^= CONSTANTS[2 * round + 1];
  }
}

/** One half of a lane that is turned to the left by fewer than 32 bits. */
function turned(half, other, bits) {
  return bits === 0 ? half : (half << bits) | (other >>> (32 - bits));
}

function walk() {
  const [moves, turns] = [[], []];
  let [x, y] = [1, 0];
  for (let n = 0; n < 24; n += 1) {
    [x, y] = [y, (2 * x + 3 * y) % 5];
    moves.push(x + 5 * y);
    turns.push((((n + 1) * (n + 2)) / 2) % 64);
  }
  return [moves, turns];
}

/** Bit 2^j - 1 of each is the next of a shift register of eight bits. */
function constants() {
  const found = new Uint32Array(2 * ROUNDS);
  let register = 1;
  for (let round = 0; round < ROUNDS; round += 1) {
    for (let j = 0; j < 7; j += 1) {
      const bit = 2 ** j - 1;
      if (register & 1) found[2 * round + (bit < 32 ? 0 : 1)] ^= 1 << bit % 32;
      register = (register << 1) ^ (register >> 7) * 0x171;
    }
  }
  return found;
}
