/** Every way to read the bases of a sweep, over its seeds: both poolings, plain, whitened and centred, beside chance and baselines. */
import { markdownTable } from "../analysis/markdownTable.js";
import { overSeeds } from "../analysis/overSeeds.js";
import { METHOD_NAMES } from "../run.js";
import { MODALITIES } from "../types.js";
import type { Collected, CollectedSetting, Measured } from "./collect.js";
import { AGAINST, effectWords, mainEffects } from "./collectedTables.js";
import { as, pixels, untrained } from "./values.js";

/** A table and what it is of. */
export interface ReadingTable {
  readonly title: string;
  readonly markdown: string;
}

/** One reading of one encoder: its row's name, and one value a seed of everything that it was asked. */
interface ReadRow {
  readonly name: string;
  readonly perSeed: Readonly<Record<string, readonly number[]>>;
  readonly questions: Readonly<Record<string, readonly number[]>>;
}

/**
 * The mean over seeds with Student's 95 % interval over them: `0.565 [0.52, 0.61]`, and one seed's value alone. The interval of a
 * share is cut at 0 and 1.
 */
function seedWords(values: readonly number[] | undefined): string {
  if (values === undefined || values.length === 0) return "–";
  const interval = overSeeds(values);
  if (interval === null) return values[0].toFixed(3);
  const [low, high] = [Math.max(0, interval.low), Math.min(1, interval.high)];
  return `${interval.value.toFixed(3)} [${low.toFixed(2)}, ${high.toFixed(2)}]`;
}

/** "mean, whitened" of "trained, mean, whitened"; "plain" where pixels have neither pooling nor treatment. */
const withoutRole = (reading: string): string => reading.replace(/^\w+(, )?/, "") || "plain";

function rowsOf({ values, perSeed, questions = {} }: Measured, whose: (role: string) => string): ReadRow[] {
  return Object.keys(values).map((reading) => {
    const role = /^\w+/.exec(reading)![0];
    const rest = withoutRole(reading);
    const name = rest === "plain" ? whose(role) : `${whose(role)}, ${rest}`;
    return { name, perSeed: perSeed[reading], questions: questions[reading] ?? {} };
  });
}

/** Pixels first, then the untrained encoder, then each method: as tables of retrieval have them. */
function allRows({ baselines }: Collected, bases: readonly CollectedSetting[]): ReadRow[] {
  const roles: Readonly<Record<string, string>> = { pixels: "raw pixels", untrained: "untrained" };
  const shared = [...new Set(bases.map(({ baseline }) => baseline))];
  const beside = shared.flatMap((index) => {
    const base = bases.find(({ baseline }) => baseline === index)!;
    const whose = shared.length > 1 ? ` (beside ${METHOD_NAMES[base.method]})` : "";
    return rowsOf(baselines[index], (role) => `${roles[role] ?? role}${whose}`);
  });
  const pixels = beside.filter(({ name }) => name.startsWith(roles.pixels));
  const trained = bases.flatMap(({ method, measured }) => rowsOf(measured, () => METHOD_NAMES[method]));
  return [...pixels, ...beside.filter((row) => !pixels.includes(row)), ...trained];
}

/** Columns of a table of questions: their names in the file, and as they are written. */
function questionColumns(names: readonly string[]) {
  const within = MODALITIES.filter((modality) => names.includes(modality));
  const pairs = names.filter((name) => name.startsWith("pair "));
  const across = names.filter((name) => name.includes("→") && !pairs.includes(name));
  return [
    { title: "Recall@1 within each modality", names: within, columns: within },
    { title: "Recall@1 across modalities, by the shared label", names: across, columns: across },
    {
      title: "Recall@K of exact pairs: the same patient in the other modality",
      names: pairs,
      columns: pairs.map((name) => name.replace(/^pair (.*), (\d+)$/, "$1 @$2")),
    },
  ].filter((group) => group.names.length > 0);
}

/**
 * The bases of a sweep in every reading: over the outcomes, question by question (where the file has them), and each less the
 * untrained encoder and raw pixels that are read alike. Empty where the sweep has no base.
 */
export function readingTables(collected: Collected): ReadingTable[] {
  const { settings, outcomes, effects, seeds, data, chances = {}, rounds } = collected;
  const bases = settings.filter(({ isBase }) => isBase);
  if (bases.length === 0) return [];
  const rows = allRows(collected, bases);
  const one = seeds.length === 1;
  const where = `${data.name}, seed${one ? "" : "s"} ${seeds.join(", ")}`;
  const steps = bases.map(({ method, steps }) => `${METHOD_NAMES[method]} ${steps.toLocaleString("en-US")}`).join(", ");
  const about =
    `${where}; steps: ${steps}. ${one ? "One seed: nothing is known of another" : "Mean over seeds [Student's 95 % interval over seeds, cut at 0 and 1]"}; ` +
    "whitened: PCA of the training split, no labels; centred: each modality less its mean, so the query's modality is known.";
  const counts = outcomes.map(({ name, words, queries }) => `${name}: ${words}, ${queries} queries a seed`).join("; ");
  const values: ReadingTable = {
    title: "Every reading",
    markdown: markdownTable(
      ["read as", ...outcomes.map(({ name }) => name)],
      [
        ["chance", ...outcomes.map(({ chance }) => chance.toFixed(3))],
        ...rows.map(({ name, perSeed }) => [name, ...outcomes.map((outcome) => seedWords(perSeed[outcome.name]))]),
      ],
      `${counts}; ${about}`,
    ),
  };
  const asked = questionColumns(Object.keys(chances)).map(({ title, names, columns }): ReadingTable => ({
    title,
    markdown: markdownTable(
      ["read as", ...columns],
      [
        ["chance", ...names.map((name) => chances[name].toFixed(3))],
        ...rows.map(({ name, questions }) => [name, ...names.map((question) => seedWords(questions[question]))]),
      ],
      `${title}; ${about}`,
    ),
  }));
  const differences = (["untrained", "pixels"] as const).map((against): ReadingTable => ({
    title: `Every reading less ${AGAINST[against]}`,
    markdown: markdownTable(
      ["read as", ...outcomes.map(({ name }) => name)],
      bases.flatMap(({ setting, method, measured }) =>
        Object.keys(measured.values).map((reading) => {
          const own = effects.filter((e) => e.setting === setting && e.against === against && e.reading === reading);
          const cell = (name: string) => own.find(({ outcome }) => outcome === name);
          return [
            `${METHOD_NAMES[method]}, ${withoutRole(reading)}`,
            ...outcomes.map(({ name }) => (cell(name) ? effectWords(cell(name)!) : "–")),
          ];
        }),
      ),
      `Difference from ${AGAINST[against]} [95 % bootstrap interval over patients, paired, ${rounds} rounds]` +
        `${one ? "" : "; seeds: Student's 95 % interval over seeds"}; ↑ ↓: 0 is outside of every interval; many cells, so some arrows ` +
        `are expected by chance; ${where}.`,
    ),
  }));
  return [values, ...asked, ...differences];
}

/** The same as one text, a heading for each table. */
export function readingsMarkdown(collected: Collected): string {
  return readingTables(collected)
    .map(({ title, markdown }) => `### ${title}\n\n${markdown}\n`)
    .join("\n");
}

/**
 * What being allowed MRI was worth: each method that the sweep has a ceiling of, as it is judged, beside its ceiling, chance, raw
 * pixels and the untrained encoder, on what is asked of MRI. "" where the sweep has no ceiling.
 */
export function ceilingMarkdown(collected: Collected): string {
  const { settings, outcomes, primary, seeds, data } = collected;
  const asked = outcomes.filter(({ name }) => name.startsWith("mri"));
  const ceilings = settings.filter(({ role }) => role === "ceiling");
  const methods = [...new Set(ceilings.map(({ method }) => method))];
  const own = settings.filter(({ method, isBase, role }) => methods.includes(method) && (isBase || role === "ceiling"));
  if (asked.length === 0 || ceilings.length === 0) return "";
  const row = (name: string, perSeed: Readonly<Record<string, readonly number[]>>) => [
    name,
    ...asked.map((outcome) => seedWords(perSeed[outcome.name])),
  ];
  const rows = own.flatMap(({ method, label, role, isBase, measured, baseline }) => {
    const reading = primary[method];
    const { perSeed } = collected.baselines[baseline];
    const [name, twin] = [`${METHOD_NAMES[method]}, ${withoutRole(reading)}`, untrained(reading)];
    const beside = [pixels(reading), twin].map((one) => row(one, perSeed[one]));
    return [...(isBase ? beside : []), row(isBase ? name : `${name}: ${label}`, measured.perSeed[as(reading, role)])];
  });
  const gains = mainEffects(collected, "base").filter(({ setting }) => ceilings.some((one) => one.setting === setting));
  const gained = asked.map(({ name }) => {
    const words = gains.filter(({ outcome }) => outcome === name).map(effectWords);
    return `${name} ${words.join("; ")}`;
  });
  return markdownTable(
    ["read as", ...asked.map(({ name }) => name)],
    [["chance", ...asked.map(({ chance }) => chance.toFixed(3))], ...rows],
    `${asked.map(({ name, words, queries }) => `${name}: ${words}, ${queries} queries a seed`).join("; ")}; ${data.name}, seeds ` +
      `${seeds.join(", ")}: mean [Student's 95 % interval over seeds, cut at 0 and 1]. The ceiling less its method: ${gained.join(", ")} ` +
      "[95 % over patients, paired].",
  );
}
