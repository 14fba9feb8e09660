/** What misleads in a data set, said beside the numbers that it concerns: what its entry says, and what counts show. */
import type { Trap } from "../datasets/catalog.js";
import type { ClassMetrics } from "../retrieval/protocol.js";
import type { Modality } from "../types.js";

/** What traps need to know of a measured row. */
export interface TrappedRow {
  readonly from: string;
  readonly to: string;
  readonly label: string;
  readonly perClass: Readonly<Record<string, Pick<ClassMetrics, "n">>>;
}

/** Below this many queries a class's own number is an anecdote: one query moves it by a fifth or more. */
export const THIN = 5;

const columnOf = ({ from, to }: TrappedRow): string => (from === to ? from : `${from} → ${to}`);

/** The traps of the entry that concern these rows, each with its columns, and the classes with few queries. */
export function trapsOf(rows: readonly TrappedRow[], traps: readonly Trap[]): string[] {
  const columns = new Map(rows.map((row) => [columnOf(row), row]));
  const concerns = ({ modalities, label }: Trap, row: TrappedRow): boolean => {
    const where: readonly string[] = modalities ?? [];
    return (
      (label === undefined || label === row.label) &&
      (where.length === 0 || where.includes(row.from as Modality) || where.includes(row.to as Modality))
    );
  };
  const told = traps.flatMap((trap) => {
    const hit = [...columns].filter(([, row]) => concerns(trap, row)).map(([column]) => column);
    if (hit.length === 0) return [];
    const where = hit.length === columns.size ? "" : ` (${hit.join(", ")})`;
    return [`trap${where}: ${trap.says}`];
  });
  return [...told, ...thinClasses(columns)];
}

/**
 * The traps that concern pictures of these modalities read by this label, as a paragraph that may follow any number's words: for
 * figures, galleries and sentences, which have no table to say it. `"\n\n**Trap** (xray): the class equals the hospital."`
 *
 * @returns "" where none do
 */
export function trapWords(
  { traps = [] }: { readonly traps?: readonly Trap[] },
  modalities: readonly string[],
  label: string,
): string {
  return traps
    .flatMap(({ says, modalities: where, label: by }) => {
      const hit = modalities.filter((one) => where?.includes(one as Modality) ?? true);
      if (hit.length === 0 || (by !== undefined && by !== label)) return [];
      return [`\n\n**Trap**${where === undefined ? "" : ` (${[...new Set(hit)].join(", ")})`}: ${says}.`];
    })
    .join("");
}

function thinClasses(columns: ReadonlyMap<string, TrappedRow>): string[] {
  const found = [...columns].flatMap(([column, { perClass }]) => {
    const classes = Object.entries(perClass);
    const thin = classes.filter(([, { n }]) => n < THIN);
    if (thin.length === 0) return [];
    const [least] = [...thin].sort(([, a], [, b]) => a.n - b.n);
    return [{ column, counts: `${thin.length} of ${classes.length} (least: ${least[0]}, ${least[1].n})` }];
  });
  if (found.length === 0) return [];
  const same = found.length === columns.size && found.every(({ counts }) => counts === found[0].counts);
  const where = same ? found[0].counts : found.map(({ column, counts }) => `${column} ${counts}`).join("; ");
  return [`classes with fewer than ${THIN} queries: ${where}`];
}
