import { expect, test } from "vitest";
import { claimsOf, PRIMARY, whyNotMarkdown } from "../src/claims.js";
import type { Answer, Judgement, ResultRow } from "../src/judge.js";
import type { Modality } from "../src/types.js";

/** A row with the numbers that claims read; the rest of a report is not looked at. */
function row(encoder: string, value: number, width: number, from: Modality = "ct", to: Modality = from): ResultRow {
  const recallAtK = { "1": { value, low: value - width, high: value + width } };
  const role = encoder.startsWith("untrained") ? "untrained" : "trained";
  const variant = encoder.endsWith("whitened") ? "whitened" : "plain";
  return { encoder, role, variant, from, to, label: "region", recallAtK, chance: { "1": 0.1 } } as unknown as ResultRow;
}

const none: Answer = { rows: [], tables: [], furtherTables: [], comparisons: [] };
const nothing: Judgement = {
  ...{ perModality: none, crossModal: none, pairs: none, mri: none, trainGallery: none },
  pooled: { ...none, rows: [] },
  unasked: [],
  protocols: {},
};

/** The claim about MAE within modalities, for CT rows of MAE and the untrained encoder. */
function within(mae: number, untrainedMean: number, untrainedCls: number) {
  const rows = [
    row(PRIMARY.MAE, mae, 0.05),
    row("untrained, mean, whitened", untrainedMean, 0.05),
    row("untrained, CLS", untrainedCls, 0.05),
    row("untrained, mean", 0.1, 0.05),
    row(PRIMARY.SimDINO, 0.1, 0.05),
  ];
  return claimsOf({ ...nothing, perModality: { ...none, rows } })[0];
}

test("a claim holds only where the whole interval lies above every untrained row", () => {
  expect(within(0.8, 0.4, 0.5).verdict).toBe("yes"); // 0.75 > 0.55
  expect(within(0.58, 0.4, 0.5).verdict).toBe("partly"); // above its twin's 0.45, not clear of the CLS row
  expect(within(0.44, 0.4, 0.5).verdict).toBe("no"); // a higher mean inside its twin's interval
});

test("a claim says its numbers, and what was not measured says so", () => {
  expect(within(0.8, 0.4, 0.5).measured).toMatch(
    /^Recall@1 \(untrained, same pooling\): ct 0.80 \(0.40\); chance 0.10\./,
  );
  const all = claimsOf(nothing);
  expect(new Set(all.map(({ verdict }) => verdict))).toEqual(new Set(["not measured"]));
  expect(all).toHaveLength(10);
});

test("pairs above chance that an untrained encoder finds as well prove nothing", () => {
  const pair = (encoder: string, value: number) => row(encoder, value, 0.02, "xray", "ct");
  const claimOf = (mae: number) => {
    const rows = [pair(PRIMARY.MAE, mae), pair("untrained, mean, whitened", 0.2)];
    const claims = claimsOf({ ...nothing, pairs: { ...none, rows } });
    return claims.find(({ claim }) => claim === "MAE: finds the same patient across X-ray and CT")!;
  };
  expect(claimOf(0.2).verdict).toBe("no"); // chance is 0.1
  expect(claimOf(0.2).measured).toMatch(/above chance in 1 of 1, and above the untrained interval in 0$/);
  expect(claimOf(0.3).verdict).toBe("yes");
});

test("a paired test is told beside the verdict and does not change it", () => {
  const rows = [row(PRIMARY.MAE, 0.44, 0.05), row("untrained, mean, whitened", 0.4, 0.05)];
  const about = {
    encoder: PRIMARY.MAE,
    against: "untrained, mean, whitened",
    baseline: "untrained",
    column: "ct",
  } as const;
  const test = { metric: "recallAtK", k: 1, p: 0.001, adjusted: 0.01, family: 32, verdict: "above" } as const;
  const counts = {
    method: "exact",
    n: 9,
    groups: 9,
    informative: 9,
    difference: { value: 0.04, low: 0, high: 1 },
  } as const;
  const [claim] = claimsOf({
    ...nothing,
    perModality: { ...none, rows, comparisons: [{ ...about, ...test, ...counts }] },
  });
  expect(claim.verdict).toBe("no");
  expect(claim.measured).toMatch(/; above it by a paired test \(Holm over 32\) in 1$/);
});

test("where a claim does not show, it is said with a guess at why; where all hold or nothing was measured, nothing is", () => {
  const words = whyNotMarkdown([within(0.44, 0.4, 0.5)]);
  expect(words).toMatch(
    /^\* \*MAE: retrieval within every pretraining modality\* does not show\. It might be that its loss is paid/,
  );
  expect(whyNotMarkdown([within(0.58, 0.4, 0.5)])).toContain("shows in part");
  expect(whyNotMarkdown([within(0.8, 0.4, 0.5)])).toBe("");
  expect(whyNotMarkdown(claimsOf(nothing))).toBe("");
  for (const { method, topic } of claimsOf(nothing)) {
    const claim = { claim: "c", measured: "m", verdict: "no", method, topic } as const;
    expect(whyNotMarkdown([claim])).toMatch(/It might be that \w/);
  }
});

test("chance is one number where it is the same everywhere, and one for each direction where it is not", () => {
  const both = (second: number) => {
    const rows = [PRIMARY.MAE, "untrained, mean, whitened"].flatMap((encoder) => [
      row(encoder, 0.5, 0.05, "xray"),
      { ...row(encoder, 0.5, 0.05, "ct"), chance: { "1": second } },
    ]);
    return claimsOf({ ...nothing, perModality: { ...none, rows } })[0].measured;
  };
  expect(both(0.1)).toContain("; chance 0.10. Above");
  expect(both(0.33)).toContain("; chance 0.10, 0.33. Above");
});
