import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { histogramVector, hog, hogVector } from "../src/encoder/classical.js";
import type { Sample, Shape3 } from "../src/types.js";

function sample(size: Shape3, value: (z: number, y: number, x: number, c: number) => number): Sample {
  const [depth, height, width] = size;
  const pixels = new Float32Array(3 * depth * height * width);
  let at = 0;
  for (let c = 0; c < 3; c++)
    for (let z = 0; z < depth; z++)
      for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) pixels[at++] = value(z, y, x, c);
  const about = { id: "s", group: "p", grey: false, modality: "ct", labels: {} } as const;
  return { ...about, kind: depth === 1 ? "image" : "volume", pixels, shape: [3, ...size] };
}

test("gradient histograms equal scikit-image's", () => {
  type Case = {
    size: [number, number];
    orientations: number;
    cell: number;
    block: number;
    plane: number[];
    hog: number[];
  };
  for (const { size, plane, hog: expected, ...options } of JSON.parse(
    readFileSync("test/fixtures/hog.json", "utf8"),
  ) as Case[]) {
    const found = hog(plane, size, options);
    expect(found).toHaveLength(expected.length);
    found.forEach((value, i) => expect(value).toBeCloseTo(expected[i], 7));
  }
});

test("a volume of equal slices has the gradients of one slice, and the order of slices does not matter", () => {
  const wave = (z: number) => (y: number, x: number) => 0.5 + 0.4 * Math.sin(0.5 * x * (z + 1) + 0.3 * y);
  const one = hogVector(sample([1, 32, 32], (_, y, x) => wave(0)(y, x)));
  expect(one).toHaveLength(324);
  const same = hogVector(sample([4, 32, 32], (_, y, x) => wave(0)(y, x)));
  same.forEach((value, i) => expect(value).toBeCloseTo(one[i], 6));
  const up = hogVector(sample([3, 32, 32], (z, y, x) => wave(z)(y, x)));
  const down = hogVector(sample([3, 32, 32], (z, y, x) => wave(2 - z)(y, x)));
  up.forEach((value, i) => expect(value).toBeCloseTo(down[i], 6));
});

test("gradients do not see a change of brightness, histograms of intensity see nothing but intensity", () => {
  const shape = (y: number, x: number) => 0.3 + 0.2 * Math.sin(0.5 * x + 0.2 * y);
  const [dark, bright] = [0, 0.25].map((add) => sample([1, 32, 32], (_, y, x) => shape(y, x) + add));
  const [a, b] = [hogVector(dark), hogVector(bright)];
  a.forEach((value, i) => expect(value).toBeCloseTo(b[i], 4));
  const mirrored = sample([1, 32, 32], (_, y, x) => shape(31 - y, 31 - x));
  expect([...histogramVector(dark)]).toEqual([...histogramVector(mirrored)]);
  expect([...histogramVector(dark)]).not.toEqual([...histogramVector(bright)]);
});

test("a histogram has length 1, and a flat picture one bin a channel", () => {
  const flat = histogramVector(
    sample([2, 8, 8], (_z, _y, _x, c) => [0, 0.5, 1][c]),
    4,
  );
  const third = Math.sqrt(1 / 3);
  [third, 0, 0, 0, 0, 0, third, 0, 0, 0, 0, third].forEach((value, i) => expect(flat[i]).toBeCloseTo(value, 6));
  expect(hogVector(sample([1, 16, 16], () => 0.5)).every((value) => value === 0)).toBe(true);
});
