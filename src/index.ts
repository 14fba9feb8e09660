/** The library, in the order in which data flows. Notebooks import from here. */
export * from "./types.js";
export { Random } from "./random.js";
export { displayProgress, terminalProgress, formatSeconds } from "./progress.js";
export { holdInterrupt, untilInterrupted } from "./interrupt.js";

// datasets
export { entryOf, labelSetsOf, loadCatalog } from "./datasets/catalog.js";
export type { Catalog, Entry, Preprocessing } from "./datasets/catalog.js";
export type { DataRecord, Dataset, SkippedFile } from "./datasets/dataset.js";
export { inspect } from "./datasets/inspect.js";
export { openManifest } from "./datasets/manifest.js";
export { mixture, strataOf } from "./datasets/mixture.js";
export { entryFor, openDataset } from "./datasets/open.js";
export { testSplits } from "./datasets/publicSplit.js";
export { readFile } from "./datasets/read.js";
export { recycle } from "./datasets/pixelMemory.js";

// transforms
export { percentileScale, rangeScale, windowHu } from "./transforms/intensity.js";
export { gridOf, padDepth, patchify, unpatchify } from "./transforms/patchify.js";
export { prepareAll, prepareSample } from "./transforms/prepare.js";
export { resize } from "./transforms/resize.js";
export { straightened } from "./transforms/straighten.js";
export { multiCrop, singleCrop, standardise } from "./transforms/views.js";
export { showAs } from "./transforms/voi.js";

// encoder
export { loadEncoder, saveEncoder } from "./encoder/checkpoint.js";
export { encoderConfig, PRESETS } from "./encoder/config.js";
export { embedTokens, embedVectors } from "./encoder/embed.js";
export { openOnnxEncoder } from "./encoder/embedOnnx.js";
export { exportEncoder } from "./encoder/export.js";
export { sineCosine3d } from "./encoder/positions.js";
export { loadTimmVit } from "./encoder/timmVit.js";
export { initEncoder } from "./encoder/vit.js";
export type { Encoder, Pooling } from "./encoder/vit.js";
export { startBackend } from "./engine/backend.js";
export { startEngine } from "./engine/engine.js";
export type { Engine, EngineName } from "./engine/engine.js";
export { matMul } from "./engine/ops.js";
export type { Runner, StepInput } from "./engine/runner.js";

// trainers
export { initState, stepFunction, train, trainedEncoder } from "./trainers/loop.js";
export { decoderFor, mae, maeLoss } from "./trainers/mae.js";
export type { Objective } from "./trainers/objective.js";
export { pretrain, readLog } from "./trainers/pretrain.js";
export { listSnapshots, snapshotSteps } from "./trainers/snapshots.js";
export { loadMae, maeOf, predictsNothing, reconstructSamples } from "./trainers/reconstruction.js";
export type { MaeModel, Reconstruction } from "./trainers/reconstruction.js";
export {
  codingRate,
  codingRateScales,
  collapseState,
  collapseWarning,
  expansionLimits,
  headFor,
  PUBLISHED_CODING_RATE,
  simdino,
  simdinoLoss,
} from "./trainers/simdino.js";
export { stepScalars } from "./trainers/step.js";

// embeddings and retrieval
export {
  centrePerModality,
  embeddingSet,
  loadEmbeddings,
  normalise,
  pixelEmbeddings,
  saveEmbeddings,
  selectRows,
} from "./embeddings.js";
export type { EmbeddingSet } from "./embeddings.js";
export type { Interval } from "./retrieval/bootstrap.js";
export { buildIndex } from "./retrieval/hnsw.js";
export { jaccard, labelsIn, ndcgAtK } from "./retrieval/labelSets.js";
export { evaluateQueries, evaluateRetrieval, outcome } from "./retrieval/protocol.js";
export { evaluationOf, protocolId, protocolMarkdown, protocolOf, PROTOCOLS } from "./retrieval/protocols.js";
export type { Protocol } from "./retrieval/protocols.js";
export { assertDisjoint, galleryOf, queriesOf } from "./retrieval/sides.js";
export { holm, pairedTest } from "./retrieval/significance.js";
export { exactSearch } from "./retrieval/search.js";

// analysis
export { alignment, crossModalMatrix, modalityGap, pairRetrieval, pairRows, uniformity } from "./analysis/alignment.js";
export {
  BETTER,
  FEWEST_PAIRS,
  MEASURES,
  measureAlignment,
  modalityPairs,
  pairCount,
} from "./analysis/alignmentMeasures.js";
export { alignmentRows, alignmentTable, falseDiscovery, nullTable } from "./analysis/alignmentTable.js";
export type { AlignmentContestant, AlignmentRow } from "./analysis/alignmentTable.js";
export { linearCka } from "./analysis/cka.js";
export { contactSheet, pictureOf } from "./analysis/contactSheet.js";
export { curveFigure } from "./analysis/curveFigure.js";
export {
  barFigure,
  displayFigure,
  displayInteractive,
  heatmapFigure,
  lossFigure,
  recallFigure,
  saveFigure,
  umapFigure,
} from "./analysis/figures.js";
export { compare, compareScores, comparisonRows, remarkOn } from "./analysis/comparisons.js";
export { drawGallery, galleryRows } from "./analysis/gallery.js";
export { markdownTable } from "./analysis/markdownTable.js";
export { liveTraining, watchTraining } from "./analysis/liveTraining.js";
export type { LiveTraining } from "./analysis/liveTraining.js";
export { printFigure, savePrint } from "./analysis/printFigure.js";
export { recallTable, toDataFrame, toMarkdown, toText } from "./analysis/tables.js";
export { captionOf, saveTables, toLatex } from "./analysis/tableFiles.js";
export { whyNoProbe, probe, probeRows } from "./analysis/probe.js";
export type { ProbeReport } from "./analysis/probe.js";
export { probeTable } from "./analysis/probeTable.js";
export type { ProbeResult } from "./analysis/probeTable.js";
export { trapWords } from "./analysis/traps.js";
export { trustworthiness } from "./analysis/trustworthiness.js";
export { umap2d } from "./analysis/umap.js";
export { fitWhitening, whiten, WHITENING_FLOOR } from "./analysis/whiten.js";

// the experiment
export { makeCeilings, storedCeilings } from "./ceiling.js";
export { embedBaselines } from "./baselines.js";
export { claimsMarkdown, claimsOf, PRIMARY, whyNotMarkdown } from "./claims.js";
export { embedEvaluation, embedPixels, loadData, pretrainMethod, untrainedEncoder } from "./experiment.js";
export { embedConfigured, embedWithOnnx, encodersHere } from "./external.js";
export { growthFigure, growthReadings, loadGrowth } from "./growth.js";
export { judge } from "./judge.js";
export {
  alignmentFigure,
  alignmentOf,
  compareProbes,
  contestants,
  fewShotFigure,
  likeForLike,
  probesOf,
  twinOf,
} from "./measures.js";
export { EXPERIMENTS, encoderOf, METHOD_NAMES, METHODS, objectiveOf, presetOf } from "./presets.js";
export { reproduce } from "./reproduce.js";
export { openStream, pretrainStream } from "./streamed.js";
export { hasRun, notebookSettings, openOrRun, runExperiment, runFolder } from "./run.js";
export {
  crossModalHeatmap,
  embeddingMap,
  mapFigures,
  mapPage,
  lossCurves,
  mriTransfer,
  pictureReader,
  recallByModality,
} from "./story.js";

// sweeps: many points of one experiment
export { fitPowerLaw, powerLawWords } from "./analysis/powerLaw.js";
export { effectsFigure, scalingFigure } from "./analysis/sweepFigures.js";
export { findRuns, runsPlot, summariseRun } from "./runs.js";
export { collect } from "./sweeps/collect.js";
export { collectedCsv, collectedMarkdown, effectWords, mainEffects } from "./sweeps/collectedTables.js";
export { mixedFigure, mixedMarkdown, mixedWords } from "./sweeps/mixed.js";
export type { MixedRow } from "./sweeps/mixed.js";
export { runPoint } from "./sweeps/point.js";
export { ceilingMarkdown, readingsMarkdown, readingTables } from "./sweeps/readingTables.js";
export type { ReadingTable } from "./sweeps/readingTables.js";
export {
  absentSweep,
  effectsFigureOf,
  effectsFrame,
  effectsWords,
  provenance,
  readCollected,
  scalingFigureOf,
  scalingSeries,
} from "./sweeps/read.js";
export { schedulerScript } from "./sweeps/script.js";
export { loadSweep, parseSweep } from "./sweeps/sweepFile.js";
export { describeAll, resolveVariant } from "./sweeps/variant.js";
export type { EmbeddingMap } from "./story.js";
