/** The codecs are loaded when they are needed, and missed in one line. */
import { expect, test, vi } from "vitest";
import { fixture, inputErrorOf } from "./readersFixture.js";

test("without the codecs an uncompressed file is read, and a compressed one is refused by the package's name", async () => {
  vi.doMock("dcmjs-codecs", () => {
    throw new Error("no such package");
  });
  vi.resetModules();
  const { readDicom } = await import("../src/datasets/dicom.js");
  expect((await readDicom(fixture("stack.dcm"))).shape[0]).toBe(1);
  expect(await inputErrorOf(readDicom(fixture("rle.dcm")))).toMatch(
    /rle\.dcm: the codecs for RLE Lossless cannot be loaded \(package dcmjs-codecs\): /,
  );
  vi.doUnmock("dcmjs-codecs");
});
