import { expect, test } from "vitest";
import { alignment, modalityGap, pairRetrieval, pairRows, uniformity } from "../src/analysis/alignment.js";
import { measureAlignment, MEASURES, type Measurement } from "../src/analysis/alignmentMeasures.js";
import { alignmentRows, alignmentTable, falseDiscovery, nullTable } from "../src/analysis/alignmentTable.js";
import { linearCka } from "../src/analysis/cka.js";
import { toMarkdown } from "../src/analysis/tables.js";
import type { EmbeddingSet } from "../src/embeddings.js";
import { Random } from "../src/random.js";
import type { Modality, Split } from "../src/types.js";
import { randomSet, setOf } from "./sets.js";

const options = { label: "region", seed: 7, rounds: 99, bootstrapRounds: 100 };

/** Patients with an X-ray and a CT of one anatomy, a modality's offset and some noise; every other one is a query. */
function patients(count: number, offset: number): EmbeddingSet {
  const random = new Random(`patients ${count}`);
  const rows: number[][] = [];
  const notes = { region: [] as string[], groups: [] as string[], modalities: [] as Modality[] };
  const splits: Split[] = [];
  for (let p = 0; p < count; p++) {
    const region = p % 4;
    const anatomy = Array.from({ length: 10 }, (_, t) => (t === region ? 2 : 0) + 0.7 * random.normal());
    for (const modality of ["xray", "ct"] as const) {
      rows.push([...anatomy.map((x) => x + 0.2 * random.normal()), modality === "ct" ? offset : -offset]);
      notes.region.push(["abdomen", "chest", "head", "knee"][region]);
      notes.groups.push(`p${p}`);
      notes.modalities.push(modality);
      splits.push(Math.floor(p / 4) % 2 === 0 ? "gallery" : "query");
    }
  }
  return { ...setOf(rows, notes), splits };
}

const shared = patients(64, 0.8);
const nothing: EmbeddingSet = { ...shared, vectors: randomSet(shared.n, shared.d, new Random(3)).vectors };
const by = (measured: readonly Measurement[]) => Object.fromEntries(measured.map((one) => [one.measure, one]));

test("every measure has the value that its own function gives", () => {
  const measured = by(measureAlignment(shared, "xray", "ct", options));
  const { from, to } = pairRows(shared, "xray", "ct");
  expect(Object.keys(measured)).toEqual([...MEASURES]);
  expect(measured.CKA.value).toBeCloseTo(linearCka(from, to), 10);
  expect(measured["debiased CKA"].value).toBeCloseTo(linearCka(from, to, { debiased: true }), 10);
  expect(measured["pair distance"].value).toBeCloseTo(alignment(from, to), 5);
  expect(measured.gap.value).toBeCloseTo(modalityGap(shared, "xray", "ct"), 6);
  expect(measured.uniformity.value).toBeCloseTo(uniformity(shared), 5);
  const bootstrap = { random: new Random(7), rounds: 100 };
  const pairs = (["xray", "ct"] as const).map((one) => {
    return pairRetrieval(shared, shared, { from: one, to: one === "ct" ? "xray" : "ct", bootstrap }).recallAtK[10]
      .value;
  });
  expect(measured["pairs@10"].value).toBeCloseTo((pairs[0] + pairs[1]) / 2, 10);
  expect(measured["region@1"].n).toBe(64); // 32 queries each way
});

test("shared anatomy lies beyond every null, and random vectors within", () => {
  const measured = by(measureAlignment(shared, "xray", "ct", options));
  const lost = by(measureAlignment(nothing, "xray", "ct", options));
  for (const measure of MEASURES.slice(0, 6)) {
    expect(measured[measure].p, measure).toBe(0.01);
    expect(lost[measure].p, measure).toBeGreaterThan(0.01);
    expect(lost[measure].value).toBeGreaterThan(lost[measure].nullLow - 0.1);
    expect(lost[measure].value).toBeLessThan(lost[measure].nullHigh + 0.1);
  }
  expect(measured["region@1"].nullMean).toBeCloseTo(0.25, 1); // four regions
  expect(measured["pairs@10"].nullMean).toBeCloseTo(10 / 64, 1);
  expect(measured.gap.p).toBe(0.01); // the offset
  expect(measured.uniformity.p).toBe(null);
  expect(lost.uniformity.value).toBeCloseTo(lost.uniformity.nullMean, 1);
  for (const one of Object.values(measured)) expect(one.low <= one.value && one.value <= one.high).toBe(true);
});

test("a shift between modalities is no alignment: it moves the gap and the pairs' distance, and the null with it", () => {
  const far = by(measureAlignment(patients(64, 2), "xray", "ct", options));
  const near = by(measureAlignment(shared, "xray", "ct", options));
  expect(far.gap.value).toBeGreaterThan(near.gap.value + 0.3);
  expect(far["pair distance"].value).toBeGreaterThan(near["pair distance"].value + 0.3);
  expect(far["pair distance"].nullMean).toBeGreaterThan(near["pair distance"].nullMean + 0.3);
  expect(far["pair distance"].p).toBe(0.01);
  expect(Math.abs(far["debiased CKA"].value - near["debiased CKA"].value)).toBeLessThan(0.15);
});

test("without pairs the measures that need none are left", () => {
  const strangers = { ...shared, groups: shared.groups.map((group, i) => `${group} ${shared.modalities[i]}`) };
  const measured = measureAlignment(strangers, "xray", "ct", options);
  expect(measured.map(({ measure }) => measure)).toEqual(["region@1", "gap", "uniformity"]);
  const other = {
    ...strangers,
    labels: { region: strangers.labels.region.map((r, i) => r + strangers.modalities[i]) },
  };
  expect(measureAlignment(other, "xray", "ct", options).map(({ measure }) => measure)).toEqual(["gap", "uniformity"]);
});

test("the same seed gives the same numbers, another seed other nulls", () => {
  const rows = (seed: number) => measureAlignment(shared, "xray", "ct", { ...options, seed, measures: ["CKA"] });
  expect(rows(7)).toEqual(rows(7));
  expect(rows(8)[0].value).toBe(rows(7)[0].value);
  expect(rows(8)[0].nullLow).not.toBe(rows(7)[0].nullLow);
});

test("the table marks what beats the untrained encoder and what survives the correction, and says what it is of", () => {
  const all = [
    { name: "untrained, CLS", role: "untrained", variant: "plain", set: nothing },
    { name: "MAE, CLS", role: "trained", variant: "plain", set: shared },
    { name: "MAE (ceiling: saw MRI), CLS", role: "ceiling", variant: "plain", set: shared },
  ] as const;
  const rows = alignmentRows(all, ["xray", "ct"], options);
  const about = { data: "sets", seed: 7, label: "region" };
  const table = alignmentTable(rows, about);
  const marks = Object.fromEntries(table.rows.map(({ name, cells }) => [name, cells.map((cell) => cell?.marks)]));
  expect(marks["MAE, CLS"].slice(0, 6)).toEqual(["†↑", "†↑", "†↑", "†↑", "†↑", "†↑"]);
  expect(marks["MAE (ceiling: saw MRI), CLS"].slice(0, 6)).toEqual(["†", "†", "†", "†", "†", "†"]);
  expect(marks["untrained, CLS"].slice(0, 6)).toEqual(["", "", "", "", "", ""]);
  const text = toMarkdown(table);
  for (const said of ["data: sets", "seed 7", "CKA 64", "same region", "gap (less is better)"])
    expect(text).toContain(said);
  const nulls = nullTable(rows, about);
  expect(nulls.rows[0].cells[0]?.value).toBe(rows[0].nullMean);
  const two = [...rows, { ...rows[0], to: "mri" as const }];
  expect(() => alignmentTable(two, about)).toThrow("expected one pair of modalities, got xray, ct and xray, mri");
});

test("false discoveries are corrected as Benjamini and Hochberg do", () => {
  expect(falseDiscovery([0.01, 0.04, 0.03, 0.5])).toEqual([true, false, false, false]);
  expect(falseDiscovery([0.01, 0.04, 0.02, 0.5])).toEqual([true, false, true, false]);
  expect(falseDiscovery([0.06, 0.9])).toEqual([false, false]);
  expect(falseDiscovery([0.04, 0.045])).toEqual([true, true]); // the larger one carries the smaller
});
