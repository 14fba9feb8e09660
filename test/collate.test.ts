import { expect, test } from "vitest";
import { encoderConfig, patchSize } from "../src/encoder/config.js";
import { tokenGrid, tokenSize, viewTokens } from "../src/encoder/tokens.js";
import { Random } from "../src/random.js";
import { collate, collateBy, type Collation } from "../src/trainers/collate.js";
import { padDepth, patchify } from "../src/transforms/patchify.js";
import { multiCrop, singleCrop, standardise, type MultiCropSpec } from "../src/transforms/views.js";
import type { Kind, Sample, Shape3 } from "../src/types.js";
import { InputError, sizeOf } from "../src/types.js";
import { barSample } from "./helpers.js";

const encoder = encoderConfig("nano", [2, 4, 4]);
const size: Record<Kind, Shape3> = { image: [1, 16, 16], video: [4, 16, 16], volume: [5, 16, 16] };
const small: Record<Kind, Shape3> = { image: [1, 8, 8], video: [2, 8, 8], volume: [2, 8, 8] };
const views: MultiCropSpec = {
  globals: { count: 2, scale: [0.4, 1], size },
  locals: { count: 3, scale: [0.05, 0.4], size: small },
  flip: 0.5,
  jitter: { brightness: 0.2, contrast: 0.3, gamma: 0.3, chance: 0.8 },
  blur: { chance: 0.5, sigma: [0.3, 1.2] },
};
const crop = { scale: [0.2, 1], size } as const;
const SPECS = {
  mae: { method: "mae", encoder, view: crop, maskRatio: 0.75 },
  simdino: { method: "simdino", encoder, views },
  "simdino, half of it hidden": { method: "simdino", encoder, views, maskRatio: 0.5 },
} satisfies Record<string, Collation>;

/** Colour where `grey` is false: the three channels differ. */
function samplesOf(kind: Kind, grey: boolean, count = 6): Sample[] {
  return Array.from({ length: count }, (_, i) => {
    const sample = barSample(kind === "image" ? "xray" : "ct", kind, size[kind], i);
    if (grey) return { ...sample, kind };
    const pixels = sample.pixels.map((x, at) => x * (1 - 0.1 * Math.floor((3 * at) / sample.pixels.length)));
    return { ...sample, kind, pixels, grey };
  });
}

/** Tokens as the words say it: standardise, pad the depth, cut. */
function tokensStepByStep(pixels: Float32Array, of: Shape3): Float32Array {
  const padded = padDepth(standardise(pixels), [3, ...of], encoder.patch[0]);
  return patchify(padded.pixels, padded.shape, encoder.patch);
}

const CASES = (["image", "video", "volume"] as const).flatMap((kind) => [
  { kind, grey: true },
  { kind, grey: false },
]);

test.each(CASES)("tokens of a $kind (grey: $grey) are its standardised, padded patches, bit for bit", (one) => {
  const [{ pixels }] = samplesOf(one.kind, one.grey, 1);
  const expected = tokensStepByStep(pixels, size[one.kind]);
  expect(viewTokens(pixels, size[one.kind], encoder)).toEqual(expected);
  expect(expected).toHaveLength(sizeOf(tokenGrid(size[one.kind], encoder)) * patchSize(encoder));
  expect(tokenSize(encoder)).toBe(patchSize(encoder));
  if (one.grey) expect(viewTokens(pixels.subarray(0, pixels.length / 3), size[one.kind], encoder)).toEqual(expected);
});

test("a view whose pixels are not as many as its size says is refused", () => {
  expect(() => viewTokens(new Float32Array(100), [1, 16, 16], encoder)).toThrow(
    /a view of \[1,16,16\] .* has 100 pixels/,
  );
});

test.each(CASES)("MAE: patches of a $kind (grey: $grey) stand in the order that the batch names", ({ kind, grey }) => {
  const samples = samplesOf(kind, grey);
  const { arrays, grids } = collate(SPECS.mae, samples, new Random(4));
  const [b, n, p] = [samples.length, sizeOf(grids.whole), patchSize(encoder)];
  const v = Math.round(n / 4);
  expect(arrays.visible.shape).toEqual([b, v, p]);
  expect(arrays.hidden.shape).toEqual([b, n - v, p]);
  const random = new Random(4);
  samples.forEach((sample, i) => {
    const patches = tokensStepByStep(singleCrop(sample, crop, random), size[kind]);
    const order = random.permutation(n);
    expect(arrays.order.data.subarray(i * n, (i + 1) * n)).toEqual(order);
    order.forEach((token, at) => {
      const row = at < v ? i * v + at : i * (n - v) + at - v;
      const got = arrays[at < v ? "visible" : "hidden"].data.subarray(row * p, (row + 1) * p);
      expect(got).toEqual(patches.subarray(token * p, (token + 1) * p));
    });
  });
});

test.each(CASES)("SimDINO: row i of every view of a $kind (grey: $grey) is sample i", ({ kind, grey }) => {
  const samples = samplesOf(kind, grey);
  const { arrays } = collate(SPECS.simdino, samples, new Random(4));
  const random = new Random(4);
  const b = samples.length;
  samples.forEach((sample, i) => {
    multiCrop(sample, views, random).forEach((view, at) => {
      const [{ shape, data }, row, of] =
        at < 2 ? [arrays.globals, at * b + i, size[kind]] : [arrays.locals, (at - 2) * b + i, small[kind]];
      const each = shape[1] * shape[2];
      expect(data.subarray(row * each, (row + 1) * each)).toEqual(tokensStepByStep(view, of));
    });
  });
});

test.each(CASES)("SimDINO: the student of a $kind (grey: $grey) sees some tokens, other ones in each view", (one) => {
  const samples = samplesOf(one.kind, one.grey);
  const { arrays } = collate(SPECS["simdino, half of it hidden"], samples, new Random(4));
  const { globals, student, places } = arrays;
  const [rows, n, p] = globals.shape;
  const k = Math.round(n / 2);
  expect(student.shape).toEqual([rows, k, p]);
  expect(places.shape).toEqual([rows, k]);
  // Views are cut as they are where nothing is hidden: what is hidden is drawn after them.
  expect(globals).toEqual(collate(SPECS.simdino, samples, new Random(4)).arrays.globals);
  const chosen = Array.from({ length: rows }, (_, row) => [...places.data.subarray(row * k, (row + 1) * k)]);
  for (const [row, tokens] of chosen.entries()) {
    expect(new Set(tokens).size).toBe(k);
    for (const [i, token] of tokens.entries()) {
      const from = (row * n + token) * p;
      expect(student.data.subarray((row * k + i) * p, (row * k + i + 1) * p)).toEqual(
        globals.data.subarray(from, from + p),
      );
    }
  }
  expect(new Set(chosen.map(String)).size).toBe(rows);
});

test("every token of a view is as likely to be seen by the student as any other", () => {
  const counts = new Map<number, number>();
  const [sample] = samplesOf("image", true, 1);
  const rounds = 600;
  const random = new Random(2);
  for (let i = 0; i < rounds; i++) {
    const { places } = collate(SPECS["simdino, half of it hidden"], [sample], random).arrays;
    for (const token of places.data) counts.set(token, (counts.get(token) ?? 0) + 1);
  }
  expect(counts.size).toBe(16);
  // Binomial(1200, 1/2): five deviations are 87.
  for (const count of counts.values()) expect(Math.abs(count - rounds)).toBeLessThan(87);
});

test.each(Object.entries(SPECS))("%s: memory that another batch has used gives the same batch", (_, spec) => {
  const images = samplesOf("image", true);
  const fresh = collate(spec, images, new Random(5));
  const used = collate(spec, samplesOf("volume", false), new Random(6)).arrays;
  const memory = Object.values(used)[0].data.buffer as ArrayBuffer;
  const again = collate(spec, images, new Random(5), memory);
  for (const { data } of Object.values(again.arrays)) expect(data.buffer).toBe(memory);
  expect(again).toEqual(fresh);
  const large = collate(spec, samplesOf("volume", false), new Random(6), new ArrayBuffer(8));
  expect(large.arrays).toEqual(collate(spec, samplesOf("volume", false), new Random(6)).arrays);
});

test.each(Object.entries(SPECS))("%s: a collation survives the way to another thread", (_, spec) => {
  expect(structuredClone(spec)).toEqual(spec);
  const samples = samplesOf("volume", true);
  const there = collate(structuredClone(spec), samples, new Random(new Random(9).state()));
  expect(there).toEqual(collateBy(spec)(samples, new Random(9)));
  expect(collateBy(spec).spec).toBe(spec);
});

test("of a grey sample one channel is all that a batch reads", () => {
  for (const spec of Object.values(SPECS)) {
    const samples = samplesOf("video", true);
    const single = samples.map((sample) => ({ ...sample, pixels: sample.pixels.slice(0, sample.pixels.length / 3) }));
    expect(collate(spec, single, new Random(1))).toEqual(collate(spec, samples, new Random(1)));
  }
});

test("a batch that no array could hold is refused before anything is allocated", () => {
  const vast = { ...size, image: [1, 40_000, 40_000] as const };
  const spec: Collation = { method: "mae", encoder, view: { scale: [1, 1], size: vast }, maskRatio: 0.75 };
  expect(() => collate(spec, samplesOf("image", true), new Random(1))).toThrow(InputError);
});
