/** Which side the patients of a public set are on: the publisher's split where there is one, ours for the others. */
import type { Random } from "../random.js";
import { UNSEEN_MODALITY, type Modality, type Split } from "../types.js";
import type { Entry, SplitFractions } from "./catalog.js";
import type { Official } from "./recordRules.js";
import { splitGroups } from "./split.js";

/** What the split needs to know of one row. */
export interface SplitRow {
  readonly group: string;
  readonly modality: Modality;
  /** What should be spread evenly over the sides of our own draw. */
  readonly label: string;
  /** What the publisher says, if anything. */
  readonly official: Official | null;
}

/** Of the patients that no publisher has put on a side. */
export const OUR_FRACTIONS: SplitFractions = { train: 0.6, gallery: 0.2, query: 0.2 };

/**
 * The sides that hold the test patients. Where a publisher has one test split, gallery and query share it, half each, and both
 * together are the test patients; otherwise they are those of `query`: of a publisher with validation and test, of our own draw.
 */
export function testSplits(entry: Entry): readonly Split[] {
  const { split, splitLists } = (entry.kind === "public" ? entry.set.records : undefined) ?? {};
  const named = Object.values(split?.map ?? {});
  const said = splitLists ? Object.keys(splitLists) : split && !named.includes("query") ? [...named, "test"] : named;
  return said.includes("test") && !("test" in (split?.map ?? {})) ? ["gallery", "query"] : ["query"];
}

/** Labels of fewer patients are spread as one: alone, each would fill `train` first, and combinations of findings are many. */
const FEW = 5;

/**
 * One side for every patient:
 *
 *     the publisher says train for all rows              train
 *     … gallery (or query) for some, none of the other   gallery (or query)
 *     … test for some, or both gallery and query         gallery or query, half of these patients each
 *     … nothing                                          drawn by `OUR_FRACTIONS`
 *
 * so a patient whom the publisher has on two sides is never trained on. Patients with nothing but MRI are all drawn, and
 * never to `train`. Ten patients of one label, said to be test, are five of gallery and five of query.
 *
 * @returns the side of each group
 */
export function splitPublic(rows: readonly SplitRow[], random: Random): Map<string, Split> {
  const groups = new Map<string, { said: Set<Official>; unseenOnly: boolean }>();
  const groupsOf = new Map<string, Set<string>>();
  for (const { group, modality, label, official } of rows) {
    let known = groups.get(group);
    if (known === undefined) groups.set(group, (known = { said: new Set(), unseenOnly: true }));
    if (official !== null) known.said.add(official);
    known.unseenOnly &&= modality === UNSEEN_MODALITY;
    const stratum = `${modality}/${label}`;
    const members = groupsOf.get(stratum);
    if (members === undefined) groupsOf.set(stratum, new Set([group]));
    else members.add(group);
  }

  const sides = new Map<string, Split>();
  const pools = { drawn: new Set<string>(), judged: new Set<string>() };
  for (const [group, { said, unseenOnly }] of groups) {
    if (said.size === 0 || unseenOnly) pools.drawn.add(group);
    else if (said.has("test") || (said.has("gallery") && said.has("query"))) pools.judged.add(group);
    else sides.set(group, said.has("query") ? "query" : said.has("gallery") ? "gallery" : "train");
  }
  const items = rows.map(({ group, modality, label }) => {
    const stratum = `${modality}/${label}`;
    return { group, modality, stratum: groupsOf.get(stratum)!.size < FEW ? `${modality}, few` : stratum };
  });
  const draw = (pool: ReadonlySet<string>, fractions: SplitFractions, name: string) => {
    const members = items.filter(({ group }) => pool.has(group));
    for (const [group, side] of splitGroups(members, fractions, random.fork(name))) sides.set(group, side);
  };
  draw(pools.drawn, OUR_FRACTIONS, "ours");
  draw(pools.judged, { train: 0, gallery: 0.5, query: 0.5 }, "judged");
  return sides;
}
