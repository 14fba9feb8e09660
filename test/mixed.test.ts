import { expect, test } from "vitest";
import { embeddingSet, type EmbeddingSet } from "../src/embeddings.js";
import { mixedVersusSingle, type TrainedOn } from "../src/mixed.js";
import { Random } from "../src/random.js";
import type { Modality, Split } from "../src/types.js";

const CLASSES = ["a", "b", "c", "d"];

/** X-ray and CT of 60 patients a split; `noise` of each modality: 0.1 finds the class, 30 is chance. */
function vectors(noise: Partial<Record<Modality, number>>, seed: number): EmbeddingSet {
  const random = new Random(seed);
  const rows = (["gallery", "query"] as Split[]).flatMap((split) =>
    (["xray", "ct"] as Modality[]).flatMap((modality) =>
      Array.from({ length: 60 }, (_, i) => ({
        split,
        modality,
        id: `${split}${modality}${i}`,
        group: `${split}${i}`,
        label: CLASSES[i % 4],
      })),
    ),
  );
  const data = rows.flatMap(({ modality, label }) =>
    CLASSES.map((c) => Number(c === label) + (noise[modality] ?? 0) * random.normal()),
  );
  const notes = rows.map(({ id, group, modality, label }) => ({ id, group, modality, labels: { region: label } }));
  return embeddingSet(
    Float32Array.from(data),
    notes,
    rows.map(({ split }) => split),
  );
}

const runs: TrainedOn[] = [
  { method: "MAE", modalities: ["xray", "ct"], set: vectors({ xray: 0.1, ct: 0.1 }, 1) },
  { method: "MAE", modalities: ["xray"], set: vectors({ xray: 0.1, ct: 30 }, 2) },
  { method: "MAE", modalities: ["ct"], set: vectors({ xray: 30, ct: 30 }, 3) },
];
const options = { label: "region", data: "made up", seed: 7, rounds: 100 };

test("each single-modality run is compared with the mixture on its own modality alone", () => {
  const { table, comparisons, summary } = mixedVersusSingle(runs, options);
  expect(comparisons.map(({ against, column, verdict }) => [against, column, verdict])).toEqual([
    ["MAE, xray only", "xray", "not told apart"],
    ["MAE, ct only", "ct", "above"],
  ]);
  expect(comparisons.map(({ family }) => family)).toEqual([2, 2]);
  expect(table.rows.map(({ name }) => name)).toEqual(["chance", "MAE, mixed", "MAE, xray only", "MAE, ct only"]);
  expect(table.columns).toEqual(["xray", "ct"]);
  expect(table.remarks![0]).toMatch(
    /same method trained on that modality alone, Holm over 2: above in 1 \(MAE, mixed on ct/,
  );
  expect(summary).toMatch(/above in 1, below in 0, and not told apart in 1 \(Holm over 2\)/);
});

test("a mixture that is worse is said to be below", () => {
  const worse = [{ ...runs[0], set: vectors({ xray: 30, ct: 30 }, 4) }, runs[1]];
  expect(mixedVersusSingle(worse, options).comparisons[0].verdict).toBe("below");
});

test("no mixture, two of them, or nothing single is refused in one line", () => {
  expect(() => mixedVersusSingle(runs.slice(1), options)).toThrow("MAE: expected one run of several modalities, got 0");
  expect(() => mixedVersusSingle([runs[0], runs[0], runs[1]], options)).toThrow("got 2");
  expect(() => mixedVersusSingle([runs[0]], options)).toThrow("expected a run of one modality, got none");
});
