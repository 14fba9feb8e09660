/** What the points of a sweep have measured, as one small file: values, and effects against the base and the untrained encoder. */
import { PRIMARY } from "../claims.js";
import { METHOD_NAMES } from "../run.js";
import type { Method } from "../trainers/objective.js";
import { InputError } from "../types.js";
import {
  chanceOf,
  contrast,
  directionsOf,
  summariesOf,
  summaryWords,
  type Contrast,
  type Outcome,
} from "./outcomes.js";
import { mixedAgainstSingle, type MixedRow } from "./mixed.js";
import type { PointResult } from "./point.js";
import { readingName } from "./ranks.js";
import type { Sweep } from "./sweepFile.js";
import { as, pixels, rounded, tripled, untrained, type Triple } from "./values.js";
import type { Overrides } from "./variant.js";

export interface CollectedSetting {
  readonly setting: string;
  readonly label: string;
  readonly method: Method;
  readonly isBase: boolean;
  readonly changes: Overrides;
  readonly parameters: number;
  /** What it was trained on: patients and samples, of the first seed. */
  readonly patients: number;
  readonly samples: number;
  readonly steps: number;
  readonly batchSize: number;
  readonly seeds: readonly {
    readonly seed: number;
    readonly seconds: number;
    readonly lastLoss: number;
    readonly warnings: number;
    readonly dataHash: string;
  }[];
  /** How its readings are named: a ceiling saw MRI, and is nobody's trained encoder. */
  readonly role: "trained" | "ceiling";
  readonly measured: Measured;
  /** Which of `baselines` stands beside it. */
  readonly baseline: number;
}

/** Values of several readings. */
export interface Measured {
  /** Reading to summary to value with interval, mean over seeds. */
  readonly values: Readonly<Record<string, Readonly<Record<string, Triple>>>>;
  /** Reading to summary to one value a seed. */
  readonly perSeed: Readonly<Record<string, Readonly<Record<string, readonly number[]>>>>;
  /** Reading to question (`directionsOf`) to one value a seed. Files of before have none. */
  readonly questions?: Readonly<Record<string, Readonly<Record<string, readonly number[]>>>>;
}

/** A difference in a summary between a setting and what it is compared with, read alike. */
export interface Effect {
  readonly setting: string;
  readonly method: Method;
  readonly against: "base" | "untrained" | "pixels";
  /** How the setting was read. */
  readonly reading: string;
  readonly outcome: string;
  readonly difference: number;
  /** Over patients, paired, for these seeds. */
  readonly low: number;
  readonly high: number;
  readonly perSeed: readonly number[];
  /** Over seeds; null for one seed. */
  readonly overSeeds: readonly [low: number, high: number] | null;
}

/** figures/sweeps/NAME.json. */
export interface Collected {
  readonly name: string;
  readonly title: string;
  readonly about: string;
  /** What made it. */
  readonly command: string;
  readonly preset: string;
  readonly data: {
    readonly name: string;
    readonly title: string;
    readonly label: string;
    readonly crossModalLabel: string;
  };
  readonly seeds: readonly number[];
  /** Rounds of every bootstrap, whose intervals are at 95 %. */
  readonly rounds: number;
  readonly commits: readonly string[];
  readonly dirty: boolean;
  readonly versions: Readonly<Record<string, string>>;
  readonly engines: readonly string[];
  readonly machines: readonly string[];
  readonly finished: { readonly first: string; readonly last: string };
  readonly seconds: number;
  readonly missing: readonly string[];
  readonly outcomes: readonly {
    readonly name: string;
    readonly words: string;
    readonly k: number;
    readonly chance: number;
    readonly queries: number;
    readonly patients: number;
  }[];
  /** How each method is read in tables: see `PRIMARY`. */
  readonly primary: Readonly<Record<Method, string>>;
  readonly settings: readonly CollectedSetting[];
  /** Question (`directionsOf`) to what a random order would score. Files of before have none. */
  readonly chances?: Readonly<Record<string, number>>;
  /** The untrained encoder and raw pixels, at the same seeds; one entry for all settings that share them. */
  readonly baselines: readonly Measured[];
  readonly effects: readonly Effect[];
  /** Each method trained on all modalities against itself on one alone; empty where no point is. Files of before have none. */
  readonly mixed?: readonly MixedRow[];
}

/** How a method is read in tables: MAE by "trained, mean, whitened", SimDINO by "trained, cls". */
export function primaryReading(method: Method): string {
  return PRIMARY[METHOD_NAMES[method]].replace(/^[^,]+/, "trained").toLowerCase();
}

export interface CollectOptions {
  /** Rounds of each bootstrap. */
  readonly rounds?: number;
}

/** Puts results together; points that are not there yet are named in `missing`, and their settings have fewer seeds. */
export function collect(
  sweep: Sweep,
  results: readonly PointResult[],
  { rounds = 1000 }: CollectOptions = {},
): Collected {
  if (results.length === 0) throw new InputError(`${sweep.name}: expected at least one point that is done, got none`);
  const [first] = results;
  const outcomes = summariesOf(first);
  const options = { rounds, seed: sweep.seeds[0] };
  const settings = grouped(results);
  const times = results.map(({ finished }) => finished).sort();
  const readings = (role: string) => readingsOf(first, role);
  const valueOf = (own: readonly PointResult[], reading: string, outcome: Outcome) =>
    contrast(
      own.map((result) => ({ a: { result, reading } })),
      outcome,
      options,
    );
  const baselines: Measured[] = [];
  const known = new Map<string, number>();
  const baselineOf = (own: readonly PointResult[]): number => {
    const measured = measure(own, [...readings("untrained"), ...readings("pixels")], outcomes, options);
    const text = JSON.stringify(measured);
    if (!known.has(text)) known.set(text, baselines.push(measured) - 1);
    return known.get(text)!;
  };

  const collected = [...settings.values()].map((own): CollectedSetting => {
    const [{ setting, label, isBase, variant, parameters, training }] = own;
    const changes = sweep.points.find((point) => point.setting === setting)?.changes ?? {};
    const { steps, batchSize, samples, patients } = training;
    return {
      ...{ setting, label, method: variant.method, isBase, changes, parameters, patients, samples, steps, batchSize },
      seeds: own.map(({ variant, seconds, training, data }) => ({
        ...{ seed: variant.seed, seconds: Number(seconds.toFixed(1)), lastLoss: rounded(training.lastLoss) },
        ...{ warnings: training.warnings, dataHash: data.hash.slice(0, 16) },
      })),
      role: roleOf(own[0]),
      measured: measure(own, readingsOf(own[0], roleOf(own[0])), outcomes, options),
      baseline: baselineOf(own),
    };
  });

  const command = `m3ret sweep ${sweep.file.replace(/^.*?(recipes\/)/, "$1")} --out DIR, and --collect`;
  return {
    ...{ name: sweep.name, title: sweep.title, about: sweep.about, command, preset: sweep.preset },
    data: {
      ...{ name: first.data.name, title: first.data.title },
      ...{ label: first.data.label, crossModalLabel: first.data.crossModalLabel },
    },
    seeds: [...new Set(results.map(({ variant }) => variant.seed))],
    rounds,
    commits: unique(results.map(({ commit }) => commit ?? "unknown")),
    dirty: results.some(({ dirty }) => dirty !== false),
    versions: first.versions,
    engines: unique(results.map(({ engine }) => engine)),
    machines: unique(results.map(({ machine }) => `${machine.cpu}, ${machine.cores} cores, Node ${machine.node}`)),
    finished: { first: times[0], last: times[times.length - 1] },
    seconds: Math.round(results.reduce((sum, { seconds }) => sum + seconds, 0)),
    missing: sweep.points.filter(({ id }) => !results.some((result) => result.id === id)).map(({ id }) => id),
    outcomes: outcomes.map((outcome) => {
      const { queries, patients } = valueOf([first], readings("pixels")[0], outcome);
      const { name, k } = outcome;
      return { name, words: summaryWords(outcome), k, chance: rounded(chanceOf(first, outcome)), queries, patients };
    }),
    primary: { mae: primaryReading("mae"), simdino: primaryReading("simdino") },
    settings: collected,
    chances: Object.fromEntries(
      directionsOf(first).map((outcome) => [outcome.name, rounded(chanceOf(first, outcome))] as const),
    ),
    baselines,
    effects: effectsOf(settings, outcomes, options),
    mixed: mixedAgainstSingle(results, { ...options, reading: primaryReading }),
  };
}

/** Values of one setting's results, at all of its seeds. */
function measure(
  own: readonly PointResult[],
  readings: readonly string[],
  outcomes: readonly Outcome[],
  options: { rounds: number; seed: number },
): Measured {
  const byReading = <T>(of: readonly Outcome[], value: (reading: string, outcome: Outcome) => T) =>
    Object.fromEntries(
      readings.map((reading) => [
        reading,
        Object.fromEntries(of.map((outcome) => [outcome.name, value(reading, outcome)] as const)),
      ]),
    );
  const of = (reading: string, outcome: Outcome, rounds: number) =>
    contrast(
      own.map((result) => ({ a: { result, reading } })),
      outcome,
      { ...options, rounds },
    );
  const measured = byReading(outcomes, (reading, outcome) => of(reading, outcome, options.rounds));
  const map = <T>(value: (contrast: Contrast) => T) =>
    Object.fromEntries(
      Object.entries(measured).map(([reading, byOutcome]) => [
        reading,
        Object.fromEntries(Object.entries(byOutcome).map(([name, one]) => [name, value(one)])),
      ]),
    );
  return {
    values: map(tripled),
    perSeed: map(({ perSeed }) => perSeed.map(rounded)),
    questions: byReading(directionsOf(own[0]), (reading, outcome) => of(reading, outcome, 1).perSeed.map(rounded)),
  };
}

const unique = (values: readonly string[]): string[] => [...new Set(values)];

/** Results of one setting together, in the order of the points. */
function grouped(results: readonly PointResult[]): Map<string, PointResult[]> {
  const settings = new Map<string, PointResult[]>();
  for (const result of results) settings.set(result.setting, [...(settings.get(result.setting) ?? []), result]);
  return settings;
}

const roleOf = ({ variant }: PointResult) => (variant.ceiling ? "ceiling" : "trained");

function readingsOf({ ranked }: PointResult, role: string): readonly string[] {
  return [...new Set(ranked.rows.filter((row) => row.role === role).map(readingName))];
}

export const KINDS = ["base", "untrained", "pixels"] as const;

/** Every setting against the base of its method at the same seeds, and against its own untrained encoder and raw pixels. */
function effectsOf(
  settings: ReadonlyMap<string, readonly PointResult[]>,
  outcomes: readonly Outcome[],
  options: { rounds: number; seed: number },
): Effect[] {
  const effects: Effect[] = [];
  for (const own of settings.values()) {
    const [{ setting, variant, isBase }] = own;
    const base = [...settings.values()].find(([one]) => one.isBase && one.variant.method === variant.method);
    const twins = own.flatMap((result) => {
      const twin = base?.find((one) => one.variant.seed === result.variant.seed);
      return twin && !isBase ? [{ result, twin }] : [];
    });
    for (const reading of readingsOf(own[0], roleOf(own[0]))) {
      // What is far from every claim is left out, so that the file stays small: other readings of what is not the base.
      const asked =
        isBase || reading === as(primaryReading(variant.method), roleOf(own[0])) ? KINDS : (["base"] as const);
      const sides = {
        base: twins.map(({ result, twin }) => ({
          a: { result, reading },
          b: { result: twin, reading: as(reading, "trained") },
        })),
        untrained: own.map((result) => {
          return { a: { result, reading }, b: { result, reading: untrained(reading) } };
        }),
        pixels: own.map((result) => ({ a: { result, reading }, b: { result, reading: pixels(reading) } })),
      } as const;
      for (const against of asked) {
        if (sides[against].length === 0) continue;
        for (const outcome of outcomes) {
          const { value, low, high, perSeed, overSeeds } = contrast(sides[against], outcome, options);
          effects.push({
            ...{ setting, method: variant.method, against, reading, outcome: outcome.name },
            ...{ difference: rounded(value), low: rounded(low), high: rounded(high), perSeed: perSeed.map(rounded) },
            overSeeds: overSeeds && [rounded(overSeeds.low), rounded(overSeeds.high)],
          });
        }
      }
    }
  }
  return effects;
}
