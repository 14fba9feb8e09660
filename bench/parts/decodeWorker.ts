/**
 * A thread that decodes the files it is told, one after the other, and says how many values they hold. Nothing but the readers is
 * loaded, as in the peer: whatever else lives in memory is looked at by every garbage collection.
 */
import { parentPort } from "node:worker_threads";
import { readFile, recycle } from "m3ret/readers";

parentPort!.on("message", (paths: readonly string[]) => {
  void (async () => {
    let values = 0;
    for (const path of paths) {
      const decoded = await readFile(path);
      values += decoded.pixels.length;
      recycle(decoded); // as the peer does, whose arrays are free when nobody has them any more
    }
    parentPort!.postMessage(values);
  })();
});
