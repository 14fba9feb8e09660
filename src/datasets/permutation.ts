/** A shuffled order of a million things without a list of a million numbers. */
import type { Random } from "../random.js";

const ROUNDS = 6;

/** 32 bits to 32 bits, each of which depends on all: the finaliser of MurmurHash3 (Austin Appleby, public domain). */
function mix(x: number): number {
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}

/**
 * A pseudo-random permutation of 0 … n − 1, one place at a time, in constant memory: a Feistel network over the smallest
 * even number of bits that holds n, walked along its cycle until it lands below n (Black and Rogaway 2002, "Ciphers with
 * arbitrary finite domains"). Any place costs 4 walks on average at most.
 *
 * `permutation(3, random)` gives 0, 1 and 2 once each. It draws from `random` once, for its keys.
 *
 * @param n from 1 to 2³⁰
 */
export function permutation(n: number, random: Random): (place: number) => number {
  if (!(Number.isInteger(n) && n >= 1 && n <= 2 ** 30)) throw new RangeError(`a permutation of ${n} things`);
  const keys = Uint32Array.from({ length: ROUNDS }, () => random.next());
  const half = Math.max(1, Math.ceil(Math.log2(n) / 2));
  const mask = 2 ** half - 1;
  return (place) => {
    let x = place;
    do {
      let [left, right] = [x >>> half, x & mask];
      for (let round = 0; round < ROUNDS; round++) {
        const next = left ^ (mix(right ^ keys[round]) & mask);
        left = right;
        right = next;
      }
      x = ((left << half) | right) >>> 0;
    } while (x >= n);
    return x;
  };
}
