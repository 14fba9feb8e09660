import { expect, test } from "vitest";
import { gridOf, padDepth, patchify, unpatchify } from "../src/transforms/patchify.js";
import type { Kind, Shape3, Shape4 } from "../src/types.js";
import { InputError, sizeOf } from "../src/types.js";

/** Every number different, so that nothing can be moved without being noticed. */
const counted = (shape: Shape4) => Float32Array.from({ length: sizeOf(shape) }, (_, i) => i);

const forms: [kind: Kind, shape: Shape4, patch: Shape3][] = [
  ["image", [3, 1, 8, 12], [1, 4, 4]],
  ["video", [3, 6, 8, 8], [2, 4, 4]],
  ["volume", [3, 8, 4, 6], [4, 2, 3]],
  ["volume", [1, 4, 6, 4], [2, 3, 1]],
];

for (const [kind, shape, patch] of forms) {
  test(`unpatchify undoes patchify: ${kind} [${shape}] in patches [${patch}]`, () => {
    const patches = patchify(counted(shape), shape, patch);
    expect([...patches].sort((a, b) => a - b)).toEqual([...counted(shape)]);
    expect(unpatchify(patches, shape, patch)).toEqual(counted(shape));
  });
}

test("a token is where the grid says, and its numbers run over depth, height, width and channel", () => {
  const shape: Shape4 = [3, 4, 6, 8];
  const [pd, ph, pw]: Shape3 = [2, 3, 4];
  const [gridD, gridH, gridW] = gridOf(shape, [pd, ph, pw]);
  expect([gridD, gridH, gridW]).toEqual([2, 2, 2]);
  const patches = patchify(counted(shape), shape, [pd, ph, pw]);
  let at = 0;
  for (let d = 0; d < gridD; d++)
    for (let h = 0; h < gridH; h++)
      for (let w = 0; w < gridW; w++)
        for (let z = 0; z < pd; z++)
          for (let y = 0; y < ph; y++)
            for (let x = 0; x < pw; x++)
              for (let c = 0; c < 3; c++) {
                expect(patches[at++]).toBe(((c * 4 + d * pd + z) * 6 + h * ph + y) * 8 + w * pw + x);
              }
});

test("a grey row 1 2 3 4 in patches of two is [1 2] [3 4]", () => {
  expect([...patchify(new Float32Array([1, 2, 3, 4]), [1, 1, 1, 4], [1, 1, 2])]).toEqual([1, 2, 3, 4]);
});

test("an image gives the patches of a volume whose slices all show it", () => {
  const shape: Shape4 = [3, 1, 4, 6];
  const image = padDepth(counted(shape), shape, 4);
  expect(image.shape).toEqual([3, 4, 4, 6]);
  const volume = new Float32Array(3 * 4 * 24);
  for (let c = 0; c < 3; c++)
    for (let z = 0; z < 4; z++) volume.set(counted(shape).subarray(c * 24, c * 24 + 24), (c * 4 + z) * 24);
  expect(patchify(image.pixels, image.shape, [4, 2, 2])).toEqual(patchify(volume, [3, 4, 4, 6], [4, 2, 2]));
});

test("an image in patches one slice deep is a volume of one slice", () => {
  const shape: Shape4 = [3, 1, 4, 6];
  const same = padDepth(counted(shape), shape, 1);
  expect(same.pixels).toEqual(counted(shape));
  expect(gridOf(shape, [1, 2, 2])).toEqual([1, 2, 3]);
});

test("depth 5 becomes 8 by repeating the last slice, in each channel", () => {
  const { pixels, shape } = padDepth(counted([2, 5, 1, 1]), [2, 5, 1, 1], 4);
  expect(shape).toEqual([2, 8, 1, 1]);
  expect([...pixels]).toEqual([0, 1, 2, 3, 4, 4, 4, 4, 5, 6, 7, 8, 9, 9, 9, 9]);
});

test("a patch that does not divide the picture is refused in one line", () => {
  expect(() => patchify(counted([1, 1, 6, 6]), [1, 1, 6, 6], [1, 4, 4])).toThrow(InputError);
  expect(() => gridOf([1, 1, 6, 6], [1, 4, 4])).toThrow("[1, 6, 6] cannot be cut into patches of [1, 4, 4]");
});
