import { expect, test } from "vitest";
import { Random } from "../src/random.js";
import { resample } from "../src/transforms/resize.js";
import { resampleTurned } from "../src/transforms/rotate.js";
import { singleCrop } from "../src/transforms/views.js";
import type { Shape3, Shape4 } from "../src/types.js";

const shape: Shape4 = [2, 3, 40, 50];
const box = { start: [0, 12, 14], extent: [3, 12, 16] } as const;
const size: Shape3 = [2, 8, 10];

/** Value a·x + b·y at the middle of every voxel, plus 100 for the second channel: linear interpolation keeps it. */
function ramp(a: number, b: number): Float32Array {
  const [channels, depth, height, width] = shape;
  const pixels = new Float32Array(channels * depth * height * width);
  for (let i = 0; i < pixels.length; i++) {
    const [x, y] = [i % width, Math.floor(i / width) % height];
    pixels[i] = a * (x + 0.5) + b * (y + 0.5) + (i >= pixels.length / 2 ? 100 : 0);
  }
  return pixels;
}

for (const degrees of [-15, 7, 40]) {
  test(`at ${degrees} degrees each output is read where the formula says`, () => {
    const alpha = (degrees * Math.PI) / 180;
    const out = resampleTurned(ramp(1, 3), shape, box, size, alpha, { antialias: false });
    const [, h, w] = size;
    for (let i = 0; i < out.length; i++) {
      const u = (((i % w) + 0.5) / w - 0.5) * box.extent[2];
      const v = (((Math.floor(i / w) % h) + 0.5) / h - 0.5) * box.extent[1];
      const x = box.start[2] + box.extent[2] / 2 + u * Math.cos(alpha) - v * Math.sin(alpha);
      const y = box.start[1] + box.extent[1] / 2 + u * Math.sin(alpha) + v * Math.cos(alpha);
      expect(out[i]).toBeCloseTo(x + 3 * y + (i >= out.length / 2 ? 100 : 0), 3);
    }
  });
}

test("at 0 degrees it is resample, and mirrored it is the same rows from right to left", () => {
  const pixels = ramp(1, 3).map(Math.sin);
  expect(resampleTurned(pixels, shape, box, size, 0)).toEqual(resample(pixels, shape, box, size));
  const there = resampleTurned(pixels, shape, box, size, 0.2);
  const mirrored = resampleTurned(pixels, shape, box, size, 0.2, { mirror: true });
  const w = size[2];
  for (let i = 0; i < there.length; i++) expect(mirrored[i - (i % w) + w - 1 - (i % w)]).toBeCloseTo(there[i], 5);
});

test("a frame that is picked more than once looks like itself alone, turned, wherever it is shown", () => {
  const pixels = ramp(1, 3).map((x, i) => Math.sin(x + Math.floor(i / 2000)));
  const shown = [0, 0, 0, 1, 1, 2, 2, 2]; // of 3 frames
  const out = resampleTurned(
    pixels,
    shape,
    box,
    [8, 8, 10],
    0.2,
    { alongDepth: "pick" },
    new Float32Array(1280).fill(7),
  );
  const alone = resampleTurned(pixels, shape, box, [3, 8, 10], 0.2, { alongDepth: "pick" });
  for (const channel of [0, 1]) {
    shown.forEach((frame, z) => {
      const [a, b] = [80 * (8 * channel + z), 80 * (3 * channel + frame)];
      expect(out.subarray(a, a + 80)).toEqual(alone.subarray(b, b + 80));
    });
  }
  expect(new Set(alone).size).toBeGreaterThan(400);
});

test("a box that reaches beyond the picture repeats its edge, and a constant picture stays constant", () => {
  const flat = new Float32Array(2 * 3 * 40 * 50).fill(0.25);
  const wide = { start: [0, -5, -5], extent: [3, 50, 60] } as const;
  for (const x of resampleTurned(flat, shape, wide, size, 0.25)) expect(x).toBeCloseTo(0.25, 6);
});

test("a view turns by an angle between the two ends, evenly on both sides", () => {
  const pixels = new Float32Array(3 * 32 * 32);
  for (let i = 0; i < pixels.length; i++) pixels[i] = ((i % 32) + 0.5) / 32; // rises to the right
  const sample = { pixels, shape: [3, 1, 32, 32] as Shape4, grey: true, kind: "image" as const };
  const sizes = { image: [1, 32, 32], video: [1, 32, 32], volume: [1, 32, 32] } as const;
  const spec = { scale: [0.4, 0.4], ratio: [1, 1], rotate: 15, size: sizes } as const;
  const random = new Random(3);
  const angles = Array.from({ length: 400 }, () => {
    const view = singleCrop(sample, spec, random);
    const at = (x: number, y: number) => view[y * 32 + x];
    return (Math.atan2(at(16, 12) - at(16, 20), at(20, 16) - at(12, 16)) * 180) / Math.PI;
  });
  const turned = angles.filter((a) => Math.abs(a) > 1e-3).length;
  expect(turned).toBeGreaterThan(390);
  expect(Math.max(...angles.map(Math.abs))).toBeLessThan(15.1);
  expect(Math.max(...angles)).toBeGreaterThan(13);
  expect(Math.min(...angles)).toBeLessThan(-13);
  const mean = angles.reduce((sum, a) => sum + a, 0) / angles.length;
  expect(Math.abs(mean)).toBeLessThan(1.3); // 3 standard errors of a uniform draw of ±15
});
