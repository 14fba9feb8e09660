/** `m3ret pretrain` and `m3ret embed`. */
import { existsSync } from "node:fs";
import { Option, type Command } from "commander";
import { loadCatalog } from "../datasets/catalog.js";
import { saveEmbeddings, type EmbeddingSet } from "../embeddings.js";
import { loadEncoder } from "../encoder/checkpoint.js";
import { POOLINGS, usualPooling, type Pooling } from "../encoder/vit.js";
import type { EngineName } from "../engine/engine.js";
import { embedEvaluation, embedPixels, loadData, pretrainMethod, untrainedEncoder } from "../experiment.js";
import { embedWithOnnx, namesOnnx } from "../external.js";
import { METHODS, presetOf, type Preset } from "../presets.js";
import { buildIndex, saveIndex } from "../retrieval/hnsw.js";
import type { Method } from "../trainers/objective.js";
import { CEILING, InputError } from "../types.js";
import { onnxFlags, onnxOptions, type OnnxFlags } from "./onnxFlags.js";
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
  readonly pooling?: Pooling;
  readonly seed?: number;
  readonly engine?: EngineName;
  readonly json?: boolean;
  readonly catalog?: string;
  readonly cache?: string;
}

export function addModelCommands(m3ret: Command): void {
  dataOptions(m3ret.command("pretrain"))
    .description("pretrain an encoder; a stopped run goes on with --resume")
    .addOption(new Option("--method <METHOD>", "how").choices(METHODS).makeOptionMandatory())
    .option("--preset <NAME>", "smoke, default or paper", "default")
    .option("--data <NAME>", "an entry of datasets.yaml, or a folder with a labels.csv (default: the preset's)")
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
    .option("--graph", "attach an HNSW graph, for searching large galleries")
    .addOption(engineOption())
    .addOption(jsonOption())
    .action(runEmbed);
}

async function runPretrain(options: PretrainOptions): Promise<void> {
  const { method, out, seed, resume, steps, saveEvery, ceiling } = options;
  const preset = presetOf(options.preset);
  requireFolder("--out", out);
  const engine = await chooseEngine(options.engine); // before the data, which may take minutes
  const result = await stoppable((stopped) =>
    withProgress(async (onProgress) => {
      const dataName = options.data ?? preset.data;
      const { catalog: catalogFile, cache: cacheDir } = options;
      const data = await loadData(dataName, { catalogFile, cacheDir, seed, ceiling, onProgress });
      const total = steps ?? preset[method].steps;
      const run = pretrainMethod(method, preset, data, { engine, folder: out, seed, resume, steps, saveEvery });
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
        await run.return(undefined as never); // saves the state of a run that is left early
      }
      return {
        method,
        data: data.name,
        ...(ceiling ? { ceiling: CEILING } : {}),
        out,
        steps: total,
        loss: last,
        engine: engine.description,
        samples: data.train.length,
        ...(last === null ? {} : input),
      };
    }),
  );
  answer(options.json, result, ({ steps, loss, engine, inputShare }) =>
    loss === null
      ? `${out}: ${method} had done its ${steps} steps already`
      : `${out}: ${method}, ${steps} steps, loss ${loss.toFixed(4)} (${engine}), ` +
        `input wait ${(100 * (inputShare ?? 0)).toFixed(1)} % of the step`,
  );
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
  const flag = (["size", "mean", "std", "output"] as const).find((name) => options[name] !== undefined);
  if (flag) throw new InputError(`--${flag}: expected only with an .onnx file, got --encoder ${from}`);
  const loaded = from === "random" || from === "pixels" ? null : loadEncoder(from);
  // Another seed is another split: the encoder would be judged on patients that it was trained on.
  const seed = options.seed ?? Number(loaded?.provenance.seed ?? 7);
  return withProgress(async (onProgress) => {
    const data = await loadData(options.data ?? preset.data, { catalogFile, cacheDir, seed, onProgress });
    if (from === "pixels") return embedPixels(data)[0].set;
    const encoder = loaded?.encoder ?? untrainedEncoder(preset, seed);
    const engine = await chooseEngine(options.engine);
    const method = String(loaded?.provenance.method ?? "untrained");
    const pooling = options.pooling ?? usualPooling(method);
    const role = encoder.ceiling ? "ceiling" : loaded ? "trained" : "untrained";
    const both = await embedEvaluation(method, role, encoder, data, { engine, onProgress });
    return both.find((one) => one.pooling === pooling && one.variant === "plain")!.set;
  });
}

/** Vectors of an encoder in an ONNX file. */
async function embedFile(options: EmbedOptions, preset: Preset): Promise<EmbeddingSet> {
  const { encoder, data = preset.data, seed, catalog: catalogFile, cache: cacheDir } = options;
  if (options.pooling) throw new InputError(`--pooling: ${encoder} has pooled already; m3ret export --pooling chooses`);
  const onnx = onnxOptions(options);
  if (options.engine) await chooseEngine(options.engine); // says in one line what a device lacks
  return withProgress((onProgress) => embedWithOnnx(encoder, data, { catalogFile, cacheDir, seed, onProgress, onnx }));
}
