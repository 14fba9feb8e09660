import { expect, test } from "vitest";
import { share, splitGroups } from "../src/datasets/split.js";
import type { SplitItem } from "../src/datasets/split.js";
import { Random } from "../src/random.js";
import type { Split } from "../src/types.js";
import { MODALITIES, SPLITS } from "../src/types.js";

const fractions = { train: 0.6, gallery: 0.2, query: 0.2 };

/** Patients with a few files each, of one or several modalities and classes. */
function population(random: Random): SplitItem[] {
  return Array.from({ length: 40 + random.int(60) }, (_, patient) => {
    const files = 1 + random.int(4);
    return Array.from({ length: files }, (): SplitItem => {
      const modality = random.pick(MODALITIES);
      return { group: `p${patient}`, modality, stratum: `${modality}/${random.int(3)}` };
    });
  }).flat();
}

test("every patient is on one side of the split only, and MRI alone is never trained on", () => {
  const random = new Random(1);
  for (let round = 0; round < 50; round++) {
    const items = population(random);
    const splitOf = splitGroups(items, fractions, random.fork(`round ${round}`));
    expect(new Set(splitOf.keys())).toEqual(new Set(items.map((item) => item.group)));
    for (const [group, split] of splitOf) {
      const modalities = items.filter((item) => item.group === group).map((item) => item.modality);
      if (modalities.every((modality) => modality === "mri")) expect(split).not.toBe("train");
    }
  }
});

test("the order of the files does not matter", () => {
  const random = new Random(2);
  const items = population(random);
  const shuffled = [...random.permutation(items.length)].map((i) => items[i]);
  const sorted = (splits: Map<string, Split>) => [...splits].sort();
  expect(sorted(splitGroups(shuffled, fractions, new Random(3)))).toEqual(
    sorted(splitGroups(items, fractions, new Random(3))),
  );
});

test("a class with as many patients as splits is present in each of them", () => {
  for (let n = 3; n < 30; n++) {
    const items = Array.from(
      { length: n },
      (_, i) => ({ group: `p${i}`, stratum: "xray/a", modality: "xray" }) as const,
    );
    expect(new Set(splitGroups(items, fractions, new Random(n)).values())).toEqual(new Set(SPLITS));
  }
});

test("another class does not move the patients of this one", () => {
  const of = (stratum: string, count: number) =>
    Array.from({ length: count }, (_, i) => ({ group: `${stratum}${i}`, stratum, modality: "xray" }) as const);
  const alone = splitGroups(of("a", 20), fractions, new Random(4));
  const together = splitGroups([...of("b", 9), ...of("a", 20)], fractions, new Random(4));
  for (const [group, split] of alone) expect(together.get(group)).toBe(split);
});

test("every patient is as likely to be the query as any other", () => {
  const items = Array.from({ length: 5 }, (_, i) => ({ group: `p${i}`, stratum: "a", modality: "ct" }) as const);
  const counts = new Map<string, number>();
  for (let seed = 0; seed < 2000; seed++) {
    for (const [group, split] of splitGroups(items, fractions, new Random(seed))) {
      if (split === "query") counts.set(group, (counts.get(group) ?? 0) + 1);
    }
  }
  expect(counts.size).toBe(5);
  for (const count of counts.values()) expect(Math.abs(count / 2000 - 0.2)).toBeLessThan(0.045); // 5 standard errors
});

test("ten groups are shared 6 : 2 : 2, and a gallery that is not wanted stays empty", () => {
  const items = Array.from({ length: 10 }, (_, i) => ({ group: `p${i}`, stratum: "a", modality: "ct" }) as const);
  const count = (splits: Map<string, Split>, wanted: Split) => [...splits.values()].filter((s) => s === wanted).length;
  const usual = splitGroups(items, fractions, new Random(1));
  expect(SPLITS.map((split) => count(usual, split))).toEqual([6, 2, 2]);
  const pair = splitGroups(items, { train: 0.7, gallery: 0, query: 0.3 }, new Random(1));
  expect(SPLITS.map((split) => count(pair, split))).toEqual([7, 0, 3]);
});

test("MRI-only patients share gallery and query, and get no split where everything is trained on", () => {
  const items = Array.from({ length: 8 }, (_, i) => ({ group: `p${i}`, stratum: "a", modality: "mri" }) as const);
  const splits = [...splitGroups(items, fractions, new Random(1)).values()];
  expect(splits.filter((split) => split === "gallery")).toHaveLength(4);
  expect(splits.filter((split) => split === "query")).toHaveLength(4);
  expect(splitGroups(items, { train: 1, gallery: 0, query: 0 }, new Random(1)).size).toBe(0);
});

test("shares add up, and nobody is left out while there is enough", () => {
  const random = new Random(5);
  for (let round = 0; round < 300; round++) {
    const n = random.int(40);
    const weights = Array.from({ length: 1 + random.int(4) }, () => random.uniform(0.01, 1));
    const counts = share(n, weights);
    expect(counts.reduce((sum, count) => sum + count, 0)).toBe(n);
    if (n >= weights.length) expect(Math.min(...counts)).toBeGreaterThan(0);
  }
  expect(share(10, [6, 2, 2])).toEqual([6, 2, 2]);
  expect(share(3, [8, 1, 1])).toEqual([1, 1, 1]);
  expect(share(2, [6, 2, 2])).toEqual([1, 1, 0]);
});
