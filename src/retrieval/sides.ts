/** Who asks and who is searched: the rows of a set that a protocol takes for either side of a direction. */
import { selectRows, type EmbeddingSet } from "../embeddings.js";
import { InputError, PRETRAIN_MODALITIES, type Modality, type Split } from "../types.js";
import type { Protocol } from "./protocols.js";

/** A modality, or all pretraining modalities together. */
export type Scope = Modality | "all";

/** From the queries' modality to the gallery's. */
export interface Direction<From extends Scope = Scope, To extends Scope = Scope> {
  readonly from: From;
  readonly to: To;
}

/** Rows of one modality, or of every pretraining modality; of these splits, or of any where there are none to choose. */
function part(set: EmbeddingSet, scope: Scope, splits: readonly Split[]): EmbeddingSet {
  const inScope = (m: Modality) => (scope === "all" ? PRETRAIN_MODALITIES.includes(m) : m === scope);
  return selectRows(set, (i) => inScope(set.modalities[i]) && splits.includes(set.splits[i]));
}

type Rules = Pick<Protocol, "relevance" | "querySplits" | "gallerySplits">;

/** The rows that ask. */
export function queriesOf(set: EmbeddingSet, { from }: Pick<Direction, "from">, { querySplits }: Rules): EmbeddingSet {
  return part(set, from, querySplits);
}

/** The rows that are searched. */
export function galleryOf(set: EmbeddingSet, { to }: Pick<Direction, "to">, { gallerySplits }: Rules): EmbeddingSet {
  return part(set, to, gallerySplits);
}

/**
 * Throws unless no patient is on both sides: a gallery of patients that pretraining saw and queries of patients that it did not
 * share nobody, whatever the split says of itself. The message counts patients and names rows, from 0, of the two sets: a group
 * may be a person's name.
 */
export function assertDisjoint(queries: EmbeddingSet, gallery: EmbeddingSet): void {
  const held = new Set(gallery.groups);
  const shared = new Set(queries.groups.filter((group) => held.has(group)));
  if (shared.size === 0) return;
  const query = queries.groups.findIndex((group) => shared.has(group));
  throw new InputError(
    `expected no patient among both queries and gallery, got ${shared.size}, first at query row ${query} and gallery row ${gallery.groups.indexOf(queries.groups[query])}`,
  );
}
