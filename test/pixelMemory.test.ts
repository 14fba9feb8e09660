import { expect, test } from "vitest";
import { pixelMemory, recycle } from "../src/datasets/pixelMemory.js";

const LARGE = 2 ** 16;

test("memory that was given back is given out again, for about the same size and never twice at once", () => {
  const decoded = { pixels: pixelMemory(LARGE).fill(7) };
  const { buffer } = decoded.pixels;
  recycle(decoded);
  expect(decoded.pixels.length).toBe(0);
  recycle(decoded); // nothing is left to give
  const again = pixelMemory(LARGE - 100);
  expect(again.length).toBe(LARGE - 100);
  expect(again.buffer).toBe(buffer);
  expect(pixelMemory(LARGE - 100).buffer).not.toBe(buffer);
});

test("a large piece is not given for little, nor a small one for much", () => {
  recycle({ pixels: pixelMemory(LARGE) });
  expect(pixelMemory(LARGE / 16).buffer.byteLength).toBeLessThan(4 * LARGE);
  const more = pixelMemory(2 * LARGE);
  expect(more.length).toBe(2 * LARGE);
  expect(more.every((value) => value === 0)).toBe(true); // nobody had it before
});

test("a view that was given back twice is kept once", () => {
  const pixels = pixelMemory(3 * LARGE);
  recycle({ pixels });
  recycle({ pixels });
  const [one, other] = [pixelMemory(3 * LARGE), pixelMemory(3 * LARGE)];
  expect(one.buffer).toBe(pixels.buffer);
  expect(other.buffer).not.toBe(pixels.buffer);
});
