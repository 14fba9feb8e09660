/** Entry of a worker thread that makes batches, one for each question, in the order in which they come. */
import { parentPort, workerData } from "node:worker_threads";
import { Random } from "../random.js";
import { bufferOf, collate } from "./collate.js";
import { failed, type Answer, type LoaderData, type Question } from "./workerBatches.js";

const { spec, samples } = workerData as LoaderData;

function answer({ step, places, random, memory }: Question): Answer {
  try {
    const members = Array.from(places, (place) => samples[place]);
    return { step, batch: collate(spec, members, new Random(random), memory) };
  } catch (error) {
    return failed(step, error);
  }
}

parentPort?.on("message", (question: Question) => {
  const reply = answer(question);
  parentPort?.postMessage(reply, "batch" in reply ? [bufferOf(reply.batch)] : []);
});
