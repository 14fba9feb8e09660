/**
 * What a frozen encoder knows of a modality that it never saw: k nearest neighbours, a linear probe and few-shot class means,
 * taught on gallery patients and asked of query patients. No weight of the encoder moves.
 */
import { normalise, selectRows, takeRows, type EmbeddingSet } from "../embeddings.js";
import { Random } from "../random.js";
import { bootstrap, exactAtEnds, type Interval } from "../retrieval/bootstrap.js";
import { labelSetsIn } from "../retrieval/labelSets.js";
import { labelColumn } from "../retrieval/protocol.js";
import { InputError, UNSEEN_MODALITY, type Modality } from "../types.js";
import { knnScoresOf } from "./knn.js";
import { fitLogistic, predictLogistic, type LabelledRows } from "./logistic.js";
import { dotProducts } from "./products.js";
import { aurocOf, balancedAccuracy, predictions, type Scored } from "./scores.js";

export const PROBE_KS: readonly number[] = [1, 3, 5, 10, 20];
export const PROBE_STRENGTHS: readonly number[] = [1e-4, 1e-3, 1e-2, 1e-1, 1];
export const PROBE_SHOTS: readonly number[] = [1, 2, 5, 10];

export interface ProbeOptions {
  /** The classes: a label column, such as "region". */
  readonly label: string;
  /** Default: MRI. */
  readonly modality?: Modality;
  readonly seed: number;
  readonly bootstrapRounds?: number;
  /** Seeded draws of each number of shots. */
  readonly draws?: number;
  readonly folds?: number;
}

/** One way to read classes off frozen features. */
export interface ProbeScores {
  readonly auroc: Interval;
  readonly balancedAccuracy: Interval;
  /** The k or C that the validation patients chose. */
  readonly chosen: number;
}

export interface FewShot {
  /** Teaching rows of each class. */
  readonly shots: number;
  /** Mean over draws and patients; the interval resamples both. */
  readonly balancedAccuracy: Interval;
}

export interface ProbeReport {
  /** What was done, in words. */
  readonly protocol: string;
  readonly modality: Modality;
  readonly label: string;
  readonly classes: readonly string[];
  readonly n: {
    readonly train: number;
    readonly test: number;
    readonly trainPatients: number;
    readonly testPatients: number;
    /** Rows without a label, or with one that fewer than two gallery patients have. */
    readonly leftOut: number;
  };
  readonly chance: { readonly auroc: number; readonly balancedAccuracy: number };
  readonly knn: ProbeScores;
  readonly linear: ProbeScores;
  /** Shots that every class has enough patients for. */
  readonly fewShot: readonly FewShot[];
}

/** What each query row scored, for paired tests: two encoders that were probed alike share the rows. */
export interface ProbeOutcomes {
  /** Ids of the query rows. */
  readonly rows: readonly string[];
  /** The patient of each. */
  readonly groups: readonly string[];
  /** [n] of each reading: n / (classes · rows of the class) where the class is right, else 0, so that the mean is the balanced accuracy. */
  readonly linear: Float64Array;
  readonly knn: Float64Array;
  /** The mean over draws; in the order of `ProbeReport.fewShot`. */
  readonly fewShot: readonly { readonly shots: number; readonly values: Float64Array }[];
}

interface Task {
  readonly classes: readonly string[];
  readonly train: EmbeddingSet;
  readonly test: EmbeddingSet;
  readonly yTrain: Int32Array;
  readonly yTest: Int32Array;
  readonly leftOut: number;
}

/** Why `probe` cannot be asked of these embeddings, or null. */
export function whyNoProbe(
  set: EmbeddingSet,
  { label, modality = UNSEEN_MODALITY }: Pick<ProbeOptions, "label" | "modality">,
): string | null {
  if (labelSetsIn(set).includes(label)) return `${label} holds label sets, and a probe has one class for each picture`;
  const { classes, test } = taskOf(set, label, modality);
  if (classes.length < 2) return `fewer than two values of ${label} have ${modality} of two gallery patients each`;
  return test.n === 0 ? `no ${modality} among the queries has such a value of ${label}` : null;
}

/** Gallery rows teach, query rows test; classes that fewer than two gallery patients have are left out, and counted. */
function taskOf(set: EmbeddingSet, label: string, modality: Modality): Task {
  const own = selectRows(
    set,
    (i) => set.modalities[i] === modality && (set.splits[i] === "gallery" || set.splits[i] === "query"),
  );
  const values = own.n > 0 ? labelColumn(own, label, "embeddings") : [];
  const patients = new Map<string, Set<string>>();
  values.forEach((value, i) => {
    if (value === "" || own.splits[i] !== "gallery") return;
    patients.set(value, (patients.get(value) ?? new Set()).add(own.groups[i]));
  });
  const classes = [...patients]
    .filter(([, groups]) => groups.size >= 2)
    .map(([value]) => value)
    .sort();
  const number = new Map(classes.map((value, i) => [value, i]));
  const part = (split: "gallery" | "query") => {
    const rows = own.splits.flatMap((one, i) => (one === split && number.has(values[i]) ? [i] : []));
    return { set: takeRows(own, rows), y: Int32Array.from(rows, (row) => number.get(values[row])!) };
  };
  const [train, test] = [part("gallery"), part("query")];
  const leftOut = own.n - train.set.n - test.set.n;
  return { classes, train: train.set, test: test.set, yTrain: train.y, yTest: test.y, leftOut };
}

/**
 * Probes one encoder's frozen features of a modality, by default of MRI, which pretraining never saw.
 *
 * - Rows of gallery patients teach, rows of query patients test. Rows are normalised.
 * - k-NN as DINO does it (`knnScores`); the k with the best balanced accuracy over validation patients, of equals the largest.
 * - Linear probe: logistic regression (`fitLogistic`); the C with the least log loss over validation patients.
 * - Validation patients: the gallery's, in 4 folds of whole patients; each fold is judged by what the others teach, and the
 *   chosen setting is then taught on all of them. Query patients choose nothing.
 * - Few shots: 1, 2, 5, 10 rows of each class, of different patients, drawn 20 times; the class with the nearest mean (cosine)
 *   wins (prototypes, arXiv 1703.05175). There is nothing to choose.
 * - Intervals: bootstrap over query patients (and, for few shots, over draws).
 *
 * Perfect features score 1, features without classes 0.5 (AUROC) and 1 / classes (balanced accuracy).
 *
 * @throws InputError where `whyNoProbe` has a reason
 */
export function probe(set: EmbeddingSet, options: ProbeOptions): ProbeReport {
  return probeRows(set, options).report;
}

/** `probe`, and what each query row scored. */
export function probeRows(
  set: EmbeddingSet,
  options: ProbeOptions,
): { readonly report: ProbeReport; readonly outcomes: ProbeOutcomes } {
  const { label, modality = UNSEEN_MODALITY, seed, bootstrapRounds = 1000, draws = 20, folds = 4 } = options;
  const reason = whyNoProbe(set, options);
  if (reason) throw new InputError(`probe: ${reason}`);
  const task = taskOf(set, label, modality);
  const random = new Random(seed).fork(`probe ${modality} ${label}`); // the same folds, draws and resamples for every encoder
  const rows = labelled(task.train, task.yTrain, task.classes.length);
  const test = labelled(task.test, task.yTest, task.classes.length);
  const foldOf = foldsOf(task, folds, random.fork("folds"));
  const patients = (groups: readonly string[]) => new Set(groups).size;
  // At 0 and 1 resamples do not differ: the interval is a proportion's, of as many trials as there are patients.
  const atEnds = (interval: Interval) => exactAtEnds(interval, patients(task.test.groups), 0.95);
  const scoredBy = (scores: Float64Array): Scored => ({ scores, y: test.y, classes: test.classes });
  const judge = (scores: Float64Array, chosen: number): ProbeScores => {
    const scored = scoredBy(scores);
    const area = aurocOf(scored);
    const statistics = (weights: Int32Array) => [area(weights), balancedAccuracy(scored, weights)];
    const resamples = { random: random.fork("bootstrap"), rounds: bootstrapRounds };
    const [auroc, accuracy] = bootstrap(task.test.groups, statistics, resamples);
    return { auroc: atEnds(auroc), balancedAccuracy: atEnds(accuracy), chosen };
  };
  const k = chooseK(rows, foldOf);
  const strength = chooseStrength(rows, foldOf);
  const knn = knnScoresOf(rows, test.x, [k])[0];
  const linear = predictLogistic(fitLogistic(rows, [strength])[0], test.x);
  const shots = fewShots(task, rows, test, { draws, random: random.fork("shots"), rounds: bootstrapRounds });
  const rightOf = (scores: Float64Array) =>
    predictions(scoredBy(scores)).map((guess, i) => (guess === test.y[i] ? 1 : 0));
  const report: ProbeReport = {
    protocol:
      `frozen encoder, unit rows; taught on gallery patients, tested on query patients; k and C chosen in ${folds} folds of ` +
      `gallery patients; few shots: nearest class mean, ${draws} draws; intervals: 95 % bootstrap over query patients, exact binomial at 0 and 1`,
    modality,
    label,
    classes: task.classes,
    n: {
      train: rows.n,
      test: test.n,
      trainPatients: patients(task.train.groups),
      testPatients: patients(task.test.groups),
      leftOut: task.leftOut,
    },
    chance: { auroc: 0.5, balancedAccuracy: 1 / task.classes.length },
    knn: judge(knn, k),
    linear: judge(linear, strength),
    fewShot: shots.map(({ shots, balancedAccuracy }) => ({ shots, balancedAccuracy })),
  };
  const outcomes: ProbeOutcomes = {
    rows: task.test.ids,
    groups: task.test.groups,
    linear: balanced([rightOf(linear)], test),
    knn: balanced([rightOf(knn)], test),
    fewShot: shots.map(({ shots, hits }) => ({ shots, values: balanced(hits, test) })),
  };
  return { report, outcomes };
}

/** Hits [draws][n] as numbers of each row whose mean is the balanced accuracy: see `ProbeOutcomes`. */
function balanced(hits: readonly ArrayLike<number>[], { y, n }: LabelledRows): Float64Array {
  const counts = new Map<number, number>();
  for (const c of y) counts.set(c, (counts.get(c) ?? 0) + 1);
  return Float64Array.from(y, (c, i) => {
    const share = hits.reduce((sum, of) => sum + of[i], 0) / hits.length;
    return (share * n) / (counts.size * counts.get(c)!);
  });
}

function labelled(set: EmbeddingSet, y: Int32Array, classes: number): LabelledRows {
  return { x: Float64Array.from(normalise(set).vectors), n: set.n, d: set.d, y, classes };
}

function some(rows: LabelledRows, keep: readonly number[]): LabelledRows {
  const { d, classes } = rows;
  const x = new Float64Array(keep.length * d);
  keep.forEach((row, i) => x.set(rows.x.subarray(row * d, (row + 1) * d), i * d));
  return { x, n: keep.length, d, y: Int32Array.from(keep, (row) => rows.y[row]), classes };
}

/** The fold of every teaching row: patients of each class are dealt out one by one, so that every class is in every fold it can be in. */
function foldsOf({ train, yTrain, classes }: Task, folds: number, random: Random): Int32Array {
  const foldOfPatient = new Map<string, number>();
  let next = 0;
  classes.forEach((name, c) => {
    const patients = [...new Set(train.groups.filter((_, i) => yTrain[i] === c))].sort();
    for (const i of random.fork(name).permutation(patients.length)) {
      if (!foldOfPatient.has(patients[i])) foldOfPatient.set(patients[i], next++ % folds);
    }
  });
  return Int32Array.from(train.groups, (group) => foldOfPatient.get(group)!);
}

/** Every fold with what it is taught by; folds in which nothing can be taught are left out. */
function* validations(
  rows: LabelledRows,
  foldOf: Int32Array,
): Generator<{ taught: LabelledRows; asked: LabelledRows; places: number[] }> {
  for (const fold of new Set(foldOf)) {
    const places = Array.from(foldOf.keys()).filter((i) => foldOf[i] === fold);
    const taught = some(
      rows,
      Array.from(foldOf.keys()).filter((i) => foldOf[i] !== fold),
    );
    if (new Set(taught.y).size >= 2) yield { taught, asked: some(rows, places), places };
  }
}

function chooseK(rows: LabelledRows, foldOf: Int32Array): number {
  const scores = PROBE_KS.map(() => new Float64Array(rows.n * rows.classes));
  for (const { taught, asked, places } of validations(rows, foldOf)) {
    knnScoresOf(taught, asked.x, PROBE_KS).forEach((of, which) => {
      places.forEach((row, i) =>
        scores[which].set(of.subarray(i * rows.classes, (i + 1) * rows.classes), row * rows.classes),
      );
    });
  }
  const accuracies = scores.map((of) => balancedAccuracy({ scores: of, y: rows.y, classes: rows.classes }));
  return PROBE_KS[accuracies.lastIndexOf(Math.max(...accuracies))];
}

function chooseStrength(rows: LabelledRows, foldOf: Int32Array): number {
  const losses = PROBE_STRENGTHS.map(() => 0);
  for (const { taught, asked } of validations(rows, foldOf)) {
    fitLogistic(taught, PROBE_STRENGTHS, 1e-4).forEach((probe, which) => {
      const p = predictLogistic(probe, asked.x);
      asked.y.forEach((truth, i) => (losses[which] -= Math.log(Math.max(p[i * rows.classes + truth], 1e-12))));
    });
  }
  return PROBE_STRENGTHS[losses.indexOf(Math.min(...losses))];
}

function fewShots(
  task: Task,
  rows: LabelledRows,
  test: LabelledRows,
  { draws, random, rounds }: { draws: number; random: Random; rounds: number },
): (FewShot & { readonly hits: readonly Int32Array[] })[] {
  const { d, classes } = rows;
  const patientsOf = task.classes.map((_, c) => new Set(task.train.groups.filter((_, i) => rows.y[i] === c)).size);
  const possible = PROBE_SHOTS.filter((shots) => shots <= Math.min(...patientsOf));
  return possible.map((shots) => {
    const hits = Array.from({ length: draws }, (_, draw) => {
      const means = new Float64Array(classes * d);
      for (let c = 0; c < classes; c++) {
        for (const row of drawRows(task, c, shots, random.fork(`${shots} of class ${c}, draw ${draw}`))) {
          for (let t = 0; t < d; t++) means[c * d + t] += rows.x[row * d + t];
        }
        const length = Math.sqrt(means.subarray(c * d, (c + 1) * d).reduce((sum, x) => sum + x * x, 0)) || 1;
        for (let t = 0; t < d; t++) means[c * d + t] /= length;
      }
      const scores = dotProducts(test.x, means, d);
      return predictions({ scores, y: test.y, classes }).map((guess, i) => (guess === test.y[i] ? 1 : 0));
    });
    const options = { random: random.fork("bootstrap"), rounds };
    return { shots, hits, balancedAccuracy: drawnAccuracy(hits, task, test, options) };
  });
}

/** Rows of a class, each of another patient. */
function drawRows({ train, yTrain }: Task, c: number, shots: number, random: Random): number[] {
  const own = Array.from(yTrain.keys()).filter((i) => yTrain[i] === c);
  const seen = new Set<string>();
  const drawn: number[] = [];
  for (const i of random.permutation(own.length)) {
    if (drawn.length === shots || seen.has(train.groups[own[i]])) continue;
    seen.add(train.groups[own[i]]);
    drawn.push(own[i]);
  }
  return drawn;
}

/** Balanced accuracy over draws [draws][n]; every round of the bootstrap draws patients, and as many draws as there are. */
function drawnAccuracy(
  hits: readonly Int32Array[],
  task: Task,
  test: LabelledRows,
  options: { random: Random; rounds: number },
): Interval {
  const drawRandom = options.random.fork("draws");
  let first = true;
  const [sums, counts] = [new Float64Array(test.classes), new Float64Array(test.classes)];
  const statistic = (weights: Int32Array): readonly number[] => {
    const chosen = hits.map((of) => (first ? of : hits[drawRandom.int(hits.length)]));
    first = false; // the value itself is of all draws; rounds draw among them
    sums.fill(0);
    counts.fill(0);
    // Whole numbers, so that the order of the sums is free.
    for (let i = 0; i < weights.length; i++) counts[test.y[i]] += weights[i] * chosen.length;
    for (const of of chosen) for (let i = 0; i < weights.length; i++) sums[test.y[i]] += weights[i] * of[i];
    const present = Array.from(counts.keys()).filter((c) => counts[c] > 0);
    return [present.reduce((sum, c) => sum + sums[c] / counts[c], 0) / present.length];
  };
  const [interval] = bootstrap(task.test.groups, statistic, options);
  return exactAtEnds(interval, new Set(task.test.groups).size, 0.95);
}
