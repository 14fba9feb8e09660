/** Entry of a worker thread that makes batches, one for each question, in the order in which they come. */
import { parentPort, workerData } from "node:worker_threads";
import { Random } from "../random.js";
import { InputError } from "../types.js";
import { bufferOf, collate } from "./collate.js";
import type { Answer, LoaderData, Question } from "./workerBatches.js";

const { spec, samples } = workerData as LoaderData;

function answer({ step, places, random, memory }: Question): Answer {
  try {
    const members = Array.from(places, (place) => samples[place]);
    return { step, batch: collate(spec, members, new Random(random), memory) };
  } catch (error) {
    const said = error instanceof Error ? error : new Error(String(error));
    return { step, wrongInput: error instanceof InputError, message: said.message, stack: said.stack };
  }
}

parentPort?.on("message", (question: Question) => {
  const reply = answer(question);
  parentPort?.postMessage(reply, "batch" in reply ? [bufferOf(reply.batch)] : []);
});
