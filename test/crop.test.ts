import { expect, test } from "vitest";
import { Random } from "../src/random.js";
import { blur, drawBox, intensityJitter, randomResizedCrop } from "../src/transforms/crop.js";
import type { Picture } from "../src/transforms/crop.js";
import { resample } from "../src/transforms/resize.js";
import type { Shape3, Shape4 } from "../src/types.js";
import { sizeOf } from "../src/types.js";

const noise = (shape: Shape4, seed = 1) => {
  const random = new Random(seed);
  return Float32Array.from({ length: sizeOf(shape) }, () => random.uniform());
};

/** Grey as samples store it: one channel of noise, three times. */
const greyPicture = (shape: Shape4): Picture => {
  const one = noise([1, shape[1], shape[2], shape[3]]);
  return { pixels: Float32Array.from({ length: 3 * one.length }, (_, i) => one[i % one.length]), shape, grey: true };
};

const imageShape: Shape4 = [3, 1, 20, 30];
const volumeShape: Shape4 = [3, 8, 12, 10];

test("boxes lie inside, cover the area they were asked for, and reach every corner", () => {
  for (const shape of [imageShape, volumeShape]) {
    const [, depth, height, width] = shape;
    const random = new Random(3);
    const areas: number[] = [];
    const reached = new Set<string>();
    for (let i = 0; i < 2000; i++) {
      const { start, extent } = drawBox(shape, { scale: [0.2, 0.6], depthScale: [0.25, 0.75] }, random);
      const inside = (length: number, axis: number) => start[axis] >= 0 && start[axis] + extent[axis] <= length + 1e-9;
      expect([depth, height, width].every(inside)).toBe(true);
      areas.push((extent[1] * extent[2]) / (height * width));
      const bent = extent[2] / width / (extent[1] / height);
      expect(bent > 0.749 && bent < 1.334).toBe(true);
      if (depth === 1) expect([start[0], extent[0]]).toEqual([0, 1]);
      else expect(extent[0] / depth).toBeGreaterThanOrEqual(0.25);
      reached.add(`${start[1] < 0.05 * height}${start[2] < 0.05 * width}`);
      reached.add(`end ${start[1] + extent[1] > 0.95 * height}${start[2] + extent[2] > 0.95 * width}`);
    }
    expect(Math.min(...areas)).toBeGreaterThan(0.1999);
    expect(Math.max(...areas)).toBeLessThan(0.6001);
    const mean = areas.reduce((sum, area) => sum + area, 0) / areas.length;
    expect(Math.abs(mean - 0.4)).toBeLessThan(0.013); // 5 standard errors of a uniform draw
    expect(reached.size).toBe(8);
  }
});

test("a crop of everything is the picture resized, for any draw", () => {
  for (const shape of [imageShape, volumeShape]) {
    const picture: Picture = { pixels: noise(shape), shape, grey: false };
    const size: Shape3 = [shape[1] === 1 ? 1 : 4, 7, 9];
    const whole = { start: [0, 0, 0], extent: [shape[1], shape[2], shape[3]] } as const;
    for (const antialias of [true, false]) {
      const expected = resample(picture.pixels, shape, whole, size, { antialias });
      const options = { scale: [1, 1], size, antialias } as const;
      const cropped = randomResizedCrop(picture, options, new Random(9));
      cropped.forEach((x, i) => expect(x).toBeCloseTo(expected[i], 6));
    }
  }
});

test("a constant picture stays constant in every crop", () => {
  const flat: Picture = { pixels: new Float32Array(sizeOf(volumeShape)).fill(0.3), shape: volumeShape, grey: false };
  const random = new Random(4);
  for (let i = 0; i < 50; i++) {
    const crop = randomResizedCrop(flat, { scale: [0.02, 1], size: [1 + random.int(9), 5, 6] }, random);
    expect(crop.every((x) => Math.abs(x - 0.3) < 1e-6)).toBe(true);
  }
});

test("grey is one channel of work and the same three channels", () => {
  const grey = greyPicture(volumeShape);
  const options = { scale: [0.3, 0.9], size: [4, 6, 6] } as const;
  const short = randomResizedCrop(grey, options, new Random(5));
  const long = randomResizedCrop({ ...grey, grey: false }, options, new Random(5));
  expect(short).toEqual(long);
});

test("the same state of the generator gives the same crop, another state another", () => {
  const picture = greyPicture(imageShape);
  const options = { scale: [0.2, 0.8], size: [1, 8, 8] } as const;
  const random = new Random(6);
  const state = random.state();
  const first = randomResizedCrop(picture, options, random);
  expect(randomResizedCrop(picture, options, random)).not.toEqual(first);
  expect(randomResizedCrop(picture, options, new Random(state))).toEqual(first);
});

test("jitter stays between 0 and 1, keeps order, and does nothing at strength 0", () => {
  const pixels = noise([1, 1, 16, 16]);
  expect(intensityJitter(pixels, {}, new Random(1))).toEqual(pixels);
  const random = new Random(7);
  const order = [...pixels.keys()].sort((a, b) => pixels[a] - pixels[b]);
  let changed = 0;
  for (let i = 0; i < 200; i++) {
    const out = intensityJitter(pixels, { brightness: 0.4, contrast: 0.6, gamma: 0.8 }, random);
    expect(out.every((x) => x >= 0 && x <= 1)).toBe(true);
    expect(order.every((at, k) => k === 0 || out[at] >= out[order[k - 1]])).toBe(true);
    if (Math.abs(out[0] - pixels[0]) > 1e-3) changed++;
  }
  expect(changed).toBeGreaterThan(190);
});

test("gamma 2 squares every value, to a thousandth", () => {
  const pixels = Float32Array.from({ length: 1001 }, (_, i) => i / 1000);
  // A generator that always draws the upper end: exponent 1 + gamma.
  const highest = { uniform: (_low: number, high: number) => high } as unknown as Random;
  const squared = intensityJitter(pixels, { gamma: 1 }, highest);
  squared.forEach((x, i) => expect(Math.abs(x - pixels[i] ** 2)).toBeLessThan(1e-3));
  expect([squared[0], squared[1000]]).toEqual([0, 1]);
});

test("jitter may write over the picture it reads", () => {
  const pixels = noise([1, 1, 16, 16]);
  const strength = { brightness: 0.2, contrast: 0.3, gamma: 0.4 };
  const apart = intensityJitter(pixels, strength, new Random(3));
  expect(intensityJitter(pixels, strength, new Random(3), pixels)).toBe(pixels);
  expect(pixels).toEqual(apart);
});

test("jitter makes a constant picture brighter as often as darker", () => {
  const flat = new Float32Array(4).fill(0.5);
  const random = new Random(8);
  let brighter = 0;
  for (let i = 0; i < 2000; i++) {
    const out = intensityJitter(flat, { brightness: 0.2, contrast: 0.4, gamma: 0.4 }, random);
    if (!out.every((x) => x === out[0])) throw new Error("a constant picture did not stay constant");
    if (out[0] > 0.5) brighter++;
  }
  expect(Math.abs(brighter / 2000 - 0.5)).toBeLessThan(0.05); // 4.5 standard errors
});

test("blur keeps a constant picture, keeps the sum of a lone point, and leaves slices apart", () => {
  const shape: Shape4 = [1, 3, 15, 15];
  const flat = new Float32Array(sizeOf(shape)).fill(0.7);
  for (const x of blur(flat, shape, 1.3)) expect(x).toBeCloseTo(0.7, 6);

  const point = new Float32Array(sizeOf(shape));
  const centre = 225 + 7 * 15 + 7;
  point[centre] = 1;
  const soft = blur(point, shape, 0.5);
  expect(soft[centre]).toBeCloseTo((1 / (1 + 2 * Math.exp(-2))) ** 2, 6);
  expect(soft.reduce((sum, x) => sum + x, 0)).toBeCloseTo(1, 5);
  for (let i = 0; i < 225; i++) expect(soft[i] + soft[450 + i]).toBe(0);
});
