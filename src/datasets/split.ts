/** Who is trained on and who is judged: whole patients, never parts of one. */
import type { Random } from "../random.js";
import { SPLITS, UNSEEN_MODALITY } from "../types.js";
import type { Modality, Split } from "../types.js";
import type { SplitFractions } from "./catalog.js";

/** What a split needs to know of one file. */
export interface SplitItem {
  readonly group: string;
  /** What should be spread evenly over the splits: usually modality and class. */
  readonly stratum: string;
  readonly modality: Modality;
}

/**
 * Gives every group one split, so that all its files are on one side.
 *
 * - Strata are divided one by one, in the given fractions, by largest remainder; a stratum with at least as many groups
 *   as there are splits is present in each of them.
 * - A group of several strata counts in its rarest one.
 * - A group that has nothing but MRI is never in `train`: gallery and query share it in their own proportion. A group
 *   with MRI and something else may be in `train`; its MRI must then be left out, which is the caller's part
 *   (`openFolder` reports each such file as skipped). Where everything is `train`, MRI-only groups get no split.
 *
 * The order of the items does not matter, and one more stratum does not move the groups of another. Ten groups of one
 * stratum with fractions 0.6, 0.2, 0.2 give 6, 2 and 2.
 */
export function splitGroups(
  items: readonly SplitItem[],
  fractions: SplitFractions,
  random: Random,
): Map<string, Split> {
  const groups = new Map<string, { strata: Set<string>; unseenOnly: boolean }>();
  const groupsOf = new Map<string, Set<string>>();
  for (const { group, stratum, modality } of items) {
    const known = groups.get(group) ?? { strata: new Set<string>(), unseenOnly: true };
    known.strata.add(stratum);
    known.unseenOnly &&= modality === UNSEEN_MODALITY;
    groups.set(group, known);
    groupsOf.set(stratum, (groupsOf.get(stratum) ?? new Set()).add(group));
  }

  // Each group joins the pool of its rarest stratum; within a stratum, MRI-only groups are a pool of their own.
  const pools = new Map<string, { members: string[]; allowed: readonly Split[] }>();
  for (const [group, { strata, unseenOnly }] of groups) {
    const size = (stratum: string) => groupsOf.get(stratum)?.size ?? 0;
    const [rarest] = [...strata].sort((a, b) => size(a) - size(b) || (a < b ? -1 : 1));
    const key = `${unseenOnly ? "unseen" : "seen"}/${rarest}`;
    const allowed = SPLITS.filter((split) => fractions[split] > 0 && !(unseenOnly && split === "train"));
    const pool = pools.get(key) ?? { members: [], allowed };
    pool.members.push(group);
    pools.set(key, pool);
  }

  const splitOf = new Map<string, Split>();
  for (const [key, { members, allowed }] of pools) {
    if (allowed.length === 0) continue;
    members.sort();
    const order = random.fork(key).permutation(members.length);
    const weights = allowed.map((split) => fractions[split]);
    const counts = share(members.length, weights);
    const sides = allowed.flatMap((split, i) => new Array<Split>(counts[i]).fill(split));
    order.forEach((member, i) => splitOf.set(members[member], sides[i]));
  }
  return splitOf;
}

/**
 * n things in the proportion of `weights`, by largest remainder (ties to the first), with one for each weight as long
 * as n allows: `share(10, [6, 2, 2])` is [6, 2, 2], `share(3, [8, 1, 1])` is [1, 1, 1], `share(2, [6, 2, 2])` is
 * [1, 1, 0].
 */
export function share(n: number, weights: readonly number[]): number[] {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const exact = weights.map((weight) => (n * weight) / total);
  const counts = exact.map((x) => Math.floor(x + 1e-9));
  for (let left = n - counts.reduce((sum, count) => sum + count, 0); left > 0; left--) {
    const remainder = exact.map((x, i) => x - counts[i]);
    counts[remainder.indexOf(Math.max(...remainder))]++;
  }
  if (n >= weights.length) {
    for (let empty = counts.indexOf(0); empty >= 0; empty = counts.indexOf(0)) {
      counts[counts.indexOf(Math.max(...counts))]--;
      counts[empty]++;
    }
  }
  return counts;
}
