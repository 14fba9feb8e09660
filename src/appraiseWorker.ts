/** Entry of the thread that judges and measures a run. */
import { parentPort, workerData } from "node:worker_threads";
import { appraise, type FromAppraiser, type RunToAppraise } from "./appraise.js";

const say = (what: FromAppraiser) => parentPort?.postMessage(what);
say({ appraisal: appraise(workerData as RunToAppraise, (progress) => say({ progress })) });
