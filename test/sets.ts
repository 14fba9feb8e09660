/** Small embedding sets for the tests of retrieval and analysis. */
import { embeddingSet, type EmbeddingSet, type RowNotes } from "../src/embeddings.js";
import type { Random } from "../src/random.js";
import type { Modality } from "../src/types.js";

/** Rows given one by one; every row is its own group unless groups are given. */
export function setOf(
  rows: readonly (readonly number[])[],
  notes: {
    readonly name?: string;
    readonly region?: readonly string[];
    readonly groups?: readonly string[];
    readonly modalities?: readonly Modality[];
  } = {},
): EmbeddingSet {
  const name = notes.name ?? "s";
  return embeddingSet(
    Float32Array.from(rows.flat()),
    rows.map((_, i): RowNotes => ({
      id: `${name}${i}`,
      group: notes.groups?.[i] ?? `${name}${i}`,
      modality: notes.modalities?.[i] ?? "ct",
      labels: notes.region === undefined ? {} : { region: notes.region[i] },
    })),
  );
}

/** n random directions with labels that have nothing to do with them. */
export function randomSet(n: number, d: number, random: Random, name = "s", classes = 4): EmbeddingSet {
  return setOf(
    Array.from({ length: n }, () => Array.from({ length: d }, () => random.normal())),
    { name, region: Array.from({ length: n }, () => `class ${random.int(classes)}`) },
  );
}
