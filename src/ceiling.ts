/** Ceilings beside a run: encoders that were allowed MRI, made with the run's own settings, or found among a sweep's points. */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { PRIMARY } from "./claims.js";
import { loadEmbeddings, type EmbeddingSet } from "./embeddings.js";
import { startEngine } from "./engine/engine.js";
import { embedEvaluation, loadData, pretrainMethod, saveAll, type NamedEmbeddings } from "./experiment.js";
import { METHOD_NAMES, METHODS, presetOf } from "./presets.js";
import { runFolder, type RunOptions } from "./run.js";
import { CEILING } from "./types.js";

const nameOf = ({ meta }: EmbeddingSet): string =>
  `${meta.encoder}, ${meta.pooling === "cls" ? "CLS" : "mean"}${meta.whitened === undefined ? "" : ", whitened"}`;

/** What a ceiling's row would be called if it were a result: "MAE (ceiling: saw MRI), mean" is "MAE, mean". */
const without = (name: string): string => name.replace(` (${CEILING})`, "");

/**
 * Ceilings that were kept: those of the run itself, then those in any of these folders (a sweep's `--out`), each method as it is
 * judged (`PRIMARY`), one of each. Only vectors of the very rows that the run was judged on are taken, in the same order.
 *
 * @param beside the run's own embeddings
 */
export function storedCeilings(
  options: RunOptions,
  beside: readonly NamedEmbeddings[],
  folders: readonly string[] = [],
): NamedEmbeddings[] {
  const files = [join(runFolder(options), "ceiling"), ...folders].flatMap((folder) =>
    existsSync(folder)
      ? readdirSync(folder, { recursive: true, encoding: "utf8" })
          .filter((name) => /ceiling.*\.npz$/.test(name))
          .sort()
          .map((name) => join(folder, name))
      : [],
  );
  const rows = beside[0].set.ids.join();
  const found = new Map<string, NamedEmbeddings>();
  for (const file of files) {
    const set = loadEmbeddings(file);
    const name = nameOf(set);
    const judged = Object.values(PRIMARY).includes(without(name));
    if (set.meta.ceiling !== CEILING || !judged || found.has(name) || set.ids.join() !== rows) continue;
    const pooling = set.meta.pooling === "cls" ? "cls" : "mean";
    found.set(name, {
      name,
      role: "ceiling",
      pooling,
      variant: set.meta.whitened === undefined ? "plain" : "whitened",
      set,
    });
  }
  return [...found.values()];
}

/**
 * Pretrains a ceiling of each method with the settings of a run, MRI of the training patients beside the rest, and keeps its
 * vectors in RUN/ceiling, where `storedCeilings` finds them. As long as the run itself; a stopped one goes on.
 *
 * @throws InputError where the data has no MRI on the training side of the split
 */
export async function makeCeilings(options: RunOptions): Promise<NamedEmbeddings[]> {
  const { seed, onProgress } = options;
  const preset = presetOf(options.preset);
  const data = await loadData(options.data ?? preset.data, { ...options, ceiling: true });
  const engine = options.engine ?? (await startEngine());
  const folder = join(runFolder(options), "ceiling");
  const all: NamedEmbeddings[] = [];
  for (const method of METHODS) {
    const total = preset[method].steps;
    const run = pretrainMethod(method, preset, data, { engine, folder: join(folder, method), seed, resume: true });
    let next = await run.next();
    for (; !next.done; next = await run.next()) {
      onProgress?.({ label: `pretrain ${METHOD_NAMES[method]} (${CEILING})`, done: next.value.step + 1, total });
    }
    const rows = await embedEvaluation(METHOD_NAMES[method], "ceiling", next.value, data, { engine, onProgress });
    all.push(...rows.filter(({ name }) => Object.values(PRIMARY).includes(without(name))));
  }
  saveAll(folder, all);
  return all;
}
