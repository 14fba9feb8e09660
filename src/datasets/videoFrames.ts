/** From streams of PGM pictures, one for each colour, to one array of frames. */
import { pixelMemory, recycle } from "./pixelMemory.js";
import type { Shape4 } from "../types.js";

/** Raised where frames stop fitting, so that the reader may ask for fewer. */
export class TooManyValues extends Error {
  constructor(readonly valuesPerFrame: number) {
    super(`a frame holds ${valuesPerFrame} values`);
  }
}

/** One colour on its way: its pictures come in pieces of any length. */
interface Plane {
  /** Whole pictures. */
  frames: number;
  header: string;
  /** Of the picture that is under way; −1 in a header. */
  byte: number;
}

/**
 * Takes PGM pictures (`P5\n4 2\n255\n`, then the pixels by rows) of red, green and blue as they come out of three pipes, in
 * pieces of any length, and puts them beside each other as `[3, F, H, W]`. Each piece goes to its place when it comes, while
 * the program that sends it works on the next; bytes become floats by the engine's own copy, many times as fast as by a loop.
 */
export class FrameCollector {
  #pixels = new Float32Array(0);
  #capacity: number;
  #width = 0;
  #height = 0;
  readonly #planes: readonly Plane[] = [0, 1, 2].map(() => ({ frames: 0, header: "", byte: -1 }));

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

  /** Frames that are whole in every colour. */
  get frames(): number {
    return Math.min(...this.#planes.map(({ frames }) => frames));
  }

  /** @param channel 0, 1 or 2 for red, green and blue */
  push(channel: number, chunk: Uint8Array): void {
    const plane = this.#planes[channel];
    for (let at = 0; at < chunk.length;) {
      at = plane.byte < 0 ? this.#readHeader(plane, chunk, at) : this.#readPixels(channel, plane, chunk, at);
    }
  }

  /** What has come, without a frame that was cut. `pixels` shares its memory with nothing else. */
  finish(): { pixels: Float32Array; shape: Shape4 } {
    const { frames } = this;
    if (frames < this.#capacity && frames > 0.9 * this.#capacity) this.#moveUp(frames);
    else this.#layOut(frames);
    return { pixels: this.#pixels, shape: [3, frames, this.#height, this.#width] };
  }

  #readHeader(plane: Plane, chunk: Uint8Array, from: number): number {
    let at = from;
    while (at < chunk.length) {
      plane.header += String.fromCharCode(chunk[at++]);
      const found = /^P5\s(\d+)\s(\d+)\s255\s$/.exec(plane.header);
      if (found !== null) {
        this.#beginFrame(plane, Number(found[1]), Number(found[2]));
        break;
      }
      if (plane.header.length > 32) throw new Error("ffmpeg sent something other than PGM pictures");
    }
    return at;
  }

  #beginFrame(plane: Plane, width: number, height: number): void {
    const values = 3 * width * height;
    if (this.#width === 0) {
      if (values * this.#capacity > this.maxValues) throw new TooManyValues(values);
      this.#pixels = pixelMemory(values * this.#capacity);
      [this.#width, this.#height] = [width, height];
    }
    if (width !== this.#width || height !== this.#height) {
      throw new Error(`frames of ${this.#width} x ${this.#height} and ${width} x ${height}: expected one size`);
    }
    if (plane.frames === this.#capacity) {
      const more = Math.ceil(1.5 * this.#capacity) + 1;
      if (values * more > this.maxValues) throw new TooManyValues(values);
      this.#layOut(more);
    }
    plane.header = "";
    plane.byte = 0;
  }

  #readPixels(channel: number, plane: Plane, chunk: Uint8Array, from: number): number {
    const size = this.#width * this.#height;
    const end = Math.min(chunk.length, from + size - plane.byte);
    const first = (channel * this.#capacity + plane.frames) * size + plane.byte;
    this.#pixels.set(chunk.subarray(from, end), first);
    plane.byte += end - from;
    if (plane.byte === size) {
      plane.frames++;
      plane.byte = -1;
    }
    return end;
  }

  /** For a little fewer frames: no memory but what there is. */
  #moveUp(capacity: number): void {
    const size = this.#width * this.#height;
    for (let c = 1; c < 3; c++) {
      const start = c * this.#capacity * size;
      this.#pixels.copyWithin(c * capacity * size, start, start + capacity * size);
    }
    this.#pixels = this.#pixels.subarray(0, 3 * capacity * size);
    this.#capacity = capacity;
  }

  /** Room for another number of frames: those of a colour stay beside each other. */
  #layOut(capacity: number): void {
    if (capacity === this.#capacity) return;
    const size = this.#width * this.#height;
    const kept = Math.min(this.#capacity, capacity) * size;
    const from = this.#pixels;
    const to = pixelMemory(3 * capacity * size);
    for (let c = 0; c < 3; c++) {
      const start = c * this.#capacity * size;
      to.set(from.subarray(start, start + kept), c * capacity * size);
    }
    recycle({ pixels: from });
    [this.#pixels, this.#capacity] = [to, capacity];
  }
}
