/** Entry of a worker thread that makes batches from files, one after the other. */
import { parentPort, workerData } from "node:worker_threads";
import { bufferOf } from "./collate.js";
import { streamBatch, type StreamData, type StreamQuestion } from "./streamBatch.js";
import { failed } from "./workerBatches.js";

const data = workerData as StreamData;
let last: Promise<void> = Promise.resolve();

parentPort?.on("message", (question: StreamQuestion) => {
  // One at a time: each holds the samples of a batch.
  last = last.then(async () => {
    try {
      const reply = await streamBatch(data, question);
      parentPort?.postMessage(reply, reply.batch ? [bufferOf(reply.batch)] : []);
    } catch (error) {
      parentPort?.postMessage(failed(question.step, error));
    }
  });
});
