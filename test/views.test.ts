import { expect, test } from "vitest";
import { Random } from "../src/random.js";
import { Scratch } from "../src/transforms/scratch.js";
import { multiCrop, multiCropChannels, singleCrop, standardise, viewShapes } from "../src/transforms/views.js";
import type { MultiCropSpec } from "../src/transforms/views.js";
import type { Kind, Sample, Shape4 } from "../src/types.js";
import { sizeOf } from "../src/types.js";

const sample = (kind: Kind, shape: Shape4, grey: boolean): Sample => {
  const random = new Random(1);
  const one = Float32Array.from({ length: sizeOf(shape) / 3 }, () => random.uniform());
  const pixels = Float32Array.from({ length: sizeOf(shape) }, (_, i) =>
    grey ? one[i % one.length] : random.uniform(),
  );
  return { id: kind, pixels, shape, grey, kind, modality: "ct", group: "g", labels: {} };
};

/** A quick `toEqual`. */
const same = (a: Float32Array, b: Float32Array) => a.length === b.length && a.every((x, i) => x === b[i]);

const image = sample("image", [3, 1, 20, 24], true);
const video = sample("video", [3, 10, 16, 16], false);
const volume = sample("volume", [3, 12, 16, 16], true);

const spec: MultiCropSpec = {
  globals: { count: 2, scale: [0.4, 1], size: { image: [1, 16, 16], video: [4, 16, 16], volume: [8, 16, 16] } },
  locals: { count: 3, scale: [0.05, 0.4], size: { image: [1, 8, 8], video: [2, 8, 8], volume: [4, 8, 8] } },
  flip: 0.5,
  jitter: { brightness: 0.2, contrast: 0.3, gamma: 0.3, chance: 0.8 },
  blur: { chance: 0.5, sigma: [0.3, 1.2] },
};

test("every sample of a kind gives views of the shapes that the spec announces", () => {
  for (const one of [image, video, volume, { ...image, shape: [3, 1, 24, 20] } as Sample]) {
    const views = multiCrop(one, spec, new Random(2));
    expect(views.map((view) => view.length)).toEqual(viewShapes(spec, one.kind).map(sizeOf));
  }
  expect(viewShapes(spec, "volume")).toEqual([
    [3, 8, 16, 16],
    [3, 8, 16, 16],
    [3, 4, 8, 8],
    [3, 4, 8, 8],
    [3, 4, 8, 8],
  ]);
});

test("views stay between 0 and 1, and grey stays grey", () => {
  const random = new Random(3);
  for (let i = 0; i < 20; i++) {
    for (const one of [image, video, volume]) {
      for (const view of multiCrop(one, spec, random)) {
        expect(view.every((x) => x >= 0 && x <= 1)).toBe(true);
        const n = view.length / 3;
        if (one.grey) expect(same(view.subarray(n, 2 * n), view.subarray(0, n))).toBe(true);
      }
    }
  }
});

test("a white picture gives white views that are not above 1 by a rounding error", () => {
  const white = { ...volume, pixels: new Float32Array(volume.pixels.length).fill(1) };
  const random = new Random(8);
  for (let i = 0; i < 50; i++) {
    for (const view of multiCrop(white, { ...spec, jitter: undefined }, random)) {
      expect(view.every((x) => x <= 1 && x > 0.999999)).toBe(true);
    }
  }
});

test("the same state of the generator gives the same views, and no two views are the same", () => {
  const first = multiCrop(volume, spec, new Random(4));
  expect(multiCrop(volume, spec, new Random(4))).toEqual(first);
  expect(first[0]).not.toEqual(first[1]);
  expect(first[2]).not.toEqual(first[3]);
});

test("views that are made in one memory, one after the other, are those that have memory of their own", () => {
  const memory = new Scratch(Float32Array);
  for (const one of [volume, video, image]) {
    const own = [...multiCropChannels(one, { ...spec, rotate: 20 }, new Random(8))];
    let i = 0;
    for (const view of multiCropChannels(one, { ...spec, rotate: 20 }, new Random(8), memory)) {
      expect(same(view, own[i++])).toBe(true);
      expect(view.buffer).toBe(memory.atLeast(1).buffer);
    }
    expect(i).toBe(5);
  }
});

test("making views leaves the sample alone", () => {
  const before = volume.pixels.slice();
  multiCrop(volume, spec, new Random(5));
  expect(volume.pixels).toEqual(before);
});

test("a picture is mirrored only when that was asked for, and then half of the time", () => {
  const whole = {
    scale: [1, 1],
    ratio: [1, 1],
    size: { image: [1, 20, 24], video: [1, 1, 1], volume: [1, 1, 1] },
  } as const;
  const random = new Random(6);
  let mirrored = 0;
  for (let i = 0; i < 400; i++) {
    expect(same(singleCrop(image, whole, random), image.pixels)).toBe(true);
    const view = singleCrop(image, { ...whole, flip: 0.5 }, random);
    if (view[0] === image.pixels[23] && view[23] === image.pixels[0]) mirrored++;
    else expect(same(view, image.pixels)).toBe(true);
  }
  expect(Math.abs(mirrored / 400 - 0.5)).toBeLessThan(0.12); // 4.8 standard errors
});

test("every frame of a view of a video is one frame of the video, a slice of a volume may be between two", () => {
  const shape: Shape4 = [3, 12, 4, 4];
  const pixels = Float32Array.from({ length: sizeOf(shape) }, (_, i) => (Math.floor(i / 16) % 12) / 12);
  const random = new Random(9);
  const whole = (values: Float32Array) => values.every((x) => Math.abs(x * 12 - Math.round(x * 12)) < 1e-4);
  const crop = { scale: [0.3, 0.9], size: { image: [1, 4, 4], video: [5, 4, 4], volume: [5, 4, 4] } } as const;
  let between = 0;
  for (let i = 0; i < 30; i++) {
    expect(whole(singleCrop({ ...video, shape, pixels }, crop, random))).toBe(true);
    if (!whole(singleCrop({ ...video, shape, pixels, kind: "volume" }, crop, random))) between++;
  }
  expect(between).toBeGreaterThan(25);
});

test("standardising maps 0, 1/2, 3/4 and 1 to -2, 0, 1 and 2, in every modality", () => {
  expect([...standardise(new Float32Array([0, 0.5, 0.75, 1]))]).toEqual([-2, 0, 1, 2]);
});
