/**
 * Runs a notebook headless in the real tslab kernel, without Python: Jupyter's wire protocol 5.3 over ZeroMQ.
 * Message format: https://jupyter-client.readthedocs.io/en/stable/messaging.html; file format: nbformat 4.5.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { createHmac, randomUUID } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { Dealer, Subscriber } from "zeromq";
import { readBytes, writeAtomic } from "./files.js";
import { InputError, type OnProgress } from "./types.js";

export interface RunNotebookOptions {
  /** Where the executed notebook goes. Left out: over the notebook itself, and then only when every cell succeeds. */
  readonly outPath?: string;
  /** For the whole notebook, the kernel's start included. */
  readonly timeoutSeconds: number;
  /** Added to this process's environment for the kernel. */
  readonly env?: Readonly<Record<string, string>>;
  /** Told before every code cell and at the end. */
  readonly onProgress?: OnProgress;
  /** Ends the kernel where it stands. */
  readonly signal?: AbortSignal;
}

export interface NotebookRun {
  readonly ok: boolean;
  /** How many code cells ran, the failed one included. */
  readonly cells: number;
  readonly seconds: number;
  /** "NAME.ipynb: cell 3 of 7 failed: what the kernel said". Cells are code cells, counted from 1. */
  readonly error?: string;
}

export interface CellProblem {
  /** Code cell, counted from 1. */
  readonly cell: number;
  readonly line: number;
  readonly message: string;
}

type Json = Record<string, unknown>;

interface Cell extends Json {
  cell_type: string;
  source: string | string[];
  id?: string;
  outputs?: Json[];
  execution_count?: number | null;
}

interface Notebook extends Json {
  cells: Cell[];
  metadata: Json;
  nbformat: number;
  nbformat_minor: number;
}

/**
 * Runs every code cell from top to bottom in a fresh kernel whose working folder is the notebook's, and stops at the
 * first cell that fails. The kernel is ended in every case, also on Ctrl-C. Several notebooks may run at once.
 *
 * @throws InputError where the path is not a notebook. A cell that fails is not an exception: see `ok` and `error`.
 */
export async function runNotebook(path: string, options: RunNotebookOptions): Promise<NotebookRun> {
  const { outPath = path, timeoutSeconds, env = {}, onProgress, signal } = options;
  const notebook = readNotebook(path);
  const code = notebook.cells.filter((cell) => cell.cell_type === "code");
  for (const cell of code) {
    cell.outputs = [];
    cell.execution_count = null;
  }

  const startedAt = performance.now();
  const name = basename(path);
  let ran = 0;
  let error: string | undefined;
  const kernel = new Kernel(dirname(resolve(path)), env);
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<never>((_, reject) => {
    const late = () => reject(new Error(`longer than ${timeoutSeconds} s`));
    timer = setTimeout(late, 1000 * timeoutSeconds);
    signal?.addEventListener("abort", () => reject(new Error("ended from outside")));
  });

  const runCells = async () => {
    notebook.metadata.language_info = await kernel.info();
    for (const cell of code) {
      onProgress?.({ label: name, done: ran, total: code.length, note: `cell ${ran + 1}` });
      ran++;
      const outputs: Json[] = [];
      cell.outputs = outputs;
      cell.execution_count = ran;
      const status = await kernel.execute(sourceOf(cell), outputs);
      // tslab sends what was thrown as text on standard error, and says in the reply alone that the cell failed.
      if (status !== "ok") throw new Error(withoutKernelFrames(streamText(outputs, "stderr")) || `status ${status}`);
    }
    onProgress?.({ label: name, done: ran, total: code.length });
  };

  try {
    await Promise.race([runCells(), timeout]);
  } catch (failure) {
    const reason = failure instanceof Error ? failure.message.trim() : String(failure);
    error = `${name}: ${ran === 0 ? "the kernel did not start" : `cell ${ran} of ${code.length} failed`}: ${reason}`;
  } finally {
    clearTimeout(timer);
    kernel.end();
  }

  const ok = error === undefined;
  if (ok || resolve(outPath) !== resolve(path)) writeNotebook(outPath, notebook);
  const seconds = (performance.now() - startedAt) / 1000;
  return ok ? { ok, cells: ran, seconds } : { ok, cells: ran, seconds, error };
}

/** Code cells of the notebook in a file. */
export function countCells(path: string): number {
  return readNotebook(path).cells.filter((cell) => cell.cell_type === "code").length;
}

/** The notebook in a file, checked for what we rely on. */
function readNotebook(path: string): Notebook {
  const expected = `${path}: expected a Jupyter notebook (nbformat 4)`;
  let parsed: unknown;
  try {
    parsed = JSON.parse(Buffer.from(readBytes(path)).toString("utf8"));
  } catch (error) {
    if (error instanceof InputError) throw error;
    throw new InputError(`${expected}, got a file that is not JSON`);
  }
  const notebook = parsed as Partial<Notebook> | null;
  if (notebook?.nbformat !== 4 || !Array.isArray(notebook.cells)) {
    throw new InputError(`${expected}, got nbformat ${notebook?.nbformat ?? "none"}`);
  }
  return { ...notebook, metadata: notebook.metadata ?? {} } as Notebook;
}

/**
 * Writes nbformat 4.5 as Jupyter does (sorted keys, one space of indent, text as lists of lines, an id in every cell), so
 * that opening and saving the notebook in Jupyter changes nothing.
 */
function writeNotebook(path: string, notebook: Notebook): void {
  const taken = new Set(notebook.cells.map((cell) => cell.id));
  const cells = notebook.cells.map((cell, index) => {
    let id = cell.id ?? `cell-${index + 1}`;
    while (cell.id === undefined && taken.has(id)) id += "x";
    const written = { ...cell, id, metadata: cell.metadata ?? {}, source: toLines(sourceOf(cell)) };
    return cell.outputs ? { ...written, outputs: cell.outputs.map(withLines) } : written;
  });
  const metadata = {
    ...notebook.metadata,
    kernelspec: { display_name: "TypeScript", language: "typescript", name: "tslab" },
  };
  const file = sortKeys({ ...notebook, cells, metadata, nbformat: 4, nbformat_minor: 5 });
  writeAtomic(path, JSON.stringify(file, null, 1) + "\n");
}

function sortKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sortKeys);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, inner]) => [key, sortKeys(inner)]));
}

function sourceOf(cell: Cell): string {
  return Array.isArray(cell.source) ? cell.source.join("") : cell.source;
}

/** "a\nb" as ["a\n", "b"]: the pieces joined are the text. */
function toLines(text: string): string[] {
  return text.match(/[^\n]*\n|[^\n]+$/g) ?? [];
}

/** All that a cell wrote on one stream, as one string. */
function streamText(outputs: readonly Json[], name: string): string {
  return outputs
    .filter((output) => output.output_type === "stream" && output.name === name)
    .map((output) => output.text)
    .join("");
}

/** An error's text without the stack frames of tslab and Node, which say nothing of the cell. */
function withoutKernelFrames(text: string): string {
  const isOurs = (line: string) => !/^\s+at .*(node:|[\\/]tslab[\\/]dist[\\/])/.test(line);
  return text.split("\n").filter(isOurs).join("\n");
}

/** An output as it is written: text as a list of lines, while a base64 image stays one string. */
function withLines(output: Json): Json {
  if (typeof output.text === "string") return { ...output, text: toLines(output.text) };
  if (output.data === undefined) return output;
  const isText = (mime: string) => mime.startsWith("text/") || mime === "image/svg+xml";
  const data = Object.entries(output.data as Record<string, unknown>).map(([mime, value]) => [
    mime,
    isText(mime) && typeof value === "string" ? toLines(value) : value,
  ]);
  return { ...output, data: Object.fromEntries(data) };
}

interface Message {
  readonly type: string;
  readonly parent: string | undefined;
  readonly content: Json;
}

/** One request on its way: both its reply and the kernel's "idle" must come before it is over. */
interface Pending {
  readonly outputs: Json[];
  reply?: Json;
  idle: boolean;
  finish(reply: Json): void;
}

const DELIMITER = "<IDS|MSG>";

/**
 * tslab sends without waiting, and zeromq refuses the 513th message in a row that nobody waited for, and a publisher
 * drops what exceeds 1,000 unread ones: a cell that prints 600 lines at once would lose some, and with them the notice
 * that it has ended. Loaded before the kernel, this sends at once (a timeout of 0) and lifts the limit (a mark of 0).
 */
const unlimitedQueue = (tslab: string) => `
  const zeromq = require("node:module").createRequire(${JSON.stringify(join(tslab, "package.json"))})("zeromq");
  const { bind } = zeromq.Publisher.prototype;
  Object.defineProperty(zeromq.Publisher.prototype, "bind", {
    value(address) {
      this.sendTimeout = 0;
      this.sendHighWaterMark = 0;
      return bind.call(this, address);
    },
  });
`;

/** A tslab kernel in its own process group, and the two sockets that we need of it. */
class Kernel {
  readonly #key = randomUUID();
  readonly #session = randomUUID();
  readonly #pending = new Map<string, Pending>();
  /** Display id to the output that `update_display_data` overwrites. */
  readonly #displays = new Map<string, Json>();
  readonly #folder: string;
  readonly #process: ChildProcess;
  readonly #died: Promise<never>;
  readonly #shell: Dealer;
  readonly #iopub: Subscriber;
  readonly #onExit = () => this.end();
  readonly #onSignal = (signal: NodeJS.Signals) => {
    this.end();
    // We caught the signal only to end the kernel: unless somebody else handles it, it does what it would have done.
    if (process.listenerCount(signal) === 0) process.kill(process.pid, signal);
  };
  #ended = false;

  constructor(cwd: string, env: Readonly<Record<string, string>>) {
    if (process.platform === "win32") {
      throw new InputError("running notebooks headless needs Unix sockets; on Windows run them in Jupyter");
    }
    // Sockets are files in a private folder: no ports to be free, and nobody else may connect.
    this.#folder = mkdtempSync(join(tmpdir(), "m3ret-kernel-"));
    const ip = join(this.#folder, "socket");
    const ports = { shell_port: 1, iopub_port: 2, stdin_port: 3, control_port: 4, hb_port: 5 };
    const connectionFile = join(this.#folder, "connection.json");
    const connection = { transport: "ipc", ip, signature_scheme: "hmac-sha256", key: this.#key, ...ports };
    writeFileSync(connectionFile, JSON.stringify(connection), { mode: 0o600 });

    const preload = join(this.#folder, "preload.cjs");
    const tslab = tslabFolder();
    writeFileSync(preload, unlimitedQueue(tslab));

    const inherited = { ...process.env };
    delete inherited.FORCE_COLOR; // a file shows colour codes as rubbish
    const program = ["--require", preload, join(tslab, "bin", "tslab"), "kernel", "--config-path", connectionFile];
    this.#process = spawn(process.execPath, program, {
      cwd,
      env: { ...inherited, ...env },
      stdio: ["ignore", "pipe", "pipe"],
      detached: true, // its own process group, so that what a cell started ends with it
    });
    this.#died = this.#watch();
    this.#died.catch(() => {}); // a kernel that we end ourselves is no news
    process.on("exit", this.#onExit);
    process.on("SIGINT", this.#onSignal);
    process.on("SIGTERM", this.#onSignal);

    this.#shell = new Dealer({ linger: 0 });
    this.#iopub = new Subscriber({ linger: 0, receiveHighWaterMark: 0 }); // 0: no limit
    this.#shell.connect(`ipc://${ip}:${ports.shell_port}`);
    this.#iopub.connect(`ipc://${ip}:${ports.iopub_port}`);
    this.#iopub.subscribe();
    void this.#listen(this.#shell, (message) => this.#onReply(message));
    void this.#listen(this.#iopub, (message) => this.#onBroadcast(message));
  }

  /** Rejects when the kernel's process ends, with the last lines that it wrote outside of any cell. */
  #watch(): Promise<never> {
    let tail = "";
    const keep = (chunk: Buffer) => (tail = (tail + chunk.toString()).slice(-2000));
    this.#process.stdout?.on("data", keep);
    this.#process.stderr?.on("data", keep);
    return new Promise((_, reject) => {
      this.#process.on("error", reject);
      this.#process.on("close", (code, signal) => {
        const last = tail.trim() ? `; it last said: ${tail.trim()}` : "";
        reject(new Error(`the kernel ended (${signal ?? `exit code ${code}`})${last}`));
      });
    });
  }

  /** Waits until the kernel answers on both sockets; what it says of its language. */
  async info(): Promise<unknown> {
    // A broadcast that was sent before our subscription arrived is lost, so one question may not be enough.
    for (;;) {
      const answered = this.#request("kernel_info_request", {}, []);
      const later = new Promise<null>((done) => setTimeout(() => done(null), 500));
      const reply = await Promise.race([answered, later, this.#died]);
      if (reply) return reply.language_info;
    }
  }

  /** Runs code; its outputs are appended in the order of arrival. Returns the status of the reply, such as "ok". */
  async execute(code: string, outputs: Json[]): Promise<string> {
    const content = { code, silent: false, store_history: true, user_expressions: {}, allow_stdin: false };
    const reply = await Promise.race([this.#request("execute_request", content, outputs), this.#died]);
    return String(reply.status);
  }

  /** Ends the kernel and all that it started, and removes its files. May be called again. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    process.off("exit", this.#onExit);
    process.off("SIGINT", this.#onSignal);
    process.off("SIGTERM", this.#onSignal);
    try {
      if (this.#process.pid) process.kill(-this.#process.pid, "SIGKILL");
    } catch {
      // It has ended already.
    }
    this.#shell.close();
    this.#iopub.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #sign(parts: readonly string[]): string {
    const hmac = createHmac("sha256", this.#key);
    for (const part of parts) hmac.update(part);
    return hmac.digest("hex");
  }

  #request(type: string, content: Json, outputs: Json[]): Promise<Json> {
    const id = randomUUID();
    const header = {
      msg_id: id,
      session: this.#session,
      username: "m3ret",
      date: new Date().toISOString(),
      msg_type: type,
      version: "5.3",
    };
    const parts = [header, {}, {}, content].map((part) => JSON.stringify(part));
    return new Promise((finish, fail) => {
      this.#pending.set(id, { outputs, idle: false, finish });
      this.#shell.send([DELIMITER, this.#sign(parts), ...parts]).catch(fail);
    });
  }

  async #listen(socket: AsyncIterable<Buffer[]>, handle: (message: Message) => void): Promise<void> {
    for await (const frames of socket) {
      const texts = frames.map((frame) => frame.toString("utf8"));
      const at = texts.indexOf(DELIMITER);
      const parts = texts.slice(at + 2, at + 6);
      if (texts[at + 1] !== this.#sign(parts)) continue; // not from our kernel
      const [header, parent, , content] = parts.map((part) => JSON.parse(part) as Json);
      handle({ type: String(header.msg_type), parent: parent.msg_id as string | undefined, content });
    }
  }

  #onReply({ parent, content }: Message): void {
    const request = this.#pending.get(parent ?? "");
    if (!request) return;
    request.reply = content;
    if (request.idle) request.finish(content);
  }

  #onBroadcast({ type, parent, content }: Message): void {
    const request = this.#pending.get(parent ?? "");
    if (!request) return;
    switch (type) {
      case "status":
        if (content.execution_state !== "idle") return;
        request.idle = true;
        if (request.reply) request.finish(request.reply);
        return;
      case "stream":
        appendStream(request.outputs, String(content.name), String(content.text));
        return;
      case "display_data":
      case "update_display_data":
        this.#showDisplay(request.outputs, type, content);
        return;
      case "execute_result": {
        const { data, execution_count } = content;
        request.outputs.push({ output_type: "execute_result", execution_count, data, metadata: {} });
        return;
      }
      case "error": {
        const { ename, evalue, traceback } = content;
        request.outputs.push({ output_type: "error", ename, evalue, traceback });
      }
    }
  }

  #showDisplay(outputs: Json[], type: string, content: Json): void {
    const id = (content.transient as { display_id?: string } | undefined)?.display_id;
    const shown = { data: content.data, metadata: content.metadata ?? {} };
    const earlier = type === "update_display_data" && id !== undefined ? this.#displays.get(id) : undefined;
    if (earlier) {
      Object.assign(earlier, shown);
      return;
    }
    const output = { output_type: "display_data", ...shown };
    outputs.push(output);
    if (id !== undefined) this.#displays.set(id, output);
  }
}

/** Text joins what the same stream wrote just before, so that the order of the two streams is kept. */
function appendStream(outputs: Json[], name: string, text: string): void {
  const last = outputs.at(-1);
  if (last?.output_type === "stream" && last.name === name) {
    last.text = String(last.text) + text;
  } else {
    outputs.push({ output_type: "stream", name, text });
  }
}

/** The folder of the installed tslab. */
function tslabFolder(): string {
  return dirname(createRequire(import.meta.url).resolve("tslab/package.json"));
}

/** Runs in a child process, because tslab resolves imports from the working folder. Reads cells, prints problems. */
const CHECK_CELLS = `
  const { createConverter } = require(process.argv[1] + "/dist/converter.js");
  const cells = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
  const converter = createConverter({ isJS: false, isBrowser: false });
  let declarations = "";
  let problems = [];
  for (const [index, source] of cells.entries()) {
    const { diagnostics, declOutput } = converter.convert(declarations, source);
    problems = diagnostics.map((d) => ({ cell: index + 1, line: d.start.line + 1, message: d.messageText }));
    if (problems.length > 0) break;
    declarations = declOutput || "";
  }
  process.stdout.write(JSON.stringify(problems), () => process.exit(0));
`;

/**
 * Type-checks the cells of a notebook as tslab would, without running them. Returns the problems of the first cell
 * that has any (the cells after it build on its declarations), or nothing when all is well.
 */
export async function checkNotebook(path: string): Promise<readonly CellProblem[]> {
  const cells = readNotebook(path).cells.filter((cell) => cell.cell_type === "code");
  const child = spawn(process.execPath, ["-e", CHECK_CELLS, tslabFolder()], { cwd: dirname(resolve(path)) });
  let said = "";
  let complaints = "";
  child.stdout.on("data", (chunk: Buffer) => (said += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (complaints += chunk.toString()));
  child.stdin.end(JSON.stringify(cells.map(sourceOf)));
  const code = await new Promise<number | null>((done, fail) => {
    child.on("error", fail);
    child.on("close", done);
  });
  if (code !== 0) throw new Error(`${path}: the type check ended with exit code ${code}: ${complaints.trim()}`);
  return JSON.parse(said) as CellProblem[];
}
