/** `m3ret evaluate` and `m3ret search`. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { Option, type Command } from "commander";
import { embeddingSet, loadEmbeddings, pixelVector, selectRows, type EmbeddingSet } from "../embeddings.js";
import { readFile } from "../datasets/read.js";
import { loadEncoder } from "../encoder/checkpoint.js";
import { embedVectors } from "../encoder/embed.js";
import type { Pooling } from "../encoder/vit.js";
import { entryOf, loadCatalog, unlistedFolder, type Preprocessing } from "../datasets/catalog.js";
import { preprocessingFor } from "../encoder/onnxEncoder.js";
import { namesOnnx, openNamedOnnx } from "../external.js";
import { Random } from "../random.js";
import { evaluateRetrieval, type RetrievalReport } from "../retrieval/protocol.js";
import {
  evaluationOf,
  protocolId,
  protocolOf,
  PROTOCOLS,
  type Protocol,
  type ProtocolName,
} from "../retrieval/protocols.js";
import { galleryOf, queriesOf, type Scope } from "../retrieval/sides.js";
import { loadIndex } from "../retrieval/hnsw.js";
import { prepareSample } from "../transforms/prepare.js";
import { InputError, MODALITIES, type Modality, type Sample, type Split } from "../types.js";
import { onnxFlags, onnxOptions, type OnnxFlags } from "./onnxFlags.js";
import { answer, integerList, jsonOption, positiveInteger, wholeNumber } from "./shared.js";

interface EvaluateOptions {
  readonly query: string;
  readonly gallery: string;
  readonly label?: string;
  readonly protocol: ProtocolName;
  readonly labelSets?: boolean;
  readonly from?: Scope;
  readonly to?: Scope;
  readonly k: readonly number[];
  readonly seed: number;
  readonly rounds: number;
  readonly json?: boolean;
}

interface SearchOptions extends OnnxFlags {
  readonly index: string;
  readonly image: string;
  readonly k: number;
  readonly encoder?: string;
  readonly modality?: string;
  readonly volume?: number;
  readonly preprocessing: string;
  readonly catalog?: string;
  readonly json?: boolean;
}

export function addRetrievalCommands(m3ret: Command): void {
  m3ret
    .command("evaluate")
    .description("Recall@K, Precision@K, mAP and MRR of queries against a gallery, with chance and intervals")
    .requiredOption("--query <FILE>", "an .npz that embed wrote; its rows of the split query, where it has splits")
    .requiredOption("--gallery <FILE>", "the same or another .npz; its rows of the split gallery, where it has splits")
    .option("--label <COLUMN>", "what makes an item relevant: region, class, modality … (not for exact-pairs)")
    .option(
      "--label-sets",
      "the column holds label sets, | between: a hit shares a label (known of what embed wrote of such sets)",
    )
    .addOption(
      new Option("--protocol <NAME>", "who asks and who is searched; all but given-sets need splits in the files")
        .choices(Object.keys(PROTOCOLS))
        .default("given-sets"),
    )
    .addOption(new Option("--from <MODALITY>", "of the queries").choices([...MODALITIES, "all"]))
    .addOption(new Option("--to <MODALITY>", "of the gallery (default: as --from)").choices([...MODALITIES, "all"]))
    .option("--k <LIST>", "values of K", integerList("k"), [1, 5, 10])
    .option("--rounds <N>", "of the bootstrap", positiveInteger("rounds"), 1000)
    .option("--seed <N>", "of the bootstrap", wholeNumber("seed"), 7)
    .addOption(jsonOption())
    .action(runEvaluate);
  onnxFlags(m3ret.command("search"))
    .description("the gallery items most like an image")
    .requiredOption("--index <FILE>", "an .npz that embed wrote; with --graph, it is searched by HNSW")
    .requiredOption("--image <PATH>", "an image, video or volume, or a folder of DICOM slices")
    .option("--encoder <DIR|FILE.onnx>", "the encoder that the index was made with (not needed for pixels)")
    .option("--modality <NAME>", "what the image is, where the file does not say")
    .option("--volume <N>", "which volume, from 0, of a file or series that holds several", wholeNumber("volume"))
    .option("--preprocessing <NAME>", "the data set whose preprocessing applies (default: the index's)", "")
    .option("--catalog <FILE>", "a datasets.yaml of your own")
    .option("--k <N>", "how many", positiveInteger("k"), 10)
    .addOption(jsonOption())
    .action(runSearch);
}

/** The rows of a split, or all rows of a file that knows no splits or has none of this one. */
function rowsOf(set: EmbeddingSet, split: Split): EmbeddingSet {
  const rows = selectRows(set, (i) => set.splits[i] === split);
  return rows.n > 0 ? rows : set;
}

/** The rows that a named protocol takes from files with splits and modalities; one line where it cannot be followed. */
function sidesOf(rules: Protocol, options: EvaluateOptions): [EmbeddingSet, EmbeddingSet] {
  const { name } = rules;
  const pooled = name === "pooled";
  const { from, to = pooled ? "all" : from } = options;
  if (from === undefined || to === undefined) throw new InputError(`--protocol ${name}: expected --from, got none`);
  const within = name === "within-modality" || name === "train-gallery";
  if (pooled !== (to === "all") || (from === "all" && !pooled) || (!pooled && (from === to) !== within)) {
    const expected = pooled ? "--to all" : within ? "one modality" : "--from one modality and --to another";
    throw new InputError(`--protocol ${name}: expected ${expected}, got --from ${from} --to ${to}`);
  }
  const [asking, searched] = [loadEmbeddings(options.query), loadEmbeddings(options.gallery)];
  const sides: [string, string, readonly Split[], EmbeddingSet][] = [
    [options.query, from, rules.querySplits, queriesOf(asking, { from }, rules)],
    [options.gallery, to, rules.gallerySplits, galleryOf(searched, { to }, rules)],
  ];
  for (const [file, scope, splits, { n }] of sides) {
    if (n > 0) continue;
    const hint = splits.includes("train") ? "; m3ret embed --train writes them" : "";
    throw new InputError(`${file}: expected rows of ${scope} in the split ${splits.join(" or ")}, found none${hint}`);
  }
  return [sides[0][3], sides[1][3]];
}

/** What `m3ret embed` noted of the data set: its test patients (`testSplits`), and its columns of label sets (`labelSetsOf`). */
function notedIn(file: string): { testSplits?: readonly Split[]; labelSets?: readonly string[] } {
  const { testSplits, labelSets } = loadEmbeddings(file).meta;
  return {
    ...(testSplits === undefined ? {} : { testSplits: String(testSplits).split(",") as Split[] }),
    ...(labelSets === undefined ? {} : { labelSets: String(labelSets).split(",") }),
  };
}

function runEvaluate(options: EvaluateOptions): void {
  const { query, gallery, label, protocol, k, rounds, seed, json } = options;
  if (label === undefined && PROTOCOLS[protocol].relevance === "label")
    throw new InputError("--label: expected a column, such as region, got none");
  const given = protocol === "given-sets";
  if (given && (options.from ?? options.to) !== undefined) {
    throw new InputError("--from, --to: expected only with another --protocol than given-sets");
  }
  const noted = notedIn(query);
  const labelSets = options.labelSets ? [label ?? ""] : noted.labelSets;
  const rules = protocolOf(protocol, { ...noted, label, ks: k, rounds, labelSets });
  const [queries, held] = given
    ? [rowsOf(loadEmbeddings(query), "query"), rowsOf(loadEmbeddings(gallery), "gallery")]
    : sidesOf(rules, options);
  const report = evaluateRetrieval(queries, held, {
    ...evaluationOf(rules),
    bootstrap: { rounds, random: new Random(seed) },
  });
  answer(json, { ...report, rules }, (all) => `protocol ${protocolId(all.rules)}\n${describe(all)}`);
}

function describe(report: RetrievalReport): string {
  const number = (x: number) => x.toFixed(3);
  const rows = Object.entries(report.recallAtK).map(
    ([k, { value, low, high }]) =>
      `Recall@${k}`.padEnd(12) +
      `${number(value)} [${number(low)}, ${number(high)}]  chance ${number(report.chance[k])}`,
  );
  const graded = Object.entries(report.ndcgAtK ?? {}).map(
    ([k, { value, low, high }]) =>
      `nDCG@${k}`.padEnd(12) +
      `${number(value)} [${number(low)}, ${number(high)}]  chance ${number(report.chance[`ndcg@${k}`])}`,
  );
  const { mAP, mrr, n } = report;
  return [
    report.protocol,
    `${n.query} queries, ${n.gallery} gallery items, label ${report.label}`,
    ...rows,
    ...graded,
    "mAP".padEnd(12) +
      `${number(mAP.value)} [${number(mAP.low)}, ${number(mAP.high)}]  chance ${number(report.chance.mAP)}`,
    "MRR".padEnd(12) +
      `${number(mrr.value)} [${number(mrr.low)}, ${number(mrr.high)}]  chance ${number(report.chance.mrr)}`,
    ...report.warnings.map((warning) => `warning: ${warning}`),
  ].join("\n");
}

async function runSearch(options: SearchOptions): Promise<void> {
  const searcher = await loadIndex(options.index);
  const index = searcher.gallery;
  const { volume } = options;
  const decoded = await readFile(options.image, { nifti: { volume }, dicom: { volume: volume ?? 0 } });
  const named = options.modality as Modality | undefined;
  if (named && !MODALITIES.includes(named)) {
    throw new InputError(`--modality ${named}: expected one of ${MODALITIES.join(", ")}`);
  }
  const modality = named ?? decoded.modality;
  if (modality === null) throw new InputError(`${options.image}: the file does not say its modality; add --modality`);
  const dataName = options.preprocessing || String(index.meta.data ?? "");
  if (!dataName) throw new InputError(`${options.index}: does not say its data set; add --preprocessing NAME`);
  const catalog = loadCatalog(options.catalog);
  // Vectors of a folder that no catalogue lists were made with the defaults, and so is this one.
  const unlisted = !Object.hasOwn(catalog.datasets, dataName) && existsSync(join(dataName, "labels.csv"));
  const { preprocessing } = unlisted ? unlistedFolder(dataName) : entryOf(catalog, dataName);
  const record = { id: options.image, modality, kind: decoded.kind, group: "", split: "query" as const, labels: {} };
  const prepare = (how: Preprocessing) => prepareSample(record, decoded, how);
  const { encoder = "" } = options;
  const onnx = index.meta.encoder !== "pixels" && namesOnnx(catalog, encoder);
  const { sample, vector } = onnx
    ? await vectorOfFile(prepare, preprocessing, index, options)
    : await vectorOf(prepare(preprocessing), index, options);
  const query = embeddingSet(vector, [{ ...sample, group: "the image that was asked for" }], "query");
  const { indices, scores } = searcher.search(query, Math.min(options.k, index.n));
  const hits = Array.from(indices, (row, i) => ({
    rank: i + 1,
    id: index.ids[row],
    modality: index.modalities[row] ?? null,
    score: scores[i],
    labels: Object.fromEntries(Object.entries(index.labels).map(([column, values]) => [column, values[row]])),
  }));
  const { engine, reason } = searcher;
  answer(options.json, { image: options.image, index: options.index, engine, reason: reason ?? null, hits }, () =>
    hits
      .map(({ rank, id, score, labels }) => `${rank}. ${id}  ${score.toFixed(4)}  ${Object.values(labels).join(", ")}`)
      .join("\n"),
  );
}

/** A sample and its vector, to look for in the index. */
interface Wanted {
  readonly sample: Sample;
  readonly vector: Float32Array;
}

/** Throws unless the index was made with this encoder, as far as it says. */
function requireSame(encoder: string, index: EmbeddingSet, trained: string, method: string, width: number): void {
  const made = String(index.meta.encoder ?? "");
  if (made !== "" && made.toLowerCase() !== method.toLowerCase()) {
    throw new InputError(`--encoder ${encoder}: ${trained}, but the index was made with ${made}`);
  }
  if (width !== index.d) {
    throw new InputError(`--encoder ${encoder}: gives vectors of ${width}, the index holds ${index.d}`);
  }
}

async function vectorOf(sample: Sample, index: EmbeddingSet, { encoder }: SearchOptions): Promise<Wanted> {
  if (index.meta.encoder === "pixels") return { sample, vector: pixelVector(sample, Math.sqrt(index.d)) };
  if (!encoder) throw new InputError("--encoder: expected the folder of the encoder that the index was made with");
  const { encoder: model, provenance } = loadEncoder(encoder);
  const method = String(provenance.method ?? "");
  requireSame(encoder, index, `trained by ${method}`, method, model.config.width);
  const pooling = (index.meta.pooling ?? "cls") as Pooling;
  return { sample, vector: (await embedVectors(model, [sample]))[pooling] };
}

async function vectorOfFile(
  prepare: (how: Preprocessing) => Sample,
  preprocessing: Preprocessing,
  index: EmbeddingSet,
  options: SearchOptions,
): Promise<Wanted> {
  const encoder = options.encoder!;
  const model = await openNamedOnnx(loadCatalog(options.catalog), encoder, onnxOptions(options));
  try {
    const sample = prepare(preprocessingFor(model.plan, preprocessing));
    const vector = await model.embed([sample]);
    const { name, pooling } = model.plan;
    requireSame(encoder, index, `its name is ${name}`, name, vector.length);
    const pooled = String(index.meta.pooling ?? pooling);
    if (pooled !== pooling) throw new InputError(`--encoder ${encoder}: gives ${pooling}, the index holds ${pooled}`);
    return { sample, vector };
  } finally {
    await model.dispose();
  }
}
