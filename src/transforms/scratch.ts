/** Memory for what lies between two passes over a picture: a thread that makes batches for hours makes no garbage of it. */

type Numbers = Float32Array | Float64Array | Int32Array;

/** As many numbers as were ever asked for at once, used again and again; whoever makes it is the only one who reads it. */
export class Scratch<T extends Numbers = Float32Array> {
  readonly #kind: new (length: number) => T;
  #held: T;

  constructor(kind: new (length: number) => T) {
    this.#kind = kind;
    this.#held = new kind(0);
  }

  /** At least `length` numbers, which may be anything; what an earlier call gave is written over. */
  atLeast(length: number): T {
    if (this.#held.length < length) this.#held = new this.#kind(length);
    return this.#held;
  }

  /** As `atLeast`, and no more. */
  exactly(length: number): T {
    return this.atLeast(length).subarray(0, length) as T;
  }
}
