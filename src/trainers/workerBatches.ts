/** Batches from worker threads: asked for ahead of time, given away in order, never more at once than agreed. */
import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import type { RandomState } from "../random.js";
import type { ViewSource } from "../transforms/views.js";
import { InputError, type Sample } from "../types.js";
import { drawStep, type Steps } from "./batches.js";
import { bufferOf, type Collation } from "./collate.js";
import type { BatchSource, LoaderOptions } from "./loader.js";
import type { Batch } from "./objective.js";
import { sharePictures } from "./sharePictures.js";

/** What a worker gets at its start. */
export interface LoaderData {
  readonly spec: Collation;
  readonly samples: readonly ViewSource[];
}

export interface Question {
  readonly step: number;
  /** Numbers of the samples. */
  readonly places: Int32Array;
  readonly random: RandomState;
  /** A buffer that was in use before. */
  readonly memory?: ArrayBuffer;
}

export type Answer =
  | { readonly step: number; readonly batch: Batch }
  | { readonly step: number; readonly wrongInput: boolean; readonly message: string; readonly stack?: string };

const MOST_WORKERS = 8;
const MOST_BYTES = 2 ** 30;

export class WorkerBatches implements BatchSource {
  readonly madeBy: string;
  readonly #steps: Steps;
  readonly #prefetch: number;
  readonly #workers: { readonly thread: Worker; questions: number }[];
  readonly #answers = new Map<number, Answer>();
  /** Buffers that nobody uses. */
  readonly #spare: ArrayBuffer[] = [];
  #inUse: ArrayBuffer | null = null;
  /** The next step to give away, and the next to ask for. */
  #next: number;
  #asked: number;
  #largest = 0;
  #failure: Error | null = null;
  #closed = false;
  #wake = () => {};

  constructor(spec: Collation, samples: readonly Sample[], steps: Steps, options: LoaderOptions) {
    const { workers = Math.min(MOST_WORKERS, Math.max(1, availableParallelism() - 1)), prefetch = workers + 2 } =
      options;
    this.madeBy = `${workers} worker thread${workers === 1 ? "" : "s"}`;
    this.#steps = steps;
    this.#prefetch = prefetch;
    this.#next = this.#asked = steps.from;
    const data: LoaderData = { spec, samples: steps.from < steps.to ? sharePictures(samples) : [] };
    const entry = options.entry ?? new URL("./loaderWorker.js", import.meta.url);
    this.#workers = Array.from({ length: steps.from < steps.to ? workers : 0 }, () => {
      // Flags such as --input-type are for this thread's own entry.
      const thread = new Worker(entry, { workerData: data, execArgv: [], name: "m3ret batches" });
      const worker = { thread, questions: 0 };
      thread.on("message", (answer: Answer) => {
        worker.questions--;
        this.#answers.set(answer.step, answer);
        this.#wake();
      });
      thread.on("messageerror", (error) => this.#fail(error.message, error));
      thread.on("error", (error) => this.#fail(error.message, error));
      thread.on("exit", (code) => this.#fail(`it ended with code ${code}`));
      thread.unref(); // whoever forgets to close can still end the program
      return worker;
    });
    this.#ask();
  }

  async next(): Promise<Batch> {
    if (this.#next >= this.#steps.to) throw new Error(`there is no batch for step ${this.#next}: it is past the last`);
    if (this.#inUse) this.#spare.push(this.#inUse);
    this.#inUse = null;
    this.#ask();
    const answer = await this.#answerOf(this.#next++);
    if (!("batch" in answer)) throw revived(answer);
    this.#inUse = bufferOf(answer.batch);
    this.#largest = Math.max(this.#largest, this.#inUse.byteLength);
    return answer.batch;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all(this.#workers.map(({ thread }) => thread.terminate()));
    this.#answers.clear();
    this.#spare.length = 0;
  }

  /** Asks for as many steps ahead as may exist at once; the one that is given away next is the first of them. */
  #ask(): void {
    const affordable = this.#largest > 0 ? Math.max(2, Math.floor(MOST_BYTES / this.#largest)) : 2;
    const ahead = Math.min(this.#prefetch, affordable);
    while (this.#asked < Math.min(this.#steps.to, this.#next + ahead)) {
      const worker = this.#workers.reduce((a, b) => (b.questions < a.questions ? b : a));
      const { places, random } = drawStep(this.#steps, this.#asked);
      const memory = this.#spare.pop();
      const question: Question = { step: this.#asked++, places, random: random.state(), memory };
      worker.questions++;
      worker.thread.postMessage(question, memory ? [memory] : []);
    }
  }

  async #answerOf(step: number): Promise<Answer> {
    // While somebody waits the threads keep the program running, otherwise they do not.
    for (const { thread } of this.#workers) thread.ref();
    try {
      for (;;) {
        const answer = this.#answers.get(step);
        this.#answers.delete(step);
        if (answer) return answer;
        if (this.#failure) throw this.#failure;
        await new Promise<void>((resolve) => (this.#wake = resolve));
      }
    } finally {
      for (const { thread } of this.#workers) thread.unref();
    }
  }

  #fail(reason: string, cause?: unknown): void {
    if (this.#closed) return;
    this.#failure ??= new Error(`a worker thread that makes batches failed: ${reason.split("\n")[0]}`, { cause });
    this.#wake();
  }
}

function revived(answer: Exclude<Answer, { batch: Batch }>): Error {
  if (answer.wrongInput) return new InputError(answer.message);
  const error = new Error(`the batch of step ${answer.step} cannot be made: ${answer.message}`);
  if (answer.stack) error.stack = `${error.name}: ${error.message}\n${answer.stack}`;
  return error;
}
