/**
 * The only source of chance in the project: a seeded generator passed as an argument. The stream is the same on every
 * platform and Node version, because it uses 32-bit integer arithmetic, and logarithm and square root alone beyond it.
 */

/** FNV-1a over UTF-16 code units: turns a label into 32 bits. `hash32("")` is 0x811c9dc5. */
export function hash32(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return h >>> 0;
}

/** The whole state of a generator: four 32-bit words. It travels in checkpoints. */
export type RandomState = readonly [number, number, number, number];

/**
 * sfc32 (Chris Doty-Humphrey's Small Fast Counter, public domain; 128 bits of state, passes PractRand), seeded with
 * twelve rounds of mixing.
 */
export class Random {
  #a: number;
  #b: number;
  #c: number;
  #d: number;

  constructor(seed: number | string | RandomState) {
    if (typeof seed === "object") {
      [this.#a, this.#b, this.#c, this.#d] = seed;
      return;
    }
    const text = String(seed);
    this.#a = hash32(text);
    this.#b = hash32("b" + text);
    this.#c = hash32("c" + text);
    this.#d = 1;
    for (let i = 0; i < 12; i++) this.next();
  }

  /** The next 32 bits, as an unsigned integer. */
  next(): number {
    const t = (((this.#a + this.#b) | 0) + this.#d) | 0;
    this.#d = (this.#d + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + t) | 0;
    return t >>> 0;
  }

  /** Uniform in [low, high), 32 bits fine. */
  uniform(low = 0, high = 1): number {
    return low + (high - low) * (this.next() / 4294967296);
  }

  /** Uniform integer in [0, n), without modulo bias. */
  int(n: number): number {
    const limit = 4294967296 - (4294967296 % n);
    let x = this.next();
    while (x >= limit) x = this.next();
    return x % n;
  }

  /** True with probability p. */
  chance(p: number): boolean {
    return this.uniform() < p;
  }

  /** Standard normal, by Marsaglia's polar method (no sine, whose last bit differs between engines). */
  normal(mean = 0, deviation = 1): number {
    for (;;) {
      const u = this.uniform(-1, 1);
      const v = this.uniform(-1, 1);
      const s = u * u + v * v;
      if (s > 0 && s < 1) return mean + deviation * u * Math.sqrt((-2 * Math.log(s)) / s);
    }
  }

  /** One element of a list, each as likely as the others. */
  pick<T>(items: readonly T[]): T {
    return items[this.int(items.length)];
  }

  /** A uniformly random order of 0 … n − 1 (Fisher–Yates). */
  permutation(n: number): Int32Array {
    const order = new Int32Array(n);
    for (let i = 0; i < n; i++) order[i] = i;
    for (let i = n - 1; i > 0; i--) {
      const j = this.int(i + 1);
      const kept = order[i];
      order[i] = order[j];
      order[j] = kept;
    }
    return order;
  }

  /**
   * An independent generator for a named purpose. It depends on this generator's present state and the label, and
   * leaves this generator as it was: `r.fork("x")` twice gives the same stream twice.
   */
  fork(label: string): Random {
    return new Random([this.#a, this.#b, this.#c, this.#d].join(",") + "/" + label);
  }

  /** The state, to be stored and given back to the constructor. */
  state(): RandomState {
    return [this.#a, this.#b, this.#c, this.#d];
  }

  /** Goes on from a state that `state` gave. */
  restore(state: RandomState): void {
    [this.#a, this.#b, this.#c, this.#d] = state;
  }
}
