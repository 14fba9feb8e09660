import { expect, test } from "vitest";
import {
  formatCell,
  recallTable,
  toCsv,
  toDataFrame,
  toMarkdown,
  toText,
  toTidy,
  type EncoderResults,
} from "../src/analysis/tables.js";
import { Random } from "../src/random.js";
import { evaluateRetrieval, type RetrievalReport } from "../src/retrieval/protocol.js";
import { randomSet, setOf } from "./sets.js";

const bootstrap = { random: new Random(7), rounds: 100 };
const options = { title: "Region retrieval", data: "phantom", seed: 7, metric: "recallAtK", k: 1 } as const;
const regions = Array.from({ length: 90 }, (_, i) => ["abdomen", "chest", "head"][i % 3]);

/** Class directions under noise: 0 is perfect, 30 is chance. */
function judged(noise: number, seed: number): RetrievalReport {
  const random = new Random(seed);
  const make = (name: string) => {
    const rows = regions.map((_, i) =>
      Array.from({ length: 3 }, (_, t) => Number(t === i % 3) + noise * random.normal()),
    );
    return setOf(rows, { name, region: regions });
  };
  return evaluateRetrieval(make("q"), make("g"), { label: "region", bootstrap });
}

const results: EncoderResults[] = [
  { name: "raw pixels", role: "pixels", reports: { xray: judged(0.8, 1), ct: judged(30, 2) } },
  { name: "untrained", role: "untrained", reports: { xray: judged(30, 3), ct: judged(30, 4) } },
  { name: "MAE, mean", role: "trained", reports: { xray: judged(0.7, 5), ct: judged(30, 6) } },
  { name: "SimDINO, cls", role: "trained", reports: { xray: judged(0.05, 7), ct: judged(0.05, 8) } },
  { name: "SimDINO, cls, centred", role: "trained", variant: "centred", reports: { xray: judged(0.05, 9) } },
];
const table = recallTable(results, options);

test("chance comes first and the encoders follow in order, each with every column", () => {
  expect(table.rows.map((row) => row.name)).toEqual(["chance", ...results.map(({ name }) => name)]);
  expect(table.columns).toEqual(["xray", "ct"]);
  expect(table.rows[0].cells[0]!.value).toBeCloseTo(1 / 3, 12);
  expect(table.rows[5].cells[1]).toBeNull();
});

test("marks say which intervals lie above which baselines, and only trained rows have them", () => {
  const marks = table.rows.map((row) => row.cells.map((cell) => cell?.marks));
  expect(marks).toEqual([
    ["", ""],
    ["", ""],
    ["", ""],
    ["↑", ""], // pixels are as good
    ["↑*", "↑*"],
    ["", undefined], // no centred baseline to compare with
  ]);
  const centredPixels: EncoderResults = { ...results[0], name: "raw pixels, centred", variant: "centred" };
  const compared = recallTable([...results, centredPixels], options);
  expect(compared.rows[5].cells[0]!.marks).toBe("*");
});

test("of two untrained rows the better one is the baseline", () => {
  const strong: EncoderResults = { name: "untrained, mean", role: "untrained", reports: { xray: judged(0.05, 10) } };
  const marks = recallTable([...results, strong], options).rows[4].cells.map((cell) => cell?.marks);
  expect(marks).toEqual(["*", "↑*"]);
});

test("the note names metric, data, sizes, seed and interval", () => {
  expect(table.note).toBe(
    "Recall@1 (any hit), relevant: same region; data: phantom; queries: 90; gallery: 90; seed 7; " +
      "[95 % bootstrap interval over query groups, 100 rounds]",
  );
  const fewer = evaluateRetrieval(randomSet(9, 3, new Random(1), "q"), randomSet(20, 3, new Random(2), "g"), { label: "region", bootstrap }); // prettier-ignore
  const uneven = recallTable([{ ...results[0], reports: { xray: results[0].reports.xray, mri: fewer } }], options);
  expect(uneven.note).toContain("queries: xray 90, mri 9; gallery: xray 90, mri 20");
});

test("cells print value, interval and marks", () => {
  expect(formatCell({ value: 0.42, low: 0.37, high: 0.468, marks: "↑*" })).toBe("0.42 [0.37, 0.47] ↑*");
  expect(formatCell({ value: 0.125, low: 0.125, high: 0.125, marks: "" })).toBe("0.13");
  expect(formatCell(null)).toBe("–");
});

test("every other metric has its table with its own chance", () => {
  for (const metric of ["mAP", "mrr"] as const) {
    const { rows } = recallTable(results, { ...options, metric });
    expect(rows[0].cells[0]!.value).toBe(results[0].reports.xray.chance[metric]);
    expect(rows[1].cells[0]!.value).toBe(results[0].reports.xray[metric].value);
  }
  const precision = recallTable(results, { ...options, metric: "precisionAtK", k: 5 });
  expect(precision.rows[0].cells[0]!.value).toBeCloseTo(1 / 3, 12);
  expect(precision.note).toMatch(/^Precision@5,/);
});

test("text lines up, markdown has one cell per column, and both carry note and legend", () => {
  const text = toText(table).split("\n");
  const body = text.slice(2, 10);
  const second = body[0].indexOf("xray");
  for (const line of body.slice(2)) expect(line[second - 1]).toBe(" ");
  expect(body[4]).toMatch(/^untrained +0\.\d\d \[0\.\d\d, 0\.\d\d\] +0\.\d\d \[0\.\d\d, 0\.\d\d\]$/);
  expect(text).toContain(table.note);
  expect(text).toContain(table.legend);

  const markdown = toMarkdown(table).split("\n");
  const rows = markdown.filter((line) => line.startsWith("|"));
  expect(rows).toHaveLength(2 + table.rows.length);
  for (const row of rows) expect(row.split(/(?<!\\)\|/)).toHaveLength(2 + 1 + table.columns.length);
  expect(markdown).toContain(`${table.note}.`);
});

test("csv and tidy rows hold one number each with all digits, and quote what needs it", () => {
  const tidy = toTidy(table);
  expect(tidy).toHaveLength(2 * table.rows.length - 1); // one cell was not measured
  const lines = toCsv(table).trimEnd().split("\n");
  expect(lines[0]).toBe("encoder,column,value,low,high,marks");
  expect(lines).toHaveLength(1 + tidy.length);
  expect(lines[5]).toBe(`untrained,xray,${tidy[4].value},${tidy[4].low},${tidy[4].high},`);
  expect(lines.at(-1)).toMatch(/^"SimDINO, cls, centred",xray,/);
});

test("the data frame is the tidy table", async () => {
  const frame = await toDataFrame(table);
  expect(frame.shape).toEqual([toTidy(table).length, 6]);
  expect(frame.columns).toEqual(["encoder", "column", "value", "low", "high", "marks"]);
  expect(frame.values[4]).toEqual(Object.values(toTidy(table)[4]));
});

test("results on other queries, an unmeasured k and an empty list are refused in one line", () => {
  const other = evaluateRetrieval(randomSet(9, 3, new Random(1), "q"), randomSet(20, 3, new Random(2), "g"), { label: "region", bootstrap }); // prettier-ignore
  const stranger: EncoderResults = { name: "stranger", role: "trained", reports: { xray: other } };
  expect(() => recallTable([...results, stranger], options)).toThrow(
    "table: stranger was judged on other queries, gallery or settings than the rest in column xray",
  );
  expect(() => recallTable(results, { ...options, k: 3 })).toThrow("k = 3 was not measured; there are k = 1, 5, 10");
  expect(() => recallTable(results, { ...options, k: undefined })).toThrow("table: expected k for recallAtK, got none");
  expect(() => recallTable([], options)).toThrow("table: expected at least one encoder, got none");
});
