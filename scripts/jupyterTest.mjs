/**
 * The notebooks in a real Jupyter: JupyterLab from pip, the tslab kernel of this project, headless Chromium. Opens every
 * notebook, runs all cells, and looks at the pixels. Where Python, JupyterLab or a Chromium is missing it says so in one line
 * and ends well, because npm test covers the notebooks without them.
 *
 *   npm run test:jupyter -- [--only 01-mae,02-simdino] [--artefacts DIR] [--figure FILE.png]
 *
 * M3RET_CHROMIUM names a browser, M3RET_JUPYTER_PYTHON a Python that has JupyterLab; otherwise both are looked for.
 */
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { Browser } from "./jupyter/browser.mjs";
import { LeftOut, findChromium, makeRun, prepareWork, pythonWithJupyter, startJupyter } from "./jupyter/server.mjs";

const { values } = parseArgs({
  options: {
    only: { type: "string" },
    artefacts: { type: "string", default: "artefacts/jupyter" },
    figure: { type: "string" },
  },
});
const root = resolve(import.meta.dirname, "..");
const scratch = mkdtempSync(join(tmpdir(), "m3ret-jupyter-"));
const artefacts = resolve(values.artefacts);
const began = performance.now();
const say = (text) => console.log(`[${((performance.now() - began) / 1000).toFixed(0).padStart(4)} s] ${text}`);

const tally = { passed: 0, failed: 0 };
/** One check by its sentence: it passes unless it throws. */
async function check(sentence, work) {
  try {
    const more = await work();
    tally.passed++;
    say(`✓ ${sentence}${more ? ` (${more})` : ""}`);
  } catch (error) {
    tally.failed++;
    say(
      `✗ ${sentence}: ${String(error.message ?? error)
        .split("\n")
        .slice(0, 6)
        .join(" | ")}`,
    );
  }
}

let server;
let browser;
try {
  const chromium = findChromium();
  const python = pythonWithJupyter(scratch, say);
  const work = prepareWork(root, scratch);
  say("making the smoke run that the notebooks show");
  makeRun(root, work);
  server = await startJupyter({ root, scratch, python, work });
  say(`JupyterLab ${server.version} with the tslab kernel`);
  mkdirSync(artefacts, { recursive: true });
  browser = await Browser.open(chromium, server, artefacts, scratch, values.figure && resolve(values.figure));

  const wanted = values.only?.split(",");
  const names = readdirSync(work.notebooks)
    .filter((name) => name.endsWith(".ipynb") && !name.startsWith("interrupt"))
    .map((name) => name.replace(".ipynb", ""))
    .filter((name) => !wanted || wanted.includes(name))
    .sort();

  for (const name of names) {
    let opened;
    await check(`${name} runs all its cells without an error`, async () => {
      opened = await browser.runAll(name);
      return `${opened.cells} cells, ${opened.seconds.toFixed(0)} s`;
    });
    if (!opened) continue;
    await check(`${name} draws its figures: every one has pixels that vary, and no two are alike`, () =>
      opened.figures(),
    );
    await check(`${name} sets its mathematics and its tables`, () => opened.typesetting());
    if (opened.trains) {
      await check(`${name} updates its training in place while it goes`, () => opened.updatedInPlace());
    }
    await opened.close();
  }
  if (!wanted || wanted.includes("01-mae")) {
    await check("■ stops a training between two steps, keeps what it learned, and the next cell runs", () =>
      browser.interrupts("interrupt"),
    );
  }
} catch (error) {
  if (!(error instanceof LeftOut)) throw error;
  console.log(`m3ret in jupyter: left out, ${error.message}`);
} finally {
  await browser?.close();
  await server?.stop();
  rmSync(scratch, { recursive: true, force: true, maxRetries: 5 });
}
if (tally.passed + tally.failed > 0) {
  console.log(`m3ret in jupyter: ${tally.passed} passed, ${tally.failed} failed`);
}
process.exit(tally.failed > 0 ? 1 : 0);
