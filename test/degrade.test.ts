/** What else happens to views, each judged by its distribution, on images, videos and volumes. */
import { describe, expect, test } from "vitest";
import { Random } from "../src/random.js";
import {
  freezeFrames,
  invertedGamma,
  lowResolution,
  nod,
  reverseFrames,
  type Degradation,
} from "../src/transforms/degrade.js";
import { multiCrop, singleCrop, type SingleCropSpec } from "../src/transforms/views.js";
import { InputError, type Kind, type Sample, type Shape3, type Shape4 } from "../src/types.js";
import { sizeOf } from "../src/types.js";

const SIZES: Readonly<Record<Kind, Shape3>> = { image: [1, 12, 14], video: [6, 8, 10], volume: [6, 8, 10] };
const KINDS = Object.keys(SIZES) as Kind[];

/** A sample of the size that its views have, so that a view of everything is the sample itself. */
function sample(kind: Kind, value: (d: number, h: number, w: number) => number): Sample {
  const [depth, height, width] = SIZES[kind];
  const one: number[] = [];
  for (let d = 0; d < depth; d++)
    for (let h = 0; h < height; h++) for (let w = 0; w < width; w++) one.push(value(d, h, w));
  const pixels = Float32Array.from([...one, ...one, ...one]);
  return {
    id: kind,
    pixels,
    shape: [3, depth, height, width],
    grey: true,
    kind,
    modality: "ct",
    group: "g",
    labels: {},
  };
}

const everything = (how: Degradation): SingleCropSpec => ({ scale: [1, 1], ratio: [1, 1], size: SIZES, ...how });

/** `count` views of a sample, and those of them that are not the sample itself. */
function drawn(of: Sample, how: Degradation, count: number, seed = 5) {
  const random = new Random(seed);
  const views = Array.from({ length: count }, () => singleCrop(of, everything(how), random));
  const changed = views.filter((view) => view.some((x, i) => Math.abs(x - of.pixels[i]) > 1e-6));
  return { views, changed, share: changed.length / count };
}

const mean = (values: ArrayLike<number>) => Array.from(values).reduce((sum, x) => sum + x, 0) / values.length;

/** Largest distance between the share of values below x and that of a uniform draw (Kolmogorov). */
function farFromUniform(values: readonly number[], low: number, high: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return Math.max(...sorted.map((x, i) => Math.abs((i + 0.5) / sorted.length - (x - low) / (high - low))));
}
/** Exceeded once in a thousand times by uniform draws. */
const kolmogorov = (n: number) => 1.95 / Math.sqrt(n);

test("nothing is drawn, and no view changes, unless it is asked for", () => {
  for (const kind of KINDS) {
    const one = sample(kind, (d, h, w) => ((d * 31 + h * 7 + w * 3) % 17) / 16);
    const [plain, asked] = [new Random(3), new Random(3)];
    const view = singleCrop(one, everything({}), plain);
    expect(view).toEqual(one.pixels);
    expect(singleCrop(one, everything({ noise: undefined, nod: 0, frames: {} }), asked)).toEqual(view);
    expect(asked.state()).toEqual(plain.state());
  }
});

test("both trainers' views take all of it, stay in [0, 1], and grey stays grey", () => {
  const how: Degradation = {
    noise: { chance: 0.5, deviation: [0, 0.3] },
    lowResolution: { chance: 0.5, zoom: [0.5, 1] },
    invertedGamma: { chance: 0.5, exponent: [0.7, 1.5] },
    nod: 30,
    frames: { reverse: 0.5, freeze: { chance: 0.5, part: [0, 0.5] } },
  };
  const random = new Random(1);
  for (const kind of KINDS) {
    const one = sample(kind, (d, h, w) => (d + h + w) % 2);
    const part = { scale: [0.4, 1], size: SIZES, count: 2 } as const;
    for (let i = 0; i < 30; i++) {
      const views = [
        singleCrop(one, everything(how), random),
        ...multiCrop(one, { globals: part, locals: part, ...how }, random),
      ];
      for (const view of views) {
        expect(view.every((x) => x >= 0 && x <= 1)).toBe(true);
        const n = view.length / 3;
        expect(view.subarray(n, 2 * n)).toEqual(view.subarray(0, n));
      }
    }
  }
});

describe.each(KINDS)("of a %s,", (kind) => {
  const shape: Shape4 = [1, ...SIZES[kind]];
  const n = sizeOf(shape);

  test("noise comes as often as asked, is centred, and its strength is uniform", () => {
    const half = sample(kind, () => 0.5);
    const { changed, share } = drawn(half, { noise: { chance: 0.6, deviation: [0.02, 0.1] } }, 500);
    expect(Math.abs(share - 0.6)).toBeLessThan(0.1); // 4.5 standard errors
    const deviations = changed.map((view) => Math.sqrt(mean(view.subarray(0, n).map((x) => (x - 0.5) ** 2))));
    // One view tells its σ to a relative 1/√(2n), 5 %: the ends blur by that much.
    expect(farFromUniform(deviations, 0.02, 0.1)).toBeLessThan(kolmogorov(changed.length) + 0.03);
    expect(Math.abs(mean(changed.map((view) => mean(view.subarray(0, n)))) - 0.5)).toBeLessThan(0.001);
    const [a, b] = [changed[0], changed[0].subarray(1, n)];
    const together = mean(b.map((x, i) => (x - 0.5) * (a[i] - 0.5))) / deviations[0] ** 2;
    expect(Math.abs(together), "neighbours have nothing in common").toBeLessThan(0.3);
  });

  test("low resolution keeps what is constant and loses what is fine; how much is uniform", () => {
    const flat = sample(kind, () => 0.7);
    const coarse = { chance: 1, zoom: [0.3, 1] } as const;
    expect(drawn(flat, { lowResolution: coarse }, 20).share).toBe(0);
    const board = sample(kind, (_, h, w) => (h + w) % 2);
    const spread = (view: Float32Array) => Math.sqrt(mean(view.map((x) => (x - 0.5) ** 2)));
    const { share, changed } = drawn(board, { lowResolution: { chance: 0.5, zoom: [0.3, 0.7] } }, 400);
    expect(Math.abs(share - 0.5)).toBeLessThan(0.12);
    for (const view of changed) expect(spread(view)).toBeLessThan(0.35); // a chessboard has 0.5
    // Which grids occur, and how often, is that of a uniform zoom.
    const grids = Array.from({ length: 400 }, (_, i) =>
      lowResolution(board.pixels.slice(0, n), shape, kind, 0.3 + i / 1000),
    );
    const keys = new Set(grids.map((grid) => grid.join()));
    const seen = new Map<string, number>();
    const all = drawn(board, { lowResolution: { chance: 1, zoom: [0.3, 0.7] } }, 800).views;
    for (const view of all) seen.set(view.subarray(0, n).join(), (seen.get(view.subarray(0, n).join()) ?? 0) + 1);
    for (const key of keys) {
      const expected = grids.filter((grid) => grid.join() === key).length / 400;
      expect(Math.abs((seen.get(key) ?? 0) / 800 - expected)).toBeLessThan(0.08);
    }
  });

  test("the inverted curve keeps black and white, and its exponent is log-uniform", () => {
    const steps = sample(kind, (_, h, w) => ((h + w) % 3) / 2);
    const { views, share } = drawn(steps, { invertedGamma: { chance: 1, exponent: [0.5, 2] } }, 400);
    expect(share).toBeGreaterThan(0.99);
    const exponents = views.map((view) => {
      const middle = view[steps.pixels.indexOf(0.5)];
      for (const end of [0, 1]) expect(view[steps.pixels.indexOf(end)]).toBe(end);
      return Math.log(1 - middle) / Math.log(0.5);
    });
    expect(farFromUniform(exponents.map(Math.log), Math.log(0.5), Math.log(2))).toBeLessThan(kolmogorov(400));
  });

  test("only a volume nods, by an angle that is uniform, about axes that are", () => {
    const [depth, height, width] = SIZES[kind];
    // Linear, so that a turn keeps it linear: its slopes, in lengths of the box, tell axis and angle.
    const slope = sample(kind, (d) => 0.5 + 0.3 * ((d + 0.5) / depth - 0.5));
    const { views, share } = drawn(slope, { nod: 20 }, 300);
    if (kind !== "volume") return expect(share).toBe(0);
    const at = (view: Float32Array, d: number, h: number, w: number) => view[(d * height + h) * width + w];
    const turns = views.map((view) => {
      const across = (at(view, 2, 4, 6) - at(view, 2, 4, 4)) / (2 / width) / 0.3; // −a_y sin φ
      const downwards = (at(view, 2, 5, 5) - at(view, 2, 3, 5)) / (2 / height) / 0.3; // a_x sin φ
      const along = (at(view, 3, 4, 5) - at(view, 2, 4, 5)) / (1 / depth) / 0.3; // cos φ
      expect(Math.hypot(across, downwards) ** 2 + along ** 2).toBeCloseTo(1, 3);
      // The direction is drawn from half a circle, the sign from the angle.
      const sign = across < 0 || (across === 0 && downwards > 0) ? 1 : -1;
      const degrees = (sign * Math.atan2(Math.hypot(across, downwards), along) * 180) / Math.PI;
      return { degrees, direction: Math.atan2(-across * sign, downwards * sign) };
    });
    expect(farFromUniform(turns.map(({ degrees }) => degrees), -20, 20)).toBeLessThan(kolmogorov(300)); // prettier-ignore
    expect(farFromUniform(turns.map(({ direction }) => direction), 0, Math.PI)).toBeLessThan(kolmogorov(300)); // prettier-ignore
  });

  test("only a video runs backwards or freezes, as often as asked", () => {
    const clock = sample(kind, (d) => (d + 1) / 8);
    const plane = SIZES[kind][1] * SIZES[kind][2];
    const order = (view: Float32Array) =>
      Array.from({ length: SIZES[kind][0] }, (_, d) => Math.round(8 * view[d * plane]) - 1);
    const reversed = drawn(clock, { frames: { reverse: 0.5 } }, 400);
    const frozen = drawn(clock, { frames: { freeze: { chance: 1, part: [0.2, 0.6] } } }, 900);
    if (kind !== "video") return expect([reversed.share, frozen.share]).toEqual([0, 0]);
    expect(Math.abs(reversed.share - 0.5)).toBeLessThan(0.11);
    for (const view of reversed.changed) expect(order(view)).toEqual([5, 4, 3, 2, 1, 0]);

    const counts = [0, 0, 0, 0, 0, 0];
    const lost = [0, 0, 0, 0, 0, 0];
    for (const view of frozen.views) {
      const shown = order(view);
      counts[shown.filter((frame, d) => frame !== d).length]++;
      shown.forEach((frame, d) => {
        if (frame === d) return;
        lost[d]++;
        expect(frame).toBe(shown[d - 1]); // the frame before, as it is shown
      });
    }
    // ⌊6 part + ½⌋ of a part from 0.2 to 0.6: 1 below 0.25, then 2, 3 from 0.417, 4 from 0.583.
    [0, 0.125, 0.4167, 0.4167, 0.0417, 0].forEach((share, k) => {
      expect(Math.abs(counts[k] / 900 - share), `${k} frozen`).toBeLessThan(0.07);
    });
    expect(lost[0]).toBe(0);
    for (const d of [1, 2, 3, 4, 5]) expect(Math.abs(lost[d] / mean(lost.slice(1)) - 1)).toBeLessThan(0.2);
  });
});

test("by hand: the curve, a mirrored clip, half a turn, a quarter of the voxels", () => {
  const view = Float32Array.of(0, 0.5, 1);
  invertedGamma(view, 2);
  expect([...view]).toEqual([0, 0.75, 1]);

  const clip = Float32Array.of(1, 2, 3, 4, 5, 6);
  reverseFrames(clip, [2, 3, 1, 1]);
  expect([...clip]).toEqual([3, 2, 1, 6, 5, 4]);
  freezeFrames(clip, [2, 3, 1, 1], 1, new Random(1));
  expect([...clip]).toEqual([3, 3, 3, 6, 6, 6]);

  const shape: Shape4 = [2, 3, 4, 5];
  const volume = Float32Array.from({ length: 120 }, (_, i) => i);
  expect(nod(volume, shape, 1, 0)).toEqual(volume);
  const half = nod(volume, shape, 0, Math.PI);
  half.forEach((x, i) => {
    const [c, d, h, w] = [Math.floor(i / 60), Math.floor(i / 20) % 3, Math.floor(i / 5) % 4, i % 5];
    expect(x).toBeCloseTo(volume[((c * 3 + 2 - d) * 4 + 3 - h) * 5 + w], 3);
  });
  const pair = lowResolution(Float32Array.of(0, 1, 0, 1), [1, 1, 1, 4], "image", 0.25);
  expect([...pair]).toEqual([0.5, 0.5, 0.5, 0.5]);
});

test("a range that no picture survives is refused by name", () => {
  const one = sample("image", () => 0.5);
  const refused = (how: Degradation) => () => singleCrop(one, everything(how), new Random(1));
  expect(refused({ lowResolution: { chance: 1, zoom: [0, 1] } })).toThrow(InputError);
  expect(refused({ noise: { chance: 1, deviation: [0.2, 0.1] } })).toThrow(/^noise.deviation: expected two ends/);
  expect(refused({ invertedGamma: { chance: 1, exponent: [-1, 1] } })).toThrow(/^invertedGamma.exponent: /);
});
