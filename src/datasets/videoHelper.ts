/**
 * A process that decodes videos for its parent, one after the other. It takes a request as one JSON line on its input; it answers
 * on its output with frames, a JSON line `{"width", "height", "planes"}` and then the bytes of red, green and blue, or of one plane where
 * all three are equal, and with one last line, an `AddonAnswer`. It ends when its input does. Everything is done in turn, so that the parent's pace is its own.
 */
import { readSync, writeSync, writevSync } from "node:fs";
import { loadAddon } from "./videoAddon.js";
import { answer, type AddonRequest } from "./videoAddonDecode.js";

const ERRORS_ONLY = 16; // AV_LOG_ERROR

async function main(addonPath: string): Promise<void> {
  const addon = loadAddon(addonPath);
  addon.Log.setLevel(ERRORS_ONLY);
  writeSync(1, '{"ready":true}\n');
  for (const line of lines(0)) {
    const answered = answer(addon, JSON.parse(line) as AddonRequest, (width, height, [red, green, blue]) => {
      const planes = red.equals(green) && red.equals(blue) ? [red] : [red, green, blue]; // most films of ultrasound are grey
      writeAll(Buffer.from(`${JSON.stringify({ width, height, planes: planes.length })}\n`), ...planes);
    });
    writeSync(2, "\0\n"); // what FFmpeg says of the next file comes after this
    writeAll(Buffer.from(`${JSON.stringify(answered)}\n`));
    await new Promise((next) => setImmediate(next)); // what was freed is freed now
  }
}

function writeAll(...parts: readonly Uint8Array[]): void {
  let left = [...parts];
  while (left.length > 0) {
    let written = writevSync(1, left);
    while (left.length > 0 && written >= left[0].length) written -= left.shift()!.length;
    if (left.length > 0) left[0] = left[0].subarray(written);
    left = left.filter(({ length }) => length > 0);
  }
}

function* lines(file: number): Generator<string> {
  const chunk = Buffer.alloc(65536);
  let text = "";
  for (;;) {
    let length = 0;
    try {
      length = readSync(file, chunk);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EOF") throw error; // what Windows calls the end of a pipe
    }
    if (length === 0) return;
    const found = (text + chunk.toString("utf8", 0, length)).split("\n");
    text = found.pop()!;
    for (const line of found) yield line;
  }
}

main(process.argv[2]).catch((error: unknown) => {
  if ((error as NodeJS.ErrnoException).code !== "EPIPE") throw error; // the parent has what it wants, or is gone
});
