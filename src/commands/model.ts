/** `m3ret pretrain` and `m3ret embed`. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { Option, type Command } from "commander";
import { loadCatalog } from "../datasets/catalog.js";
import type { SkippedFile } from "../datasets/dataset.js";
import { saveEmbeddings, stackSets, type EmbeddingSet } from "../embeddings.js";
import { loadEncoder } from "../encoder/checkpoint.js";
import { POOLINGS, usualPooling, type Pooling } from "../encoder/vit.js";
import type { EngineName } from "../engine/engine.js";
import {
  embedEvaluation,
  embedPixels,
  evaluationParts,
  loadData,
  pretrainMethod,
  untrainedEncoder,
} from "../experiment.js";
import { defaultCacheDir, sizesOf, type DataOptions } from "../experiment.js";
import { embedWithOnnx, namesOnnx } from "../external.js";
import { METHODS, presetOf, type Preset } from "../presets.js";
import { buildIndex, saveIndex } from "../retrieval/hnsw.js";
import { isStreamed, openStream, pretrainStream } from "../streamed.js";
import { assertNoRun } from "../trainers/pretrain.js";
import type { TrainEvent } from "../trainers/loop.js";
import type { Method } from "../trainers/objective.js";
import { QUARANTINE } from "../trainers/quarantine.js";
import type { PreparedCount } from "../trainers/streamBatch.js";
import { CEILING, InputError, type OnProgress, type Shape3 } from "../types.js";
import { onnxFlags, onnxOptions, sampleSize, type OnnxFlags } from "./onnxFlags.js";
import {
  answer,
  chooseEngine,
  dataOptions,
  engineOption,
  Interrupted,
  jsonOption,
  positiveInteger,
  requireFile,
  requireFolder,
  stoppable,
  wholeNumber,
  withProgress,
} from "./shared.js";

interface PretrainOptions {
  readonly method: Method;
  readonly preset: string;
  readonly data?: string;
  readonly out: string;
  readonly steps?: number;
  readonly saveEvery: number;
  readonly seed: number;
  readonly resume?: boolean;
  readonly ceiling?: true;
  readonly manifest?: readonly string[];
  readonly size?: Shape3;
  readonly keepPrepared?: boolean;
  readonly engine?: EngineName;
  readonly json?: boolean;
  readonly catalog?: string;
  readonly cache?: string;
}

interface EmbedOptions extends OnnxFlags {
  readonly encoder: string;
  readonly preset: string;
  readonly data?: string;
  readonly out: string;
  readonly graph?: boolean;
  readonly train?: boolean;
  readonly pooling?: Pooling;
  readonly seed?: number;
  readonly engine?: EngineName;
  readonly json?: boolean;
  readonly catalog?: string;
  readonly cache?: string;
}

export function addModelCommands(m3ret: Command): void {
  sampleSize(dataOptions(m3ret.command("pretrain")))
    .description("pretrain an encoder; a stopped run goes on with --resume")
    .addOption(new Option("--method <METHOD>", "how").choices(METHODS).makeOptionMandatory())
    .option("--preset <NAME>", "smoke, default or paper", "default")
    .option(
      "--data <NAME|RECIPE.yaml>",
      "an entry of datasets.yaml, a folder with a labels.csv, or a recipe (default: the preset's)",
    )
    .option(
      "--manifest <FILE...>",
      "the files of a recipe's sets or of a folder, as m3ret manifest lists them (default: list them now; a folder is read whole)",
    )
    .option("--keep-prepared", "keep decoded and prepared samples of a recipe or public set in the cache")
    .requiredOption(
      "--out <DIR>",
      "where the run is kept: log.jsonl, state.safetensors, encoder.safetensors, config.json",
    )
    .option("--steps <N>", "instead of the preset's", positiveInteger("steps"))
    .option("--save-every <N>", "steps between states that --resume can go on from", positiveInteger("save-every"), 50)
    .option("--seed <N>", "of every random choice", wholeNumber("seed"), 7)
    .option("--resume", "go on where the run in DIR stopped")
    .option("--ceiling", "let it see MRI too: an upper bound to compare with, marked as such and never a result")
    .addOption(engineOption())
    .addOption(jsonOption())
    .action(runPretrain);
  onnxFlags(dataOptions(m3ret.command("embed")))
    .description("embed the evaluation samples of a data set")
    .requiredOption(
      "--encoder <DIR|FILE.onnx>",
      "a folder that pretrain wrote, an .onnx file, an entry under encoders in datasets.yaml, random, or pixels",
    )
    .option("--preset <NAME>", "whose sizes a random encoder has", "default")
    .option("--data <NAME>", "an entry of datasets.yaml, or a folder with a labels.csv (default: the preset's)")
    .addOption(
      new Option("--pooling <POOLING>", "cls or mean (default: mean for mae, otherwise cls)").choices(POOLINGS),
    )
    .option(
      "--seed <N>",
      "of the split, and of a random encoder (default: the encoder's own, or 7)",
      wholeNumber("seed"),
    )
    .requiredOption("--out <FILE>", "an .npz that numpy opens")
    .option(
      "--train",
      "the training split too, without MRI: a gallery of what pretraining saw (evaluate --protocol train-gallery)",
    )
    .option("--graph", "attach an HNSW graph, for searching large galleries")
    .addOption(engineOption())
    .addOption(jsonOption())
    .action(runEmbed);
}

async function runPretrain(options: PretrainOptions): Promise<void> {
  const { method, out, data: dataName = presetOf(options.preset).data, seed, ceiling } = options;
  const size = sizesOf(options.size);
  const { catalog: catalogFile, cache: cacheDir, manifest: manifests } = options;
  const preset = presetOf(options.preset);
  const streamed = isStreamed(dataName, loadCatalog(catalogFile), manifests);
  for (const flag of ["manifest", "keepPrepared"] as const) {
    const name = flag === "manifest" ? "--manifest" : "--keep-prepared";
    if (options[flag] && !streamed) {
      throw new InputError(
        `${name}: expected only with --data RECIPE.yaml, a public set or a folder whose --manifest is given, got --data ${dataName}`,
      );
    }
  }
  if (ceiling && streamed)
    throw new InputError(`--ceiling: expected a data set that fits in memory, got --data ${dataName}`);
  requireFolder("--out", out);
  // Before the data, which may take minutes:
  if (!options.resume) assertNoRun(out, method);
  const engine = await chooseEngine(options.engine);
  const run = { engine, folder: out, seed, resume: options.resume, steps: options.steps, saveEvery: options.saveEvery };
  const result = await stoppable((stopped) =>
    withProgress(async (onProgress) => {
      if (!streamed) {
        const data = await loadData(dataName, { catalogFile, cacheDir, seed, size, ceiling, onProgress });
        const done = await runToEnd(pretrainMethod(method, preset, data, run), options, onProgress, stopped);
        const samples = data.train.length;
        const marked = ceiling ? { ceiling: CEILING } : {};
        return { method, data: data.name, ...marked, out, ...done, engine: engine.description, samples };
      }
      const source = await openStream(dataName, { catalogFile, cacheDir, seed, size, manifests, onProgress });
      try {
        if (source.absent.length > 0) process.stderr.write(`${dataName}: not here: ${source.absent.join(", ")}\n`);
        const prepared = options.keepPrepared ? join(cacheDir ?? defaultCacheDir(), "prepared") : undefined;
        const { feed, unread, run: start } = pretrainStream(method, preset, source, { ...run, prepared });
        const { leftOut, mixture, strata } = feed;
        const samples = strata.reduce((sum, { rows }) => sum + rows.length, 0);
        const done = await runToEnd(start(), options, onProgress, stopped);
        const epochs = done.steps / mixture.batches;
        const quarantine = { files: unread.length, report: unread.length > 0 ? join(out, QUARANTINE) : null };
        const kept = prepared === undefined ? {} : { prepared: { folder: prepared, ...feed.prepared } };
        const facts = { sets: source.manifest.sets, leftOut, epochs, plan: mixture.plan, quarantine, ...kept };
        return { method, data: source.name, out, ...done, engine: engine.description, samples, ...facts };
      } finally {
        source.manifest.close();
      }
    }),
  );
  answer(options.json, result, (said) =>
    [
      said.loss === null
        ? `${out}: ${method} had done its ${said.steps} steps already`
        : `${out}: ${method}, ${said.steps} steps, loss ${said.loss.toFixed(4)} (${said.engine}), ` +
          `input wait ${(100 * (said.inputShare ?? 0)).toFixed(1)} % of the step`,
      ...("quarantine" in said ? streamLines(said) : []),
    ].join("\n"),
  );
}

/** What came of a stream, in a line or two. */
function streamLines(said: {
  samples: number;
  epochs: number;
  sets: readonly string[];
  leftOut: { mri: number; judged: number; withoutShare: number };
  quarantine: { files: number; report: string | null };
  prepared?: { folder: string } & PreparedCount;
}): string[] {
  const { mri, judged, withoutShare } = said.leftOut;
  const { files, report } = said.quarantine;
  return [
    `${said.sets.join(", ")}: ${said.samples} files, ${said.epochs.toFixed(2)} epochs; left out: ${mri} of MRI, ` +
      `${judged} of gallery and query, ${withoutShare} without a share`,
    ...(files > 0 ? [`${files} files could not be read and were passed over: ${report}`] : []),
    ...(said.prepared
      ? [
          `prepared samples: ${said.prepared.written} written, ${(said.prepared.bytes / 2 ** 20).toFixed(1)} MB, ` +
            `${said.prepared.read} read, in ${said.prepared.folder}` +
            (said.prepared.stopped === null ? "" : `; not all were written: ${said.prepared.stopped}`),
        ]
      : []),
  ];
}

/** Runs the steps, with progress, until they are done or somebody asks to stop. */
async function runToEnd(
  run: AsyncGenerator<TrainEvent, unknown, void>,
  { method, preset, steps }: PretrainOptions,
  onProgress: OnProgress,
  stopped: () => boolean,
) {
  const total = steps ?? presetOf(preset)[method].steps;
  let last: number | null = null;
  let input = { inputSeconds: 0, inputShare: 0, inputBy: "" };
  let spent = 0;
  try {
    for (let next = await run.next(); !next.done; next = await run.next()) {
      const { step, terms, warning, secondsPerStep, inputBy } = next.value;
      last = terms.loss;
      spent += secondsPerStep;
      const inputSeconds = input.inputSeconds + next.value.inputSeconds;
      input = { inputSeconds, inputShare: inputSeconds / spent, inputBy };
      onProgress({ label: method, done: step + 1, total, note: warning ?? `loss ${terms.loss.toFixed(4)}` });
      if (stopped() && step + 1 < total) {
        throw new Interrupted(`stopped at step ${step + 1} of ${total}; the same command with --resume goes on`);
      }
    }
  } finally {
    await run.return(undefined); // saves the state of a run that is left early
  }
  return { steps: total, loss: last, ...(last === null ? {} : input) };
}

async function runEmbed(options: EmbedOptions): Promise<void> {
  const preset = presetOf(options.preset);
  if (!options.out.endsWith(".npz")) throw new InputError(`--out ${options.out}: expected a name that ends in .npz`);
  const named = options.encoder === "random" || options.encoder === "pixels";
  const onnx = !named && namesOnnx(loadCatalog(options.catalog), options.encoder);
  if (!named && !onnx && !existsSync(options.encoder)) {
    throw new InputError(
      `--encoder ${options.encoder}: expected a folder that pretrain wrote, an .onnx file, an entry under encoders in ` +
        "datasets.yaml, random or pixels",
    );
  }
  requireFile("--out", options.out);
  const set = onnx ? await embedFile(options, preset) : await embedOurs(options, preset);
  if (set.n === 0) {
    throw new InputError(`${set.meta.data}: expected samples in the splits gallery and query, found none`);
  }
  if (options.graph) {
    const index = await buildIndex(set);
    if (index.reason) process.stderr.write(`${index.reason}\n`);
    saveIndex(options.out, index);
  } else saveEmbeddings(options.out, set);
  const { n, d, meta } = set;
  answer(options.json, { out: options.out, n, d, meta }, () => `${options.out}: ${n} vectors of ${d} numbers`);
}

/** Vectors of an encoder of this project, or of pixels. */
async function embedOurs(options: EmbedOptions, preset: Preset): Promise<EmbeddingSet> {
  const { encoder: from, catalog: catalogFile, cache: cacheDir } = options;
  const flag = (["mean", "std", "output"] as const).find((name) => options[name] !== undefined);
  if (flag) throw new InputError(`--${flag}: expected only with an .onnx file, got --encoder ${from}`);
  const loaded = from === "random" || from === "pixels" ? null : loadEncoder(from);
  // Another seed is another split: the encoder would be judged on patients that it was trained on.
  const { splitSeed, seed: trained, size: trainedAt } = loaded?.provenance ?? {};
  const seed = options.seed ?? Number(splitSeed ?? trained ?? 7);
  // An encoder that was trained on files of several sets is asked at the size that it was trained at.
  const size = sizesOf(options.size) ?? (trainedAt as DataOptions["size"]);
  const method = String(loaded?.provenance.method ?? "untrained");
  const pooling = options.pooling ?? usualPooling(loaded?.provenance ?? {});
  const encoder = loaded?.encoder ?? untrainedEncoder(preset, seed);
  const role = encoder.ceiling ? "ceiling" : loaded ? "trained" : "untrained";
  const engine = from === "pixels" ? undefined : await chooseEngine(options.engine); // before the data, which may take minutes
  const sets: EmbeddingSet[] = [];
  const skipped: SkippedFile[] = [];
  await withProgress(async (onProgress) => {
    const name = options.data ?? preset.data;
    const { train } = options;
    for await (const part of evaluationParts(name, { catalogFile, cacheDir, seed, size, train, onProgress })) {
      skipped.push(...part.skipped);
      const all =
        from === "pixels"
          ? embedPixels(part)
          : await embedEvaluation(method, role, encoder, part, { engine, onProgress });
      const own = all.find((one) => (from === "pixels" || one.pooling === pooling) && one.variant === "plain")!;
      sets.push(own.set, ...(own.train ? [own.train] : []));
    }
  });
  if (skipped.length > 0)
    process.stderr.write(`${skipped.length} files were passed over; the first: ${skipped[0].reason}\n`);
  return stackSets(sets);
}

/** Vectors of an encoder in an ONNX file. */
async function embedFile(options: EmbedOptions, preset: Preset): Promise<EmbeddingSet> {
  const { encoder, data = preset.data, seed, catalog: catalogFile, cache: cacheDir } = options;
  if (options.pooling) throw new InputError(`--pooling: ${encoder} has pooled already; m3ret export --pooling chooses`);
  const onnx = onnxOptions(options);
  if (options.engine) await chooseEngine(options.engine); // says in one line what a device lacks
  return withProgress((onProgress) =>
    embedWithOnnx(encoder, data, { ...{ catalogFile, cacheDir, seed, train: options.train }, onProgress, onnx }),
  );
}
