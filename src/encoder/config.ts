/** What an encoder is: its sizes, and the shape of the patch it reads. */
import { z } from "zod";
import { InputError, type Shape3 } from "../types.js";
import { tokenSize } from "./tokens.js";

/**
 * Widths, depths and heads of the ViT papers (tiny and small: DeiT, arXiv 2012.12877; base and large: ViT,
 * arXiv 2010.11929). `nano` is ours: what a laptop trains in minutes.
 */
export const PRESETS = {
  nano: { width: 96, depth: 4, heads: 3 },
  tiny: { width: 192, depth: 12, heads: 3 },
  small: { width: 384, depth: 12, heads: 6 },
  base: { width: 768, depth: 12, heads: 12 },
  large: { width: 1024, depth: 24, heads: 16 },
} as const;

export type PresetName = keyof typeof PRESETS;

export interface EncoderSize {
  readonly width: number;
  readonly depth: number;
  readonly heads: number;
}

const extent = z.number().int().positive();

export const encoderConfigSchema = z.strictObject({
  width: extent,
  depth: extent,
  heads: extent,
  /** Hidden width of the MLP over `width`: 4 in every ViT. */
  mlpRatio: z.number().positive(),
  /** `[pd, ph, pw]` in voxels. The paper does not publish its patch; this is our choice. */
  patch: z.tuple([extent, extent, extent]),
  channels: extent,
  registers: extent.optional(),
  positions: z.tuple([extent, extent]).optional(),
});

export interface EncoderConfig {
  readonly width: number;
  readonly depth: number;
  readonly heads: number;
  readonly mlpRatio: number;
  readonly patch: Shape3;
  readonly channels: number;
  /** Tokens beside CLS that no picture gives (DINOv2's registers, arXiv 2309.16588). Ours has none. */
  readonly registers?: number;
  /** [rows, columns] of learned positions, which stand for every slice alike. Left out: fixed 3D sine-cosine codes. */
  readonly positions?: readonly [number, number];
}

/**
 * A size, by name or by numbers, with the patch it reads; 4 × 8 × 8 suits the phantoms' 64 pixels, 4 × 16 × 16 suits 224.
 *
 * @throws InputError where there is no such name, or heads do not divide the width
 */
export function encoderConfig(size: PresetName | EncoderSize, patch: Shape3 = [4, 8, 8]): EncoderConfig {
  const sizes: EncoderSize = typeof size === "string" ? PRESETS[size] : size;
  if (!sizes)
    throw new InputError(`unknown encoder "${String(size)}"; expected one of ${Object.keys(PRESETS).join(", ")}`);
  const { width, depth, heads } = sizes;
  if (width % heads !== 0) throw new InputError(`encoder: ${heads} heads do not divide a width of ${width}`);
  return { width, depth, heads, mlpRatio: 4, patch, channels: 3 };
}

/** Numbers in one patch: `pd · ph · pw · channels`; 768 for 4 × 8 × 8 in three channels. */
export function patchSize(config: EncoderConfig): number {
  return tokenSize(config);
}
