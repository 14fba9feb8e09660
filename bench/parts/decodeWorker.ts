/** A thread that decodes the files it is told, one after the other, and says how many values they hold. */
import { parentPort } from "node:worker_threads";
import { readFile } from "m3ret";

parentPort!.on("message", (paths: readonly string[]) => {
  void (async () => {
    let values = 0;
    for (const path of paths) values += (await readFile(path)).pixels.length;
    parentPort!.postMessage(values);
  })();
});
