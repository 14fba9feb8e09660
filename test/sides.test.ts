import { expect, test } from "vitest";
import { entryOf, labelSetsOf, loadCatalog, parseCatalog, type Entry } from "../src/datasets/catalog.js";
import { testSplits } from "../src/datasets/publicSplit.js";
import { embeddingSet, selectRows, type EmbeddingSet } from "../src/embeddings.js";
import type { NamedEmbeddings } from "../src/experiment.js";
import { judge } from "../src/judge.js";
import { Random } from "../src/random.js";
import { evaluateRetrieval } from "../src/retrieval/protocol.js";
import { evaluationOf, protocolMarkdown, protocolOf } from "../src/retrieval/protocols.js";
import { assertDisjoint, galleryOf, queriesOf } from "../src/retrieval/sides.js";
import { SPLITS, type Modality, type Split } from "../src/types.js";

const REGIONS = ["chest", "head", "knee"];
const MODALITIES: readonly Modality[] = ["xray", "ct", "mri"];

/** Patients of each split with one picture a modality; near the direction of their region by as much as `noise` lets. */
function population(noise: number, seed: number, perSplit = 12): EmbeddingSet {
  const random = new Random(seed);
  const rows = SPLITS.flatMap((split) =>
    Array.from({ length: perSplit }, (_, i) => ({ split, group: `${split} ${i}`, region: REGIONS[i % 3] })).flatMap(
      (patient) => MODALITIES.map((modality) => ({ ...patient, modality, id: `${patient.group} ${modality}` })),
    ),
  ).filter(({ split, modality }) => split !== "train" || modality !== "mri");
  const vectors = rows.flatMap(({ region }) => REGIONS.map((one) => Number(one === region) + noise * random.normal()));
  const notes = rows.map(({ id, group, modality, region }) => ({ id, group, modality, labels: { region } }));
  return embeddingSet(
    Float32Array.from(vectors),
    notes,
    rows.map(({ split }) => split),
  );
}

const settings = { label: "region", ks: [1, 5], rounds: 50 };
const trainGallery = protocolOf("train-gallery", settings);

test("queries are patients of the test side and the gallery holds the training side alone, one modality each", () => {
  const set = population(0.5, 1);
  const [queries, gallery] = [
    queriesOf(set, { from: "xray" }, trainGallery),
    galleryOf(set, { to: "ct" }, trainGallery),
  ];
  expect([new Set(queries.splits), new Set(queries.modalities)]).toEqual([new Set(["query"]), new Set(["xray"])]);
  expect([new Set(gallery.splits), new Set(gallery.modalities)]).toEqual([new Set(["train"]), new Set(["ct"])]);
  expect([queries.n, gallery.n]).toEqual([12, 12]);
  expect(galleryOf(set, { to: "mri" }, trainGallery).n).toBe(0); // it is never on the training side
  const all = protocolOf("pooled", settings);
  expect(new Set(galleryOf(set, { to: "all" }, all).modalities)).toEqual(new Set(["xray", "ct"]));
});

test("patients on both sides are an error that counts them and names rows alone, and not a hit", () => {
  const set = population(0.5, 2);
  const queries = queriesOf(set, { from: "xray" }, trainGallery);
  const gallery = galleryOf(set, { to: "xray" }, trainGallery);
  const bootstrap = { random: new Random(3), rounds: 50 };
  expect(() => assertDisjoint(queries, gallery)).not.toThrow();
  const { protocol } = evaluateRetrieval(queries, gallery, { ...evaluationOf(trainGallery), bootstrap });
  expect(protocol).toContain("none is on both sides");
  const taken = new Map([[2, 9], [4, 7], [5, 7]]); // prettier-ignore
  const leaked = { ...gallery, groups: gallery.groups.map((group, i) => queries.groups[taken.get(i) ?? -1] ?? group) };
  const leak = () => evaluateRetrieval(queries, leaked, { ...evaluationOf(trainGallery), bootstrap });
  expect(leak).toThrow(/^[^\n]*queries and gallery, got 2, first at query row 7 and gallery row 4$/);
});

/** Two encoders beside pixels, with their training vectors apart, as a run keeps them. */
function named(name: string, role: NamedEmbeddings["role"], noise: number, seed: number): NamedEmbeddings {
  const all = population(noise, seed);
  const of = (splits: readonly Split[]) => selectRows(all, (i) => splits.includes(all.splits[i]));
  return { name, role, pooling: "mean", variant: "plain", set: of(["gallery", "query"]), train: of(["train"]) };
}

const encoders = [
  named("raw pixels", "pixels", 9, 4),
  named("untrained, mean", "untrained", 9, 5),
  named("MAE, mean", "trained", 0.05, 6),
];
const judging = { ...settings, crossModalLabel: "region", data: "made up", seed: 7 };

test("all rows stand beside each other on the gallery from train, within and across modalities, and MRI only asks", () => {
  const { trainGallery: answer, protocols, perModality } = judge(encoders, judging);
  const directions = new Set(answer.rows.map(({ from, to }) => `${from} ${to}`));
  expect(directions).toEqual(new Set(["xray xray", "ct ct", "xray ct", "ct xray", "mri xray", "mri ct"]));
  const [within, cross] = ["train-gallery", "train-gallery-cross-modal"].map((name) =>
    answer.tables.find((table) => table.name === `${name}-recall-1`)!,
  );
  for (const table of [within, cross]) {
    expect(table.rows.map(({ name }) => name)).toEqual(["chance", "raw pixels", "untrained, mean", "MAE, mean"]);
  }
  expect(within.note).toContain("protocol train-gallery@1");
  expect(within.rows[3].cells[0]).toMatchObject({ value: 1, marks: "↑*†" });
  expect(protocols["train-gallery@1"]).toMatchObject({ gallerySplits: ["train"], querySplits: ["query"] });
  expect(perModality.rows.every(({ rules }) => rules === "within-modality@1")).toBe(true);
  expect(protocolMarkdown(protocols["train-gallery@1"])).toContain("on one side only, which is checked");
});

test("an encoder without training vectors is left out, and a run without any, or a caller without interest, is not asked", () => {
  const some = judge(encoders, { ...judging, only: ["crossModal"] });
  expect(some.crossModal).toEqual(judge(encoders, judging).crossModal);
  expect([some.perModality.rows, some.trainGallery.rows, some.unasked]).toEqual([[], [], []]);
  const none = encoders.map((one) => ({ ...one, train: undefined }));
  expect(judge(none, judging).trainGallery.rows).toEqual([]);
  const two = judge([...encoders.slice(0, 2), none[2]], judging).trainGallery;
  expect(new Set(two.rows.map(({ encoder }) => encoder))).toEqual(new Set(["raw pixels", "untrained, mean"]));
});

test("columns of label sets are told by the rule of a public set, by MedMNIST, or by an entry, and no others are", () => {
  const catalog = loadCatalog();
  const sets = (name: string) => labelSetsOf(entryOf(catalog, name));
  expect([sets("chestxray14"), sets("medmnist-chestmnist")]).toEqual([["finding"], ["class"]]);
  expect([sets("phantom"), sets("realdata"), sets("medmnist-pneumoniamnist"), sets("busi")]).toEqual([[], [], [], []]);
  const mine = "mine: { kind: folder, path: ., title: t, source: s, licence: l, modalities: [xray], group: group, retrievalLabel: finding, labels: { finding: f }"; // prettier-ignore
  const parsed = parseCatalog(`datasets: { ${mine}, labelSets: [finding] } }`, "mine.yaml");
  expect(labelSetsOf(entryOf(parsed, "mine"))).toEqual(["finding"]);
  expect(() => parseCatalog(`datasets: { ${mine}, labelSets: [findings] } }`, "mine.yaml")).toThrow("labelSets: expected keys of labels"); // prettier-ignore
});

test("a picture with several findings is a hit where one is shared, in every table of its data set", () => {
  const sets = ["Mass", "Mass|Nodule", "Nodule", "No Finding"];
  const labelled = encoders.map((one) => {
    const labels = { region: one.set.groups.map((_, i) => sets[i % 4]) };
    return { ...one, set: { ...one.set, labels }, train: undefined };
  });
  const { perModality, protocols } = judge(labelled, { ...judging, labelSets: ["region"] });
  expect(protocols["within-modality@1"]).toMatchObject({ relevance: "set", metrics: { ndcgAtK: expect.any(String) } });
  expect(protocolMarkdown(protocols["within-modality@1"])).toContain("any label that the query's `region` has too");
  const graded = perModality.furtherTables.find(({ name }) => name === "within-ndcg-5")!;
  expect(graded.note).toContain(
    "nDCG@5 (gain: Jaccard index of label sets), relevant: same region (sets: any label shared)",
  );
  expect(graded.rows[0].cells[0]!.value).toBe(perModality.rows[0].chance["ndcg@5"]);
  const plain = judge(labelled, judging);
  expect(plain.perModality.furtherTables.map(({ name }) => name)).not.toContain("within-ndcg-5");
  expect(plain.perModality.rows[0].chance["1"]).toBeLessThan(perModality.rows[0].chance["1"]);
});

test("where a publisher's one test split was halved both halves ask, and validation patients never do", () => {
  const catalog = loadCatalog();
  const sides = (name: string) => testSplits(entryOf(catalog, name));
  expect(sides("phantom")).toEqual(["query"]);
  expect(sides("chestxray14")).toEqual(["gallery", "query"]); // train_val_list.txt and test_list.txt
  expect(sides("totalsegmentator")).toEqual(["query"]); // val is the gallery, test the queries
  const withSplit = (map: Record<string, string> | undefined): Entry => {
    const entry = entryOf(catalog, "chestxray14") as Extract<Entry, { kind: "public" }>;
    const records = { ...entry.set.records!, splitLists: undefined, split: { column: "split", map } };
    return { ...entry, set: { ...entry.set, records } };
  };
  expect(testSplits(withSplit(undefined))).toEqual(["gallery", "query"]); // the column says train and test itself
  expect(testSplits(withSplit({ valid: "test" }))).toEqual(["gallery", "query"]);
  expect(testSplits(withSplit({ val: "gallery", test: "query" }))).toEqual(["query"]);
  const asked = queriesOf(population(1, 8), { from: "ct" }, protocolOf("train-gallery", { ...settings, testSplits: ["gallery", "query"] })); // prettier-ignore
  expect(new Set(asked.splits)).toEqual(new Set(["gallery", "query"]));
});
