import { existsSync, mkdtempSync, readFileSync, readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { captionOf, escapeLatex, notesOf, saveComparisons, saveTables, toLatex } from "../src/analysis/tableFiles.js";
import type { Comparison } from "../src/analysis/comparisons.js";
import type { Cell, Table } from "../src/analysis/tables.js";
import { THIN, trapWords, trapsOf } from "../src/analysis/traps.js";

const cell = (value: number, marks = "", width = 0.1): Cell => ({
  value,
  low: value - width,
  high: value + width,
  marks,
});

const table: Table = {
  title: "Region_1 & more: Recall@1",
  name: "within-recall-1",
  note: "100 % of 90 queries; seed 7",
  legend: "↑ above, * above, † tested",
  remarks: ["trap (xray): the class is the hospital"],
  columns: ["xray", "xray → ct"],
  rows: [
    { name: "chance", cells: [cell(0.9, "", 0), cell(0.1, "", 0)] },
    { name: "raw pixels", cells: [cell(0.4), cell(0.5)] },
    { name: "MAE, mean", cells: [cell(0.6, "↑*†"), null] },
    { name: "SimDINO", cells: [cell(0.6, "↑"), cell(0.2)] },
  ],
};

test("a caption names what is highest in every column, with chance, from the numbers alone", () => {
  expect(captionOf(table)).toBe(
    "Region_1 & more: Recall@1. Highest on xray: MAE, mean and SimDINO (0.60, chance 0.90); on xray → ct: raw pixels " +
      "(0.50, chance 0.10). 100 % of 90 queries; seed 7.",
  );
  const [chance, pixels, , last] = table.rows;
  const other = { ...table, rows: [chance, pixels, { ...last, cells: [cell(0.7), cell(0.8)] }] };
  expect(captionOf(other)).toContain("on xray → ct: SimDINO (0.80, chance 0.10)");
  expect(notesOf(table)).toBe("↑ above, * above, † tested. Trap (xray): the class is the hospital.");
});

test("LaTeX has one cell for every column, balanced braces, and no character that TeX would read as its own", () => {
  const latex = toLatex(table);
  const rows = latex.split("\n").filter((line) => line.endsWith("\\\\"));
  expect(rows).toHaveLength(1 + table.rows.length);
  for (const row of rows) expect(row.match(/(?<!\\)&/g)).toHaveLength(table.columns.length);
  const bare = latex.replace(/\\[{}]/g, "");
  expect(bare.match(/\{/g)!.length).toBe(bare.match(/\}/g)!.length);
  for (const part of [
    "\\toprule",
    "\\midrule",
    "\\bottomrule",
    "\\label{tab:within-recall-1}",
    "Region\\_1 \\& more",
  ]) {
    expect(latex).toContain(part);
  }
  expect(latex).toContain(
    "MAE, mean & \\textbf{0.60}$^{\\uparrow\\ast\\dagger}$ {\\scriptsize [0.50, 0.70]} & -- \\\\",
  );
  expect(latex).toContain("SimDINO & \\textbf{0.60}$^{\\uparrow}$");
  expect(latex).toContain("chance & 0.90 & 0.10 \\\\"); // never bold, however high
  const body = latex.split("\n").slice(1).join("\n");
  expect(body).not.toMatch(/(?<!\\)[%#]/);
  // ASCII: any engine reads it, in any encoding.
  expect([...body].every((character) => character.charCodeAt(0) < 128)).toBe(true);
  expect(escapeLatex("a_b {c} 50% $x$ ~ ^ \\")).toBe(
    "a\\_b \\{c\\} 50\\% \\$x\\$ \\textasciitilde{} \\textasciicircum{} \\textbackslash{}",
  );
});

test("every table lands three times in a folder, and two of one name are refused before anything is written", () => {
  const folder = mkdtempSync(join(tmpdir(), "m3ret-tables-"));
  expect(saveTables(folder, [table])).toEqual(["within-recall-1.tex", "within-recall-1.csv", "within-recall-1.md"]);
  expect(readFileSync(join(folder, "within-recall-1.csv"), "utf8").split("\n")).toHaveLength(1 + 7 + 1);
  expect(readFileSync(join(folder, "within-recall-1.md"), "utf8")).toContain("trap (xray): the class is the hospital.");
  const other = join(folder, "other");
  expect(() => saveTables(other, [table, table])).toThrow("tables: two are called within-recall-1");
  expect(existsSync(other)).toBe(false);
  expect(readdirSync(folder).sort()).toHaveLength(3);
});

test("paired tests are written one a row with all digits", () => {
  const folder = mkdtempSync(join(tmpdir(), "m3ret-tables-"));
  const comparison: Comparison = {
    ...{
      encoder: "MAE, mean",
      against: "untrained, mean",
      baseline: "untrained",
      column: "ct",
      metric: "recallAtK",
      k: 1,
    },
    ...{ difference: { value: 0.1, low: 0, high: 0.2 }, p: 0.0123456789, adjusted: 0.05, family: 4, method: "exact" },
    ...{ n: 90, groups: 80, informative: 20, verdict: "not told apart" },
  };
  saveComparisons(join(folder, "tests.csv"), [comparison]);
  const [head, row] = readFileSync(join(folder, "tests.csv"), "utf8").split("\n");
  expect(head).toMatch(/^encoder,against,column,metric,k,difference,low,high,p,adjusted/);
  expect(row).toBe(
    '"MAE, mean","untrained, mean",ct,recallAtK,1,0.1,0,0.2,0.0123456789,0.05,4,exact,90,80,20,not told apart',
  );
});

test("a trap is told where it concerns a column, and thin classes are counted", () => {
  const row = (from: string, to: string, ns: number[], label = "class") => ({
    ...{ from, to, label },
    perClass: Object.fromEntries(ns.map((n, i) => [`c${i}`, { n }])),
  });
  const rows = [row("xray", "xray", [9, 2, THIN]), row("ct", "ct", [8, 8])];
  const says = "the class is the hospital";
  expect(trapsOf(rows, [{ says, modalities: ["xray"], label: "class" }])).toEqual([
    `trap (xray): ${says}`,
    "classes with fewer than 5 queries: xray 1 of 3 (least: c1, 2)",
  ]);
  expect(trapsOf([row("ct", "xray", [9])], [{ says, modalities: ["xray"] }])).toEqual([`trap: ${says}`]);
  expect(trapsOf([row("ct", "ct", [9])], [{ says, modalities: ["xray"] }])).toEqual([]);
  expect(trapsOf([row("xray", "xray", [9], "region")], [{ says, label: "class" }])).toEqual([]);
  expect(trapsOf([row("xray", "xray", [1]), row("ct", "ct", [1])], [])).toEqual([
    "classes with fewer than 5 queries: 1 of 1 (least: c0, 1)",
  ]);
});

test("a trap follows the words of a figure that it concerns, and no others", () => {
  const says = "the class is the hospital";
  const entry = { traps: [{ says, modalities: ["xray", "ct"] as const, label: "class" }, { says: "few patients" }] };
  expect(trapWords(entry, ["ct", "mri", "ct"], "class")).toBe(`\n\n**Trap** (ct): ${says}.\n\n**Trap**: few patients.`);
  expect(trapWords(entry, ["xray"], "region")).toBe("\n\n**Trap**: few patients.");
  expect(trapWords({}, ["xray"], "class")).toBe("");
});
