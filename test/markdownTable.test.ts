import { expect, test } from "vitest";
import { markdownTable, tableNumber } from "../src/analysis/markdownTable.js";

test("numbers have three digits and stand to the right, words to the left, and the caption stands below", () => {
  const rows = [
    ["X-ray | DX", 1204, 0.018912],
    ["CT", 7, null],
  ];
  expect(markdownTable(["modality", "n", "loss"], rows, "Losses, seed 7.").split("\n")).toEqual([
    "| modality | n | loss |",
    "|---|---:|---:|",
    "| X-ray \\| DX | 1,204 | 0.0189 |",
    "| CT | 7 | – |",
    "",
    "Losses, seed 7.",
  ]);
  expect([12.3456, 145.6, NaN, -0.5].map(tableNumber)).toEqual(["12.3", "146", "–", "-0.5"]);
});

test("a row that lacks a value is an error", () => {
  expect(() => markdownTable(["a", "b"], [[1]], "c")).toThrow("expected 2 values in every row, got 1");
});
