/** Everything around the browser: Python, the kernel's registration, copies of the notebooks, the server. */
import { spawn, spawnSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { delimiter, join } from "node:path";

/** What this machine lacks; not a failure of ours. */
export class LeftOut extends Error {}

/** The first Chromium on the PATH, or the one that M3RET_CHROMIUM names. */
export function findChromium() {
  const named = process.env.M3RET_CHROMIUM;
  if (named) return named;
  const names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
  const places = (process.env.PATH ?? "").split(delimiter).flatMap((folder) => names.map((name) => join(folder, name)));
  const found = places.find((path) => existsSync(path));
  if (!found) throw new LeftOut("no Chromium on the PATH (Debian: apt-get install chromium)");
  return found;
}

/** A Python with JupyterLab: the one that M3RET_JUPYTER_PYTHON names, or a new virtual environment. */
export function pythonWithJupyter(scratch, say) {
  const named = process.env.M3RET_JUPYTER_PYTHON;
  if (named) return named;
  const python = join(scratch, "venv", "bin", "python");
  const lastLine = ({ stderr, error }) => (String(stderr ?? "").trim() || String(error)).split("\n").at(-1);
  say("installing JupyterLab from pip");
  const made = spawnSync("python3", ["-m", "venv", join(scratch, "venv")], { encoding: "utf8" });
  if (made.status !== 0) throw new LeftOut(`no virtual environment of Python (${lastLine(made)})`);
  const pip = [
    "-m",
    "pip",
    "install",
    "--quiet",
    "--no-compile",
    "--no-cache-dir",
    "--retries",
    "0",
    "--timeout",
    "15",
  ];
  const installed = spawnSync(python, [...pip, "jupyterlab"], { encoding: "utf8", timeout: 240_000 });
  if (installed.status !== 0) throw new LeftOut(`pip installs no jupyterlab here (${lastLine(installed)})`);
  return python;
}

/**
 * A folder beside which everything resolves as in the project: copies of the notebooks without outputs, so that what is seen was
 * drawn now, and one more that trains for hours unless it is interrupted.
 */
export function prepareWork(root, scratch) {
  const folder = join(scratch, "work");
  const notebooks = join(folder, "notebooks");
  mkdirSync(notebooks, { recursive: true });
  for (const name of ["node_modules", "recipes", "figures"]) symlinkSync(join(root, name), join(folder, name));
  for (const name of readdirSync(join(root, "notebooks")).filter((file) => file.endsWith(".ipynb"))) {
    const notebook = JSON.parse(readFileSync(join(root, "notebooks", name), "utf8"));
    for (const cell of notebook.cells) {
      if (cell.cell_type === "code") Object.assign(cell, { outputs: [], execution_count: null });
    }
    writeFileSync(join(notebooks, name), JSON.stringify(notebook));
    if (name === "01-mae.ipynb") writeFileSync(join(notebooks, "interrupt.ipynb"), JSON.stringify(endless(notebook)));
  }
  const env = {
    M3RET_PRESET: "smoke",
    M3RET_SEED: "7",
    M3RET_RUNS: join(folder, "runs"),
    M3RET_CACHE: process.env.M3RET_CACHE ?? join(folder, ".cache"),
  };
  return { folder, notebooks, env };
}

/** The notebook up to its training, which now takes so many steps that only an interrupt ends it, and a cell that looks. */
function endless(notebook) {
  const source = (cell) => [cell.source].flat().join("");
  const training = notebook.cells.findIndex((cell) => source(cell).includes("liveTraining("));
  const cells = structuredClone(notebook.cells.slice(0, training + 1));
  const settings = cells.find((cell) => /steps: \d+/.test(source(cell)));
  settings.source = source(settings).replace(/steps: \d+/, "steps: 1000000");
  const look = "console.log(`kept ${live.log.length} steps, interrupted: ${live.interrupted}`);";
  cells.push({ cell_type: "code", id: "look", metadata: {}, source: look, outputs: [], execution_count: null });
  return { ...notebook, cells };
}

/** The run that all notebooks load. */
export function makeRun(root, { env }) {
  const { M3RET_PRESET: preset, M3RET_RUNS: runs, M3RET_CACHE: cacheDir, M3RET_SEED: seed } = env;
  const options = JSON.stringify({ preset, runs, cacheDir, seed: Number(seed) });
  const index = JSON.stringify(join(root, "dist", "index.js"));
  const script = `import(${index}).then((m3ret) => m3ret.runExperiment(${options})).then(() => process.exit(0))`;
  const made = spawnSync(process.execPath, ["-e", script], { env: { ...process.env, ...env }, encoding: "utf8" });
  if (made.status !== 0) throw new Error(`the smoke run failed: ${made.stderr}`);
}

const freePort = () =>
  new Promise((done, fail) => {
    const probe = createServer().on("error", fail);
    probe.listen(0, "127.0.0.1", () => {
      const { port } = probe.address();
      probe.close(() => done(port));
    });
  });

/** JupyterLab on 127.0.0.1 behind a token, with nothing of this user's settings, and the kernel of this project alone. */
export async function startJupyter({ root, scratch, python, work }) {
  const prefix = join(scratch, "prefix");
  const tslab = join(root, "node_modules", ".bin", "tslab");
  const args = ["install", `--python=${python}`, `--binary=${tslab}`, `--prefix=${prefix}`];
  const registered = spawnSync(tslab, args, { encoding: "utf8" });
  if (registered.status !== 0) throw new Error(`tslab install failed: ${registered.stdout}${registered.stderr}`);

  const settings = join(scratch, "settings");
  const setting = (path, value) => {
    mkdirSync(join(settings, path, ".."), { recursive: true });
    writeFileSync(join(settings, `${path}.jupyterlab-settings`), JSON.stringify(value));
  };
  setting("@jupyterlab/notebook-extension/tracker", { windowingMode: "none" }); // what is out of sight is drawn as well
  setting("@jupyterlab/apputils-extension/notification", { fetchNews: "false", checkForUpdates: false });

  const [port, token] = [await freePort(), randomUUID()];
  const url = `http://127.0.0.1:${port}`;
  const own = Object.fromEntries(
    ["CONFIG", "DATA", "RUNTIME"].map((what) => [`JUPYTER_${what}_DIR`, join(scratch, what.toLowerCase())]),
  );
  const server = spawn(
    python,
    [
      "-m",
      "jupyterlab",
      "--no-browser",
      "--allow-root",
      "--expose-app-in-browser",
      "--ip=127.0.0.1",
      `--port=${port}`,
      "--ServerApp.port_retries=0",
      `--IdentityProvider.token=${token}`,
      `--ServerApp.root_dir=${work.notebooks}`,
    ],
    {
      env: {
        ...process.env,
        ...own,
        ...work.env,
        JUPYTERLAB_SETTINGS_DIR: settings,
        JUPYTERLAB_WORKSPACES_DIR: join(scratch, "workspaces"),
        JUPYTER_PATH: join(prefix, "share", "jupyter"),
      },
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    },
  );
  let said = "";
  for (const stream of [server.stdout, server.stderr])
    stream.on("data", (chunk) => (said = (said + chunk).slice(-4000)));
  const ended = new Promise((done) => server.on("close", done));
  const stop = async () => {
    try {
      process.kill(-server.pid, "SIGTERM"); // the server ends its kernels
    } catch {
      // it has ended
    }
    const late = new Promise((done) => setTimeout(done, 8000, "late"));
    if ((await Promise.race([ended, late])) === "late") process.kill(-server.pid, "SIGKILL");
  };

  for (let i = 0; i < 240; i++) {
    if (server.exitCode !== null) throw new Error(`JupyterLab ended: ${said}`);
    const answer = await fetch(`${url}/api/kernelspecs?token=${token}`).catch(() => null);
    if (answer?.ok) {
      const { kernelspecs } = await answer.json();
      if (!kernelspecs.tslab) throw new Error(`the kernel is not registered: ${Object.keys(kernelspecs)}`);
      const asked = spawnSync(python, ["-c", "import jupyterlab; print(jupyterlab.__version__)"], { encoding: "utf8" });
      return { url, token, stop, version: asked.stdout.trim() };
    }
    await new Promise((done) => setTimeout(done, 500));
  }
  await stop();
  throw new Error(`JupyterLab did not answer within two minutes: ${said}`);
}
