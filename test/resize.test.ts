import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { Random } from "../src/random.js";
import { applyWeights, fitTo, linearWeights, pickWeights, resample, resize } from "../src/transforms/resize.js";
import type { AxisWeights } from "../src/transforms/resize.js";
import type { Shape3, Shape4 } from "../src/types.js";
import { sizeOf } from "../src/types.js";

/** A fixed, rough pattern in [0, 1), the same as in test/reference/resize.py. */
const picture = (shape: Shape4) => Float32Array.from({ length: sizeOf(shape) }, (_, i) => ((i * 7919) % 101) / 101);

interface Case {
  shape: Shape4;
  size: Shape3;
  antialias: boolean;
  expected: number[];
}
const reference = JSON.parse(readFileSync(new URL("fixtures/resize.json", import.meta.url), "utf8")) as {
  cases: Case[];
};

const largestDifference = (a: ArrayLike<number>, b: ArrayLike<number>) => {
  expect(a.length).toBe(b.length);
  return Array.from(a).reduce((most, x, i) => Math.max(most, Math.abs(x - b[i])), 0);
};

for (const { shape, size, antialias, expected } of reference.cases) {
  test(`[${shape}] on [${size}] ${antialias ? "with" : "without"} antialias is what PyTorch computes`, () => {
    const box = { start: [0, 0, 0], extent: [shape[1], shape[2], shape[3]] } as const;
    const ours = resample(picture(shape), shape, box, size, { antialias });
    expect(largestDifference(ours, expected)).toBeLessThan(1e-5);
    const enlarges = size.every((side, i) => side >= shape[i + 1]);
    if (antialias || enlarges) expect(resize(picture(shape), shape, size)).toEqual(ours);
  });
}

test("a row 0 1 2 3 shrunk to two pixels is 5/7 and 16/7", () => {
  const [left, right] = resize(new Float32Array([0, 1, 2, 3]), [1, 1, 1, 4], [1, 1, 2]);
  expect(left).toBeCloseTo(5 / 7, 6);
  expect(right).toBeCloseTo(16 / 7, 6);
});

test("a constant picture stays constant, shrunk or enlarged along any axis, in any box", () => {
  const shape: Shape4 = [2, 5, 7, 9];
  const flat = new Float32Array(sizeOf(shape)).fill(0.375);
  for (const size of [
    [5, 7, 9],
    [1, 1, 1],
    [2, 16, 3],
    [11, 4, 20],
  ] as Shape3[]) {
    for (const antialias of [true, false]) {
      const box = { start: [0.3, 1.9, 2.2], extent: [3.3, 4.1, 6.8] } as const;
      for (const x of resample(flat, shape, box, size, { antialias })) expect(x).toBeCloseTo(0.375, 6);
    }
    for (const x of resize(flat, shape, size)) expect(x).toBeCloseTo(0.375, 6);
  }
});

test("a picture at its own size is a copy of itself", () => {
  const shape: Shape4 = [3, 2, 4, 5];
  const before = picture(shape);
  const after = resize(before, shape, [2, 4, 5]);
  expect(after).toEqual(before);
  expect(after.buffer).not.toBe(before.buffer);
});

test("shrinking by antialias keeps the mean, whatever the axis", () => {
  const shape: Shape4 = [1, 8, 12, 16];
  const mean = (values: Float32Array) => values.reduce((sum, x) => sum + x, 0) / values.length;
  const before = picture(shape);
  for (const size of [
    [4, 12, 16],
    [8, 6, 16],
    [8, 12, 8],
    [2, 3, 4],
  ] as Shape3[]) {
    expect(Math.abs(mean(resize(before, shape, size)) - mean(before))).toBeLessThan(0.02);
  }
});

test("a box of whole voxels at its own size is cut out and nothing else", () => {
  const shape: Shape4 = [2, 3, 4, 5];
  const before = picture(shape);
  const cut = resample(before, shape, { start: [1, 1, 2], extent: [2, 2, 3] }, [2, 2, 3]);
  let i = 0;
  for (let c = 0; c < 2; c++)
    for (let z = 1; z < 3; z++)
      for (let y = 1; y < 3; y++)
        for (let x = 2; x < 5; x++) expect(cut[i++]).toBe(before[((c * 3 + z) * 4 + y) * 5 + x]);
});

test("frames are picked from the middle of equal stretches, and a short clip repeats them", () => {
  const picked = (depth: number, start: number, extent: number, count: number) => {
    const clip = Float32Array.from({ length: depth }, (_, i) => i);
    const box = { start: [start, 0, 0], extent: [extent, 1, 1] } as const;
    return [...resample(clip, [1, depth, 1, 1], box, [count, 1, 1], { alongDepth: "pick" })];
  };
  expect(picked(10, 0, 10, 5)).toEqual([1, 3, 5, 7, 9]);
  expect(picked(4, 0, 4, 4)).toEqual([0, 1, 2, 3]);
  expect(picked(2, 0, 2, 4)).toEqual([0, 0, 1, 1]);
  expect(picked(10, 4.5, 2.5, 2)).toEqual([5, 6]);
});

test("mirrored, the row 1 2 3 is 3 2 1, and any crop is its own picture read from the right", () => {
  const row = new Float32Array([1, 2, 3, 4, 5, 6]);
  const whole = { start: [0, 0, 0], extent: [1, 2, 3] } as const;
  expect([...resample(row, [1, 1, 2, 3], whole, [1, 2, 3], { mirror: true })]).toEqual([3, 2, 1, 6, 5, 4]);
  const box = { start: [0.4, 1.3, 2.6], extent: [2.2, 3.9, 3.3] } as const;
  const plain = resample(picture([2, 3, 6, 7]), [2, 3, 6, 7], box, [2, 4, 5]);
  const mirrored = resample(picture([2, 3, 6, 7]), [2, 3, 6, 7], box, [2, 4, 5], { mirror: true });
  mirrored.forEach((x, i) => expect(x).toBe(plain[i - (i % 5) + 4 - (i % 5)]));
});

/** The definition, without regard to speed: one axis after the other over the whole picture, in float32 after each term. */
function byDefinition(pixels: Float32Array, shape: Shape4, weights: readonly AxisWeights[]): Float32Array {
  const extents = [...shape];
  let from = pixels;
  weights.forEach(({ first, weights, taps }, i) => {
    const axis = i + 1;
    const inner = sizeOf(extents.slice(axis + 1));
    const [length, size] = [extents[axis], first.length];
    extents[axis] = size;
    const to = new Float32Array(sizeOf(extents));
    to.forEach((_, at) => {
      const [x, place, rest] = [at % inner, Math.floor(at / inner) % size, Math.floor(at / inner / size)];
      let sum = 0;
      for (let k = 0; k < taps; k++) {
        const term = weights[place * taps + k] * from[(rest * length + first[place] + k) * inner + x];
        sum = axis === 3 ? sum + term : Math.fround(sum + term); // along a row it is rounded once, at the end
      }
      to[at] = sum;
    });
    from = to;
  });
  return from;
}

test("reading only what is needed, slice by slice, changes no bit", () => {
  const shape: Shape4 = [2, 5, 9, 11];
  const random = new Random(2);
  for (let i = 0; i < 40; i++) {
    const antialias = random.chance(0.5);
    const size: Shape3 = [1 + random.int(7), 1 + random.int(12), 1 + random.int(12)];
    const axis = (a: 1 | 2 | 3) => {
      const extent = shape[a] * random.uniform(0.2, 1);
      const start = random.uniform(0, shape[a] - extent);
      if (a === 1 && random.chance(0.3)) return pickWeights(shape[a], start, extent, size[0]);
      return linearWeights(shape[a], start, extent, size[a - 1], antialias);
    };
    const weights = [axis(1), axis(2), axis(3)] as const;
    expect(applyWeights(picture(shape), shape, weights)).toEqual(byDefinition(picture(shape), shape, weights));
  }
});

test("a volume of equal slices is resized like one of its slices", () => {
  const slice = picture([1, 1, 6, 7]);
  const volume = new Float32Array(4 * slice.length);
  for (let z = 0; z < 4; z++) volume.set(slice, z * slice.length);
  const small = resize(slice, [1, 1, 6, 7], [1, 3, 5]);
  const all = resize(volume, [1, 4, 6, 7], [2, 3, 5]);
  for (let z = 0; z < 2; z++) {
    expect(largestDifference(all.subarray(z * 15, (z + 1) * 15), small)).toBeLessThan(1e-6);
  }
});

test("pad puts a wide picture on a black band, crop shows its middle, stretch shows it all", () => {
  const [height, width] = [4, 8];
  const shape: Shape4 = [1, 1, height, width];
  const ramp = Float32Array.from({ length: height * width }, (_, i) => 1 + (i % width)); // 1 … 8 from left to right
  const padded = fitTo(ramp, shape, [1, 8, 8], "pad");
  for (let y = 0; y < 8; y++) expect(padded[y * 8] > 0).toBe(y >= 2 && y < 6);
  const cropped = fitTo(ramp, shape, [1, 4, 4], "crop");
  expect(Array.from(cropped.subarray(0, 4))).toEqual([3, 4, 5, 6]);
  const stretched = fitTo(ramp, shape, [1, 4, 4], "stretch");
  expect(stretched[0]).toBeLessThan(2);
  expect(stretched[3]).toBeGreaterThan(7);
});

test("pixels that are twice as high as wide make a 4 x 8 grid square", () => {
  const shape: Shape4 = [1, 1, 4, 8];
  const ones = new Float32Array(32).fill(1);
  expect(fitTo(ones, shape, [1, 8, 8], "pad", 2).every((x) => Math.abs(x - 1) < 1e-6)).toBe(true);
  expect(fitTo(ones, shape, [1, 8, 8], "pad", 1).filter((x) => x === 0)).toHaveLength(32);
});
