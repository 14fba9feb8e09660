/** Interleaved samples, as decoders give them, to planes of one or three channels. */
import { pixelMemory } from "./pixelMemory.js";

/** How the channels of a picture are to be read. */
export type Colours = "grey" | "rgb" | "cmyk";

type Samples = ArrayLike<number> &
  (Uint8Array | Uint16Array | Float32Array | Int8Array | Int16Array | Int32Array | Uint32Array);

export interface Planes {
  /** `[1 or 3, H, W]` of one page, pages one after the other within a channel: `[C, D, H, W]`. */
  readonly pixels: Float32Array;
  readonly channels: 1 | 3;
  /** True where some pixel was not opaque. */
  readonly transparent: boolean;
}

/**
 * Grey, RGB or CMYK samples to planes; a further channel, the last, is alpha. Of grey in three equal channels one is kept.
 *
 *     over black        v · α / white          rounded where samples are integers
 *     CMYK to RGB       (w − C)(w − K) / w     and so on for M and Y; w = 255: no ink profile is applied
 *
 * A red pixel of half opacity, [255, 0, 0, 128], becomes 128, 0, 0; 100 % of cyan alone becomes 0, 255, 255.
 *
 * @param samples  `[D · H · W, bands]`
 * @param white    the largest value of an integer type, 1 for floats
 */
export function planesOf(samples: Samples, bands: number, colours: Colours, white: number): Planes {
  const plane = samples.length / bands;
  const channels = colours === "grey" ? 1 : 3;
  const inks = colours === "cmyk" ? 4 : channels;
  if (bands < inks) throw new Error(`decoded to ${bands} channels, expected at least ${inks}`);
  const pixels = pixelMemory(channels * plane);
  if (bands === 1) {
    pixels.set(samples);
    return { pixels, channels: 1, transparent: false };
  }
  if (colours === "cmyk") {
    for (let i = 0, at = 0; i < plane; i++, at += bands) {
      const key = white - samples[at + 3];
      pixels[i] = Math.round(((white - samples[at]) * key) / white);
      pixels[plane + i] = Math.round(((white - samples[at + 1]) * key) / white);
      pixels[2 * plane + i] = Math.round(((white - samples[at + 2]) * key) / white);
    }
    return { pixels, channels: 3, transparent: false };
  }
  if (channels === 3) {
    for (let i = 0, at = 0; i < plane; i++, at += bands) {
      pixels[i] = samples[at];
      pixels[plane + i] = samples[at + 1];
      pixels[2 * plane + i] = samples[at + 2];
    }
  } else {
    for (let i = 0, at = 0; i < plane; i++, at += bands) pixels[i] = samples[at];
  }
  const transparent = bands > channels && overBlack(pixels, samples, bands, channels, white);
  return { pixels, channels, transparent };
}

/** Composites in place; false where every pixel is opaque. */
function overBlack(pixels: Float32Array, samples: Samples, bands: number, channels: number, white: number): boolean {
  const plane = samples.length / bands;
  const exact = samples instanceof Float32Array;
  let transparent = false;
  for (let i = 0, at = bands - 1; i < plane; i++, at += bands) {
    const alpha = samples[at];
    if (alpha === white) continue;
    transparent = true;
    for (let p = i; p < channels * plane; p += plane) {
      const value = (pixels[p] * alpha) / white;
      pixels[p] = exact ? value : Math.round(value);
    }
  }
  return transparent;
}
