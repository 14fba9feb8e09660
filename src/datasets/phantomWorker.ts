/** Entry of a worker thread that makes its share of the phantoms, and says so patient by patient. */
import { parentPort, workerData } from "node:worker_threads";
import { renderShare, type Share } from "./phantomPlan.js";

for (const done of renderShare(workerData as Share)) parentPort?.postMessage(done);
