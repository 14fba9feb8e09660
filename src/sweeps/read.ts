/** Collected sweeps, read back: as figures, tables and laws. */
import { existsSync } from "node:fs";
import type { DataFrame } from "danfojs-node";
import type { Figure } from "../analysis/figures.js";
import { fitPowerLaw, type PowerLaw, type ScalingPoint } from "../analysis/powerLaw.js";
import { effectsFigure, scalingFigure, type ScalingSeries } from "../analysis/sweepFigures.js";
import { readBytes } from "../files.js";
import { Random } from "../random.js";
import { METHOD_NAMES } from "../run.js";
import { InputError } from "../types.js";
import type { Collected, CollectedSetting, Effect } from "./collect.js";
import { effectWords, mainEffects, verdictOf } from "./collectedTables.js";
import { describe } from "./variant.js";

/** What `m3ret sweep --collect` wrote, or null where it has not been run. */
export function readCollected(path: string): Collected | null {
  if (!existsSync(path)) return null;
  try {
    const read = JSON.parse(Buffer.from(readBytes(path)).toString("utf8")) as Collected;
    if (Array.isArray(read.settings) && Array.isArray(read.effects)) return read;
  } catch {
    // Said below, in one line for both ways to be wrong.
  }
  throw new InputError(`${path}: expected what m3ret sweep --collect writes, got other JSON`);
}

/** Where numbers come from, for readers: command, machine, dates, commit. */
export function provenance(collected: Collected): string {
  const { command, machines, engines, finished, commits, dirty, seeds, missing, seconds } = collected;
  const day = (time: string) => time.slice(0, 10);
  const days =
    day(finished.first) === day(finished.last) ? day(finished.last) : `${day(finished.first)} to ${day(finished.last)}`;
  const runs = collected.settings.reduce((sum, setting) => sum + setting.seeds.length, 0);
  return (
    [
      `Made by \`${command}\` on ${days}: ${runs} runs, ${Math.round(seconds / 60)} minutes in all, seed${seeds.length === 1 ? "" : "s"} ${seeds.join(", ")}`,
      `machine: ${machines.join("; ")}; engine: ${engines.join("; ")}`,
      `commit ${commits.map((commit) => commit.slice(0, 12)).join(", ")}${dirty ? " with changes" : ""}`,
      ...(missing.length > 0 ? [`not there: ${missing.join(", ")}`] : []),
    ].join(". ") + "."
  );
}

/** What to say where a sweep has not been run. */
export function absentSweep(name: string): string {
  return (
    `**figures/sweeps/${name}.json is not there, so nothing is shown here.** These two commands make it:\n\n` +
    `    npx m3ret sweep recipes/sweeps/${name}.yaml --out runs/sweeps/${name}\n` +
    `    npx m3ret sweep recipes/sweeps/${name}.yaml --out runs/sweeps/${name} --collect figures/sweeps/${name}.json\n`
  );
}

/** One sentence a method: what went up, what went down, and how many changes say nothing. */
export function effectsWords(collected: Collected, against: Effect["against"], outcome: string): string {
  const labels = new Map(collected.settings.map(({ setting, label }) => [setting, label]));
  const effects = mainEffects(collected, against).filter((effect) => effect.outcome === outcome);
  const methods = [...new Set(effects.map(({ method }) => method))];
  const lines = methods.map((method) => {
    const own = effects.filter((effect) => effect.method === method);
    const of = (verdict: string) =>
      own
        .filter((effect) => verdictOf(effect) === verdict)
        .map((effect) => `${labels.get(effect.setting)!} (${effectWords(effect).replace(/ [↑↓]$/, "")})`);
    const [up, down] = [of("up"), of("down")];
    const unclear = own.length - up.length - down.length;
    const said = (what: string, list: readonly string[]) => (list.length > 0 ? [`${what}: ${list.join("; ")}`] : []);
    return `* ${METHOD_NAMES[method]}: ${[...said("up", up), ...said("down", down), `unclear: ${unclear} of ${own.length}`].join(". ")}.`;
  });
  return lines.join("\n");
}

/** What grows in a scaling figure. */
export type Grows = "patients" | "parameters";

export interface ScalingQuestion {
  readonly grows: Grows;
  /** Such as "within": the error is 1 minus it. */
  readonly outcome: string;
  /** Default: how the method is read in tables. */
  readonly reading?: string;
  readonly offset?: boolean;
}

/**
 * Points of a sweep over encoder and share of the data, a series for each value of what does not grow, and their laws. Every
 * seed is a point of its own; an error of exactly 0 has no logarithm and is left out.
 */
export function scalingSeries(collected: Collected, question: ScalingQuestion): ScalingSeries[] {
  const { grows, outcome, offset } = question;
  const series = new Map<string, ScalingPoint[]>();
  for (const setting of collected.settings) {
    const reading = question.reading ?? collected.primary[setting.method];
    const values = setting.measured.perSeed[reading]?.[outcome];
    if (!values)
      throw new InputError(`${collected.name}: ${setting.setting} was not read as "${reading}" for ${outcome}`);
    const name = grows === "patients" ? sizeName(setting) : `${setting.patients} patients`;
    const points = values.map((value) => ({ n: setting[grows], error: 1 - value })).filter(({ error }) => error > 0);
    series.set(name, [...(series.get(name) ?? []), ...points]);
  }
  const random = new Random(collected.seeds[0]).fork(`scaling ${grows} ${outcome}`);
  return [...series].map(([name, points]) => ({
    name,
    points,
    law: fitted(points, { offset, random: random.fork(name) }),
  }));
}

const sizeName = ({ changes, parameters }: CollectedSetting): string => {
  const words = changes.encoder === undefined ? "encoder of the preset" : describe("encoder", changes.encoder);
  return `${words.replace("encoder ", "")} (${(parameters / 1e6).toPrecision(2)} M)`;
};

/** Null where there are too few points or sizes for a law; anything else that is wrong is thrown. */
function fitted(points: readonly ScalingPoint[], options: { offset?: boolean; random: Random }): PowerLaw | null {
  const parameters = options.offset ? 3 : 2;
  const enough = new Set(points.map(({ n }) => n)).size >= parameters && points.length > parameters;
  return enough ? fitPowerLaw(points, options) : null;
}

export function scalingFigureOf(collected: Collected, question: ScalingQuestion): Figure {
  const { grows, outcome } = question;
  const { words, queries } = outcomeOf(collected, outcome);
  return scalingFigure(scalingSeries(collected, question), {
    ...{ dataSet: collected.data.name, seed: collected.seeds[0], queries },
    x: grows === "patients" ? "training patients" : "parameters of the encoder",
    y: `1 − ${words.split(",")[0]}`,
    ...{ name: `scaling-${grows}`, title: `Error against ${grows}` },
  });
}

function outcomeOf(collected: Collected, name: string) {
  const found = collected.outcomes.find((outcome) => outcome.name === name);
  if (found) return found;
  throw new InputError(
    `${collected.name}: no outcome "${name}"; there are ${collected.outcomes.map((o) => o.name).join(", ")}`,
  );
}

/** Effects on one outcome, each method by its primary reading, as a figure. */
export function effectsFigureOf(collected: Collected, against: Effect["against"], outcome: string): Figure {
  const { words, queries } = outcomeOf(collected, outcome);
  const labels = new Map(collected.settings.map(({ setting, label }) => [setting, label]));
  const rows = mainEffects(collected, against)
    .filter((effect) => effect.outcome === outcome)
    .map(({ setting, method, difference, low, high }) => ({
      ...{ label: labels.get(setting)!, method: METHOD_NAMES[method], difference, low, high },
    }));
  return effectsFigure(rows, {
    ...{ metric: words.split(",")[0], queries, seeds: collected.seeds.length },
    against: { base: "the base of the method", untrained: "the untrained encoder", pixels: "raw pixels" }[against],
    ...{
      dataSet: collected.data.name,
      seed: collected.seeds[0],
      name: `${collected.name}-${outcome.replaceAll(" ", "-")}`,
    },
  });
}

/** Effects as a danfojs data frame, each method by its primary reading: a row for each setting and outcome, or for one outcome. */
export async function effectsFrame(
  collected: Collected,
  against: Effect["against"],
  outcome?: string,
): Promise<DataFrame> {
  const danfo = await import("danfojs-node");
  const labels = new Map(collected.settings.map(({ setting, label }) => [setting, label]));
  const own = mainEffects(collected, against).filter((effect) => outcome === undefined || effect.outcome === outcome);
  const rows = own.map((effect) => ({
    method: METHOD_NAMES[effect.method],
    setting: labels.get(effect.setting)!,
    ...{ outcome: effect.outcome, difference: effect.difference, low: effect.low, high: effect.high },
    ...{ seeds: effect.perSeed.length, verdict: verdictOf(effect) },
  }));
  return new danfo.DataFrame(rows);
}
