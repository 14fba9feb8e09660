/** The house has one direction: a file imports from its own folder, from folders to its left, or from the shared nouns. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const src = fileURLToPath(new URL("../src", import.meta.url));

/** Stations in the order in which data flows. `embeddings` is a file at the root, and a station all the same. */
const STATIONS = ["datasets", "transforms", "encoder", "trainers", "embeddings", "retrieval", "analysis"];
/** What anyone may import: nouns, chance, files, progress; and the engine, which knows no data. */
const SHARED = ["types", "random", "files", "progress", "interrupt", "npz", "npy", "zip"];
/** What joins the stations, and may import all of them. */
const FRONT = [
  "index",
  "appraise",
  "appraiseWorker",
  "baselines",
  "presets",
  "experiment",
  "external",
  "judge",
  "mixed",
  "reproduce",
  "notebookRunner",
  "cli",
  "commands",
  "claims",
  "run",
  "growth",
  "ceiling",
  "measures",
  "story",
  "streamed",
  "record",
  "runRecord",
  "runs",
  "sweeps",
];

interface Import {
  readonly from: string;
  readonly to: string;
}

/** The first folder of a path below src, or the file's name without its ending. */
const station = (path: string) =>
  relative(src, path)
    .split("/")[0]
    .replace(/\.(ts|js)$/, "");

const files = readdirSync(src, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".ts"));
const imports: Import[] = files.flatMap((name) => {
  const path = join(src, name);
  const found = readFileSync(path, "utf8").matchAll(/(?:from|import\()\s*"(\.[^"]+)"/g);
  return [...found].map(([, target]) => ({ from: path, to: resolve(dirname(path), target) }));
});

function allowed({ from, to }: Import): boolean {
  const [a, b] = [station(from), station(to)];
  if (a === b || SHARED.includes(b) || FRONT.includes(a)) return !FRONT.includes(b) || FRONT.includes(a);
  if (a === "engine" || SHARED.includes(a)) return false;
  return b === "engine" || (STATIONS.includes(b) && STATIONS.indexOf(b) < STATIONS.indexOf(a));
}

test("imports point upstream", () => {
  expect(imports.length).toBeGreaterThan(50);
  const wrong = imports.filter((one) => !allowed(one));
  expect(wrong.map(({ from, to }) => `${relative(src, from)} imports ${relative(src, to)}`)).toEqual([]);
});

test("every file and folder of src is a station, a shared noun, the engine or the front", () => {
  const known = [...STATIONS, ...SHARED, ...FRONT, "engine"];
  expect([...new Set(files.map((name) => station(join(src, name))))].filter((name) => !known.includes(name))).toEqual(
    [],
  );
});

test("the rule itself refuses an import downstream", () => {
  const at = (path: string) => join(src, path);
  expect(allowed({ from: at("datasets/image.ts"), to: at("encoder/vit.js") })).toBe(false);
  expect(allowed({ from: at("engine/ops.ts"), to: at("trainers/mae.js") })).toBe(false);
  expect(allowed({ from: at("trainers/mae.ts"), to: at("experiment.js") })).toBe(false);
  expect(allowed({ from: at("trainers/mae.ts"), to: at("transforms/views.js") })).toBe(true);
});

test("no library module awaits at its top level, because tslab loads them with require", () => {
  const awaiting = files.filter((name) =>
    /^(?:export )?(?:const .*= )?await /m.test(readFileSync(join(src, name), "utf8")),
  );
  expect(awaiting).toEqual([]);
});

test("nobody uses chance that a seed does not govern", () => {
  const random = files.filter((name) => /Math\.random\(/.test(readFileSync(join(src, name), "utf8")));
  expect(random).toEqual([]);
});
