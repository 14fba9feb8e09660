/** A thread that decodes the file it is told, and says how many values it holds. */
import { parentPort } from "node:worker_threads";
import { readFile } from "m3ret";

parentPort!.on("message", (path: string) => {
  void readFile(path).then(({ pixels }) => parentPort!.postMessage(pixels.length));
});
