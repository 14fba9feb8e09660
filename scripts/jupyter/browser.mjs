/** Notebooks as a person sees them: opened in Chromium, run, looked at pixel by pixel. */
import { mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { chromium } from "playwright-core";
import sharp from "sharp";

const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
const MOST_SECONDS = 300;
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** Runs in the page: what every code cell says of itself. */
const readCells = `(() => {
  const panel = document.querySelector(".jp-NotebookPanel:not(.lm-mod-hidden)");
  return [...panel.querySelectorAll(".jp-CodeCell")].map((cell) => ({
    prompt: cell.querySelector(".jp-InputPrompt").textContent,
    source: cell.querySelector(".cm-content")?.textContent ?? "",
    errors: [...cell.querySelectorAll('[data-mime-type="application/vnd.jupyter.stderr"]')].map((e) => e.textContent),
    outputs: cell.querySelectorAll(".jp-OutputArea-child").length,
    text: cell.querySelector(".jp-OutputArea")?.textContent ?? "",
    // A training is drawn as one SVG, which JupyterLab shows as an image.
    training: [...cell.querySelectorAll(".jp-RenderedSVG img, .jp-RenderedSVG svg")]
      .map((e) => (e.src ? decodeURIComponent(e.src) : e.outerHTML))
      .map((svg) => svg.match(/: step (\\d+) of (\\d+)</)).filter((m) => m).map((m) => Number(m[1])),
    ended: [...cell.querySelectorAll(".jp-RenderedSVG img, .jp-RenderedSVG svg")]
      .map((e) => (e.src ? decodeURIComponent(e.src) : e.outerHTML))
      .map((svg) => (svg.match(/>((?:finished|interrupted|stopped) after [^<]*)</) ?? [])[1]).filter((m) => m),
  }));
})()`;

export class Browser {
  /** @param figure where the picture for the README goes: a training of 02-simdino under way */
  static async open(executablePath, server, artefacts, scratch, figure) {
    const options = { executablePath, headless: true, args: FLAGS, viewport: { width: 1280, height: 860 } };
    const context = await chromium.launchPersistentContext(join(scratch, "profile"), options);
    return new Browser(context, server, artefacts, figure);
  }

  constructor(context, server, artefacts, figure) {
    Object.assign(this, { context, server, artefacts, figure });
  }

  close() {
    return this.context.close();
  }

  /** Opens a notebook and waits until its kernel listens. */
  async openNotebook(name) {
    const { url, token } = this.server;
    const page = await this.context.newPage();
    await page.goto(`${url}/lab/tree/${name}.ipynb?token=${token}&reset`, { waitUntil: "domcontentloaded" });
    await page.waitForSelector(".jp-NotebookPanel .jp-CodeCell .cm-content", { timeout: 90_000 });
    await page.waitForFunction(
      'window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === "idle"',
      undefined,
      { timeout: 90_000 },
    );
    return page;
  }

  async runAll(name) {
    const page = await this.openNotebook(name);
    const began = performance.now();
    // Not awaited in the page: the command ends with the last cell.
    await page.evaluate('void window.jupyterapp.commands.execute("notebook:run-all-cells")');
    const steps = new Map();
    let cells = [];
    let picture = name === "02-simdino" ? this.figure : undefined;
    for (let quiet = 0; quiet < 3;) {
      if (performance.now() - began > 1000 * MOST_SECONDS) throw new Error(`longer than ${MOST_SECONDS} s`);
      await sleep(150);
      cells = await page.evaluate(readCells);
      for (const [i, { training, outputs }] of cells.entries()) {
        if (training.length === 0) continue;
        const seen = steps.get(i) ?? { values: new Set(), outputs: new Set() };
        seen.values.add(training[0]);
        seen.outputs.add(outputs);
        steps.set(i, seen);
      }
      if (picture && cells.some(({ training: [step] }) => step >= 40)) {
        await this.takePicture(page, picture);
        picture = undefined;
      }
      const [running, ran] = [/\*/, /\d/].map((mark) => cells.some(({ prompt }) => mark.test(prompt)));
      quiet = ran && !running ? quiet + 1 : 0;
    }
    const seconds = (performance.now() - began) / 1000;
    await page.screenshot({ path: join(this.artefacts, `${name}.png`) });
    const failed = cells.findIndex(({ errors }) => errors.some((text) => /Error|error TS|\d+:\d+ - /.test(text)));
    if (failed >= 0) throw new Error(`cell ${failed + 1}: ${cells[failed].errors.join(" ")}`);
    const left = cells.findIndex(({ prompt }) => !/\[\d+\]/.test(prompt));
    if (left >= 0) throw new Error(`cell ${left + 1} of ${cells.length} did not run (${cells[left].prompt})`);
    return new Opened(this, page, name, { cells: cells.length, seconds, steps });
  }

  /** The page with its newest training in view, small enough for a README. */
  async takePicture(page, file) {
    await page.locator(".jp-RenderedSVG").last().scrollIntoViewIfNeeded();
    const png = await page.screenshot();
    mkdirSync(dirname(file), { recursive: true });
    await sharp(png).resize({ width: 1000 }).png({ palette: true, colours: 128 }).toFile(file);
  }

  /** Runs a training that has no end, presses ■, and looks at what is left. */
  async interrupts(name) {
    const page = await this.openNotebook(name);
    await page.evaluate('void window.jupyterapp.commands.execute("notebook:run-all-cells")');
    const training = async (is, seconds) => {
      const began = performance.now();
      for (;;) {
        const cells = await page.evaluate(readCells);
        if (is(cells)) return { cells, waited: (performance.now() - began) / 1000 };
        if (performance.now() - began > 1000 * seconds) {
          const state = cells.map(({ prompt, training }) => `${prompt} ${training}`).join(" ");
          throw new Error(`nothing of the kind within ${seconds} s: ${state}`);
        }
        await sleep(100);
      }
    };
    await training((cells) => cells.some(({ training: [step] }) => step >= 60), 180);
    const shown = page.locator(".jp-RenderedSVG").last();
    await shown.scrollIntoViewIfNeeded();
    await page.screenshot({ path: join(this.artefacts, "training.png") });
    await page.locator('[data-command="notebook:interrupt-kernel"]').first().click();
    const { cells, waited } = await training((all) => all.some(({ ended }) => ended.length > 0), 30);
    const { ended } = cells.find((cell) => cell.ended.length > 0);
    if (!ended[0].startsWith("interrupted")) throw new Error(`expected "interrupted after …", got "${ended[0]}"`);
    const after = await training((all) => /\[\d+\]/.test(all.at(-1).prompt), 30);
    const kept = after.cells.at(-1).text.match(/kept (\d+) steps, interrupted: true/);
    if (!kept) throw new Error(`the next cell says: ${after.cells.at(-1).text}`);
    const steps = after.cells.find(({ training }) => training.length > 0).training[0];
    await sleep(1500);
    const later = (await page.evaluate(readCells)).find(({ training }) => training.length > 0).training[0];
    if (later !== steps) throw new Error(`it goes on in the background: step ${steps}, then ${later}`);
    await page.screenshot({ path: join(this.artefacts, "interrupted.png") });
    await page.close();
    return `${kept[1]} steps kept, left ${waited.toFixed(1)} s after ■`;
  }
}

/** A notebook that has run. */
class Opened {
  constructor(browser, page, name, { cells, seconds, steps }) {
    Object.assign(this, { browser, page, name, cells, seconds, steps });
  }

  get trains() {
    return this.steps.size > 0;
  }

  updatedInPlace() {
    const told = [...this.steps.values()].map(({ values, outputs }) => {
      if (values.size < 3) throw new Error(`only ${values.size} states were seen: ${[...values]}`);
      // The display is the cell's first output; what the cell prints at its end may follow.
      if (Math.max(...outputs) > 2) throw new Error(`${Math.max(...outputs)} outputs where one is updated`);
      return `${values.size} states`;
    });
    return told.join(", ");
  }

  /** Screenshots of every figure; an image that is blank, broken or the twin of another is an error. */
  async figures() {
    const pictures = this.page.locator(
      ".jp-OutputArea-output.jp-RenderedSVG, .jp-OutputArea-output.jp-RenderedImage, .jp-OutputArea-output .js-plotly-plot",
    );
    const n = await pictures.count();
    if (n === 0) throw new Error("no figure");
    const seen = new Map();
    for (let i = 0; i < n; i++) {
      const picture = pictures.nth(i);
      await picture.scrollIntoViewIfNeeded();
      const png = await picture.screenshot();
      const { channels, entropy } = await sharp(png).removeAlpha().stats();
      const spread = Math.max(...channels.map(({ stdev }) => stdev));
      if (spread < 5 || entropy < 0.1) {
        throw new Error(
          `figure ${i + 1} of ${n} is blank (spread ${spread.toFixed(1)}, entropy ${entropy.toFixed(2)})`,
        );
      }
      const twin = seen.get(png.toString("base64"));
      if (twin !== undefined) throw new Error(`figures ${twin + 1} and ${i + 1} are the same`);
      seen.set(png.toString("base64"), i);
      if (i === 0) await sharp(png).toFile(join(this.browser.artefacts, `${this.name}-figure.png`));
    }
    const refused = await this.page.locator("text=Cannot display an untrusted").count();
    if (refused > 0) throw new Error(`${refused} figures are not shown, because JupyterLab does not trust them`);
    return `${n} figures`;
  }

  async typesetting() {
    const { formulas, raw, tables } = await this.page.evaluate(`(() => {
      const panel = document.querySelector(".jp-NotebookPanel:not(.lm-mod-hidden)");
      const markdown = [...panel.querySelectorAll(".jp-RenderedMarkdown, .jp-RenderedHTMLCommon")];
      return {
        formulas: panel.querySelectorAll("mjx-container").length,
        raw: markdown.filter((e) => /\\$\\$|\\\\frac/.test(e.innerText)).length,
        tables: panel.querySelectorAll("table").length,
      };
    })()`);
    if (raw > 0) throw new Error(`${raw} pieces of mathematics are left as they were typed`);
    if (tables === 0) throw new Error("no table");
    return `${formulas} formulas, ${tables} tables`;
  }

  /** Closes the page and ends the kernel. */
  async close() {
    const { url, token } = this.browser.server;
    const sessions = await (await fetch(`${url}/api/sessions?token=${token}`)).json();
    for (const { id, path } of sessions) {
      if (path !== `${this.name}.ipynb`) continue;
      await fetch(`${url}/api/sessions/${id}`, { method: "DELETE", headers: { Authorization: `token ${token}` } });
    }
    await this.page.close();
  }
}
