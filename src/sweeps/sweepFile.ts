/** A sweep: one file that lists points, each of which any process can run by its number. */
import { basename } from "node:path";
import { parseDocument } from "yaml";
import { z } from "zod";
import { readBytes } from "../files.js";
import { EXPERIMENTS, METHODS, presetOf } from "../presets.js";
import type { Method } from "../trainers/objective.js";
import { InputError } from "../types.js";
import {
  describeAll,
  methodsOf,
  OVERRIDE_NAMES,
  overridesSchema,
  resolveVariant,
  type Overrides,
  type Variant,
} from "./variant.js";

/** One point of a sweep. */
export interface SweepPoint {
  /** Its place in the list, from 0: what `--point` and a scheduler's array index name. */
  readonly index: number;
  /** A name for files: `mae-s7-maskratio-0.5`. */
  readonly id: string;
  /** The same without the seed: points of one setting differ by their seed alone. */
  readonly setting: string;
  /** For tables: the point's name in the file, or its overrides in words. */
  readonly label: string;
  /** Whether it is the base of its method: what others are compared with. */
  readonly isBase: boolean;
  /** What is other than in the base of its method. */
  readonly changes: Overrides;
  readonly variant: Variant;
}

export interface Sweep {
  /** The file's name without its ending. */
  readonly name: string;
  readonly file: string;
  readonly title: string;
  readonly about: string;
  readonly preset: string;
  readonly data: string;
  readonly seeds: readonly number[];
  readonly points: readonly SweepPoint[];
}

const text = z.string().min(1);
const methods = z.array(z.enum(METHODS as [Method, ...Method[]])).min(1);
const axes = Object.fromEntries(
  OVERRIDE_NAMES.map((name) => [name, z.array(overridesSchema.shape[name].unwrap()).min(1).optional()]),
);

const schema = z.strictObject({
  title: text,
  about: text,
  preset: z.enum(Object.keys(EXPERIMENTS) as [string, ...string[]]).default("default"),
  data: text.optional(),
  seeds: z.array(z.int().min(0)).min(1).default([7]),
  dataSeed: z.int().min(0).optional(),
  methods: methods.default([...METHODS]),
  base: overridesSchema.prefault({}),
  mae: overridesSchema.prefault({}),
  simdino: overridesSchema.prefault({}),
  withBase: z.boolean().default(true),
  grids: z.array(z.strictObject({ methods: methods.optional(), ...axes })).default([]),
  points: z.array(overridesSchema.extend({ name: text.optional(), methods: methods.optional() })).default([]),
});

/** A point before it is multiplied by methods and seeds. */
interface Wish {
  readonly name?: string;
  readonly methods?: readonly Method[];
  readonly changes: Overrides;
}

/** Every combination of the axes' values, the last axis fastest: `{a: [1, 2], b: [3]}` gives two. */
export function combinations<T>(axes: Readonly<Record<string, readonly T[]>>): Record<string, T>[] {
  return Object.entries(axes).reduce<Record<string, T>[]>(
    (made, [name, values]) => made.flatMap((one) => values.map((value) => ({ ...one, [name]: value }))),
    [{}],
  );
}

function slug(words: string): string {
  return words
    .toLowerCase()
    .replace(/[^a-z0-9.]+/g, "-")
    .replace(/^-+|-+$/g, "");
}

/**
 * Reads a sweep and lists its points, seed by seed, so that what is stopped early has whole seeds:
 *
 *     base of each method (unless withBase is false), then `points`, then each combination of `grids`
 *
 * A point is the base with its own overrides over it, for each of its methods: those it names, or all of the sweep's that
 * know its overrides. The base of a method is `base` with the overrides under the method's name over it.
 *
 * @throws InputError of one line that names the file and the key
 */
export function loadSweep(file: string): Sweep {
  return parseSweep(Buffer.from(readBytes(file)).toString("utf8"), file);
}

/** As `loadSweep`, from text that has been read; `file` is what errors name. */
export function parseSweep(yaml: string, file: string): Sweep {
  const document = parseDocument(yaml, { logLevel: "error" });
  const [broken] = document.errors;
  if (broken !== undefined) throw new InputError(`${file}: ${broken.message.split("\n")[0].replace(/:$/, "")}`);
  const parsed = schema.safeParse(document.toJS());
  if (!parsed.success) {
    const [{ path, message }] = parsed.error.issues;
    throw new InputError(`${file}: ${path.length > 0 ? `${path.join(".")}: ` : ""}${message.split("\n")[0]}`);
  }
  const { title, about, preset, seeds, base, mae, simdino, grids, ...rest } = parsed.data;
  const data = rest.data ?? presetOf(preset).data;
  const bases = {
    mae: { ...onlyFor("mae", base), ...mae },
    simdino: { ...onlyFor("simdino", base), ...simdino },
  } as Readonly<Record<Method, Overrides>>;

  const wishes: Wish[] = [
    ...(rest.withBase ? [{ changes: {} }] : []),
    ...rest.points.map(({ name, methods, ...changes }) => ({ name, methods, changes })),
    ...grids.flatMap(({ methods, ...axes }) =>
      combinations(axes as Record<string, readonly unknown[]>).map((changes): Wish => ({ methods, changes })),
    ),
  ];
  const points: SweepPoint[] = [];
  for (const seed of seeds) {
    for (const { name, methods, changes } of wishes) {
      const able = methods ?? rest.methods.filter((method) => methodsOf(changes).includes(method));
      if (able.length === 0) throw new InputError(`${file}: ${describeAll(changes)}: none of its methods knows this`);
      for (const method of able) {
        const label = name ?? describeAll(changes);
        const isBase = Object.keys(changes).length === 0;
        const setting = isBase ? method : `${method}-${slug(label)}`;
        const id = isBase ? `${method}-s${seed}` : `${method}-s${seed}-${slug(label)}`;
        const { dataSeed } = rest;
        const seeded = { method, preset, data, seed, ...(dataSeed === undefined ? {} : { dataSeed }) };
        const variant: Variant = { ...seeded, ...bases[method], ...changes };
        if (points.some((point) => point.id === id)) throw new InputError(`${file}: two points are called ${id}`);
        points.push({ index: points.length, id, setting, label, isBase, changes, variant });
      }
    }
  }
  for (const { id, variant } of points) named(`${file}: ${id}`, () => resolveVariant(variant));
  if (points.length === 0) throw new InputError(`${file}: expected at least one point, got none`);
  const sweepName = basename(file).replace(/\.ya?ml$/, "");
  return { name: sweepName, file, title, about, preset, data, seeds, points };
}

/** Overrides of the common base that the method knows: `maskRatio` there is for MAE, and SimDINO does not see it. */
function onlyFor(method: Method, base: Overrides): Overrides {
  const known = Object.entries(base).filter(([name, value]) => methodsOf({ [name]: value }).includes(method));
  return Object.fromEntries(known);
}

function named<T>(name: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw error instanceof InputError ? new InputError(`${name}: ${error.message}`) : error;
  }
}

/** The point of that number or id. */
export function pointOf(sweep: Sweep, which: string): SweepPoint {
  const found = sweep.points.find(({ id, index }) => which === id || which === String(index));
  if (found) return found;
  throw new InputError(
    `--point ${which}: expected 0 to ${sweep.points.length - 1}, or an id that m3ret sweep ${sweep.file} --list shows`,
  );
}

/**
 * The K-th of N parts of the points, counted from 0: every N-th point, so that seeds and sizes are spread over the parts.
 */
export function shardOf(points: readonly SweepPoint[], shard: { index: number; of: number }): SweepPoint[] {
  return points.filter(({ index }) => index % shard.of === shard.index);
}
