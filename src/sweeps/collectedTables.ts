/** What a sweep has collected, in words: tables of values and effects, and every effect in a line. */
import { METHOD_NAMES } from "../run.js";
import type { Method } from "../trainers/objective.js";
import { KINDS, type Collected, type Effect } from "./collect.js";
import { as, pixels, signed, tripleWords, untrained } from "./values.js";

/**
 * What an effect says: "up" or "down" where 0 is outside of its interval over patients, and over seeds where there are
 * three or more; otherwise "unclear".
 */
export function verdictOf({ low, high, overSeeds, perSeed }: Effect): "up" | "down" | "unclear" {
  const intervals = [[low, high], ...(overSeeds && perSeed.length >= 3 ? [overSeeds] : [])];
  if (intervals.every(([from]) => from > 0)) return "up";
  return intervals.every(([, to]) => to < 0) ? "down" : "unclear";
}

/** `+0.021 [−0.004, +0.046]`, and over seeds `; seeds [−0.03, +0.07]` where there are some. */
export function effectWords(effect: Effect): string {
  const { difference, low, high, overSeeds } = effect;
  const seeds = overSeeds ? `; seeds [${overSeeds.map(signed).join(", ")}]` : "";
  const mark = { up: " ↑", down: " ↓", unclear: "" }[verdictOf(effect)];
  return `${signed(difference)} [${signed(low)}, ${signed(high)}]${seeds}${mark}`;
}

/** Effects of one kind, each method by its primary reading. */
export function mainEffects({ effects, settings, primary }: Collected, against: Effect["against"]): Effect[] {
  const readings = new Map(settings.map(({ setting, role, method }) => [setting, as(primary[method], role)]));
  return effects.filter((effect) => effect.against === against && effect.reading === readings.get(effect.setting));
}

/** Tables of values and of effects, each method by its primary reading. */
export function collectedMarkdown(collected: Collected): string {
  const { title, about, settings, outcomes, primary, seeds, missing } = collected;
  const names = outcomes.map(({ name }) => name);
  const table = (header: readonly string[], rows: readonly (readonly string[])[]) =>
    [header, ["---", ...header.slice(1).map(() => "---:")], ...rows]
      .map((cells) => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`)
      .join("\n");
  const values = settings.map(({ label, method, role, measured }) => [
    `${METHOD_NAMES[method]}: ${label}`,
    ...names.map((name) => tripleWords(measured.values[as(primary[method], role)][name])),
  ]);
  const [{ values: plain }] = collected.baselines;
  const methods = [...new Set(settings.map(({ method }) => method))];
  const read = [...new Set(methods.flatMap((m) => [untrained(primary[m]), pixels(primary[m])]))];
  const whose = collected.baselines.length > 1 ? ` (beside ${settings[0].label})` : "";
  const beside = read.map((reading) => [
    `${reading}${whose}`,
    ...names.map((name) => tripleWords(plain[reading][name])),
  ]);
  const chance = ["chance", ...outcomes.map((outcome) => outcome.chance.toFixed(3))];
  const effectRows = (against: Effect["against"]) => {
    const own = mainEffects(collected, against);
    return settings.flatMap(({ setting, label, method }) => {
      const of = own.filter((effect) => effect.setting === setting);
      if (of.length === 0) return [];
      const cells = names.map((name) => effectWords(of.find(({ outcome }) => outcome === name)!));
      return [[`${METHOD_NAMES[method]}: ${label}`, ...cells]];
    });
  };
  const legend = outcomes.map(
    ({ name, words, queries, patients }) => `*${name}*: ${words} (${queries} queries, ${patients} patients a seed)`,
  );
  const parts = [
    `## ${title}`,
    about,
    table(["setting", ...names], [chance, ...beside, ...values]),
    ...KINDS.flatMap((against) => {
      const rows = effectRows(against);
      return rows.length > 0 ? [`### Difference from ${AGAINST[against]}`, table(["setting", ...names], rows)] : [];
    }),
    `${legend.join("; ")}. Data: ${collected.data.name}; seed${seeds.length === 1 ? "" : "s"} ${seeds.join(", ")}; read as ` +
      `${Object.entries(primary)
        .map(([method, reading]) => `${METHOD_NAMES[method as Method]}: ${reading}`)
        .join("; ")}. ` +
      `[95 % bootstrap interval over patients, paired for differences, ${collected.rounds} rounds]; “seeds”: 95 % interval of the ` +
      "mean over seeds (Student's t). ↑ ↓: 0 is outside of both, the second asked from three seeds on. With one seed nothing is " +
      "known of what another seed would give. Many comparisons stand here: some arrows are expected by chance.",
    ...(missing.length > 0 ? [`Not there: ${missing.join(", ")}.`] : []),
  ];
  return parts.join("\n\n") + "\n";
}

/** What differences are from, in words. */
export const AGAINST: Readonly<Record<Effect["against"], string>> = {
  base: "the base of the method",
  untrained: "the untrained encoder, read alike",
  pixels: "raw pixels, treated alike",
};

/** Every effect, one a line (RFC 4180). */
export function collectedCsv({ effects, settings }: Collected): string {
  const labels = new Map(settings.map(({ setting, label }) => [setting, label]));
  const quote = (value: string | number) =>
    /[",\n]/.test(String(value)) ? `"${String(value).replaceAll('"', '""')}"` : String(value);
  const header = [
    "method",
    "setting",
    "label",
    "against",
    "reading",
    "outcome",
    "difference",
    "low",
    "high",
    "seeds",
    "seeds_low",
    "seeds_high",
    "verdict",
  ];
  const lines = effects.map((effect) => {
    const { method, setting, against, reading, outcome, difference, low, high, perSeed, overSeeds } = effect;
    const [seedsLow, seedsHigh] = overSeeds ?? ["", ""];
    return [
      method,
      setting,
      labels.get(setting)!,
      against,
      reading,
      outcome,
      difference,
      low,
      high,
      perSeed.length,
      seedsLow,
      seedsHigh,
      verdictOf(effect),
    ];
  });
  return [header, ...lines].map((cells) => cells.map(quote).join(",")).join("\n") + "\n";
}
