/** From a stream of PPM pictures to one array of frames. */
import type { Shape4 } from "../types.js";

/** Raised where frames stop fitting, so that the reader may ask for fewer. */
export class TooManyValues extends Error {
  constructor(readonly valuesPerFrame: number) {
    super(`a frame holds ${valuesPerFrame} values`);
  }
}

/**
 * Takes PPM pictures (`P6\n4 2\n255\n`, then R, G and B of each pixel by rows) as they come out of a pipe, in pieces of any
 * length, and puts them beside each other as `[3, F, H, W]`. Each piece is spread over the planes when it comes, while the
 * program that sends it works on the next.
 */
export class FrameCollector {
  #pixels = new Float32Array(0);
  #capacity: number;
  #width = 0;
  #height = 0;
  #frames = 0; // whole ones
  #header = "";
  #byte = -1; // of the frame that is under way; −1 in a header

  /**
   * @param expected  frames that will come; more are taken too, and cost a copy
   * @param maxValues numbers to hold at most: `TooManyValues` beyond it
   */
  constructor(
    expected: number,
    private readonly maxValues: number,
  ) {
    this.#capacity = Math.max(1, expected);
  }

  get frames(): number {
    return this.#frames;
  }

  push(chunk: Uint8Array): void {
    let at = 0;
    while (at < chunk.length) at = this.#byte < 0 ? this.#readHeader(chunk, at) : this.#readPixels(chunk, at);
  }

  /** What has come, without a frame that was cut. `pixels` may share its memory with nothing else. */
  finish(): { pixels: Float32Array; shape: Shape4 } {
    this.#layOut(this.#frames);
    return { pixels: this.#pixels, shape: [3, this.#frames, this.#height, this.#width] };
  }

  #readHeader(chunk: Uint8Array, from: number): number {
    let at = from;
    while (at < chunk.length) {
      this.#header += String.fromCharCode(chunk[at++]);
      const found = /^P6\s(\d+)\s(\d+)\s255\s$/.exec(this.#header);
      if (found !== null) {
        this.#beginFrame(Number(found[1]), Number(found[2]));
        break;
      }
      if (this.#header.length > 32) throw new Error("ffmpeg sent something other than PPM pictures");
    }
    return at;
  }

  #beginFrame(width: number, height: number): void {
    if (this.#frames === 0) {
      const values = 3 * width * height;
      if (values * this.#capacity > this.maxValues) throw new TooManyValues(values);
      this.#pixels = new Float32Array(values * this.#capacity);
      [this.#width, this.#height] = [width, height];
    }
    if (width !== this.#width || height !== this.#height) {
      throw new Error(`frames of ${this.#width} x ${this.#height} and ${width} x ${height}: expected one size`);
    }
    if (this.#frames === this.#capacity) {
      const more = Math.ceil(1.5 * this.#capacity) + 1;
      if (3 * width * height * more > this.maxValues) throw new TooManyValues(3 * width * height);
      this.#layOut(more);
    }
    this.#header = "";
    this.#byte = 0;
  }

  #readPixels(chunk: Uint8Array, from: number): number {
    const plane = this.#width * this.#height;
    const end = Math.min(chunk.length, from + 3 * plane - this.#byte);
    const channel = this.#capacity * plane;
    const pixels = this.#pixels;
    let at = from;
    let pixel = this.#frames * plane + Math.floor(this.#byte / 3);
    let c = this.#byte % 3;
    // A piece may begin and end inside a pixel: up to two values before and after whole ones.
    for (; c !== 0 && at < end; at++) {
      pixels[c * channel + pixel] = chunk[at];
      if (++c === 3) [c, pixel] = [0, pixel + 1];
    }
    const [green, blue] = [channel, 2 * channel];
    for (; at + 3 <= end; at += 3, pixel++) {
      pixels[pixel] = chunk[at];
      pixels[green + pixel] = chunk[at + 1];
      pixels[blue + pixel] = chunk[at + 2];
    }
    for (; at < end; at++, c++) pixels[c * channel + pixel] = chunk[at];
    this.#byte += end - from;
    if (this.#byte === 3 * plane) {
      this.#frames++;
      this.#byte = -1;
    }
    return end;
  }

  /** Room for another number of frames: the planes of a channel stay beside each other. */
  #layOut(capacity: number): void {
    if (capacity === this.#capacity) return;
    const plane = this.#width * this.#height;
    const kept = Math.min(this.#frames, capacity) * plane;
    const from = this.#pixels;
    const to = new Float32Array(3 * capacity * plane);
    for (let c = 0; c < 3; c++) {
      const start = c * this.#capacity * plane;
      to.set(from.subarray(start, start + kept), c * capacity * plane);
    }
    [this.#pixels, this.#capacity] = [to, capacity];
  }
}
