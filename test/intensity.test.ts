import { expect, test } from "vitest";
import { Random } from "../src/random.js";
import { invert, percentiles, percentileScale, rangeScale, windowHu } from "../src/transforms/intensity.js";

const near = (values: Float32Array, expected: number[]) => {
  expect(values.length).toBe(expected.length);
  values.forEach((x, i) => expect(x).toBeCloseTo(expected[i], 6));
};

test("soft tissue is in the middle of its window, air is black and bone is white", () => {
  near(windowHu(new Float32Array([40, -160, 240, -1000, 700, 140]), -160, 240), [0.5, 0, 1, 0, 1, 0.75]);
});

test("what is not a number is black, and infinity is an end of the range", () => {
  near(rangeScale(new Float32Array([51, 300, -3, NaN, Infinity, -Infinity]), 0, 255), [0.2, 1, 0, 0, 1, 0]);
});

test("of 0 to 100, percentiles 10 and 90 become 0 and 1", () => {
  const values = Float32Array.from({ length: 101 }, (_, i) => i);
  const scaled = percentileScale(values, 10, 90);
  near(scaled.subarray(10, 11), [0]);
  near(new Float32Array([scaled[50], scaled[90], scaled[95], scaled[30]]), [0.5, 1, 1, 0.25]);
});

test("percentiles are those of the sorted finite values, between ranks in proportion", () => {
  const random = new Random(1);
  for (let round = 0; round < 50; round++) {
    const values = Float32Array.from({ length: 1 + random.int(200) }, () =>
      round % 2 === 0 ? random.normal() : random.int(5),
    );
    const sorted = [...values].sort((a, b) => a - b);
    const percents = [0, 0.5, 25, 50, 99.5, 100];
    const expected = percents.map((percent) => {
      const rank = (percent / 100) * (sorted.length - 1);
      const k = Math.floor(rank);
      return sorted[k] + (rank - k) * ((sorted[k + 1] ?? sorted[k]) - sorted[k]);
    });
    const holes = new Float32Array([NaN, ...values, Infinity, NaN, -Infinity]);
    percentiles(holes, percents).forEach((value, i) => expect(value).toBeCloseTo(expected[i], 6));
  }
  expect(percentiles(new Float32Array([4, 1, 3, 2]), [50])).toEqual([2.5]);
});

test("a percentile scale does not see the unit: 3 x + 100 gives the same picture", () => {
  const random = new Random(2);
  const values = Float32Array.from({ length: 500 }, () => random.normal(10, 4));
  near(
    percentileScale(
      values.map((x) => 3 * x + 100),
      0.5,
      99.5,
    ).map((x) => Math.round(x * 1e4)),
    [...percentileScale(values, 0.5, 99.5).map((x) => Math.round(x * 1e4))],
  );
});

test("scaling leaves its input alone", () => {
  const values = new Float32Array([3, 1, 2]);
  percentileScale(values, 0, 100);
  expect([...values]).toEqual([3, 1, 2]);
});

test("a constant picture, or one with no numbers at all, becomes black", () => {
  expect([...percentileScale(new Float32Array([7, 7, 7]), 0.5, 99.5)]).toEqual([0, 0, 0]);
  expect([...percentileScale(new Float32Array([NaN, NaN]), 0.5, 99.5)]).toEqual([0, 0]);
});

test("inverting twice is no change", () => {
  const values = new Float32Array([0, 0.25, 1]);
  near(invert(values), [1, 0.75, 0]);
  near(invert(invert(values)), [...values]);
});
