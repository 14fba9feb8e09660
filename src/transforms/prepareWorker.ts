/** Entry of a worker thread that reads and prepares files of one folder. */
import { parentPort, workerData } from "node:worker_threads";
import { readRecord } from "../datasets/folder.js";
import { prepareOne } from "./prepare.js";
import type { PrepareData, PrepareQuestion, Prepared } from "./prepareWorkers.js";

const { root, preprocessing } = workerData as PrepareData;
const dataset = { root, read: readRecord(root) };

parentPort?.on("message", ({ index, record }: PrepareQuestion) => {
  void prepareOne(dataset, record, preprocessing).then((result) => {
    const answer: Prepared = { index, result };
    parentPort?.postMessage(answer, "pixels" in result ? [result.pixels.buffer as ArrayBuffer] : []);
  });
});
