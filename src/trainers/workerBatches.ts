/** Batches from worker threads: asked for ahead of time, given away in order, never more at once than agreed. */
import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import type { RandomState } from "../random.js";
import type { ViewSource } from "../transforms/views.js";
import { InputError } from "../types.js";
import { bufferOf, type Collation } from "./collate.js";
import type { BatchSource, LoaderOptions } from "./loader.js";
import type { Batch } from "./objective.js";

/** What a worker that has all samples gets at its start. */
export interface LoaderData {
  readonly spec: Collation;
  readonly samples: readonly ViewSource[];
}

/** What every question says; what it says besides is between the asker and the worker. */
export interface AnyQuestion {
  readonly step: number;
  readonly random: RandomState;
  /** A buffer that was in use before. */
  readonly memory?: ArrayBuffer;
}

export interface Question extends AnyQuestion {
  /** Numbers of the samples. */
  readonly places: Int32Array;
}

export interface Failed {
  readonly step: number;
  readonly wrongInput: boolean;
  readonly message: string;
  readonly stack?: string;
}

export type Answer = { readonly step: number; readonly batch: Batch } | Failed;

/** What workers are there for. */
export interface WorkerJob<Q extends AnyQuestion, A extends { readonly step: number }> {
  readonly entry: URL;
  /** What each worker gets at its start. */
  data(): unknown;
  readonly steps: { readonly from: number; readonly to: number };
  question(step: number): Omit<Q, "memory">;
  /** Hears the answers in the order of their steps: a batch, or another question about the same step. */
  heard(answer: A): Batch | Omit<Q, "memory">;
}

const MOST_WORKERS = 8;
const MOST_BYTES = 2 ** 30;

export class WorkerBatches<Q extends AnyQuestion, A extends { readonly step: number }> implements BatchSource {
  readonly madeBy: string;
  readonly #job: WorkerJob<Q, A>;
  readonly #prefetch: number;
  readonly #workers: { readonly thread: Worker; questions: number }[];
  readonly #answers = new Map<number, A | Failed>();
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

  constructor(job: WorkerJob<Q, A>, options: LoaderOptions) {
    const { workers = Math.min(MOST_WORKERS, Math.max(1, availableParallelism() - 1)), prefetch = workers + 2 } =
      options;
    const { from, to } = job.steps;
    this.madeBy = `${workers} worker thread${workers === 1 ? "" : "s"}`;
    this.#job = job;
    this.#prefetch = prefetch;
    this.#next = this.#asked = from;
    const data = from < to ? job.data() : undefined;
    this.#workers = Array.from({ length: from < to ? workers : 0 }, () => {
      // Flags such as --input-type are for this thread's own entry.
      const thread = new Worker(options.entry ?? job.entry, { workerData: data, execArgv: [], name: "m3ret batches" });
      const worker = { thread, questions: 0 };
      thread.on("message", (answer: A | Failed) => {
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
    this.#askAhead();
  }

  async next(): Promise<Batch> {
    if (this.#next >= this.#job.steps.to) {
      throw new Error(`there is no batch for step ${this.#next}: it is past the last`);
    }
    if (this.#inUse) this.#spare.push(this.#inUse);
    this.#inUse = null;
    this.#askAhead();
    const step = this.#next++;
    for (;;) {
      const answer = await this.#answerOf(step);
      if ("message" in answer) throw revived(answer);
      const heard = this.#job.heard(answer);
      if ("step" in heard) {
        this.#ask(heard);
        continue;
      }
      this.#inUse = bufferOf(heard);
      this.#largest = Math.max(this.#largest, this.#inUse.byteLength);
      return heard;
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all(this.#workers.map(({ thread }) => thread.terminate()));
    this.#answers.clear();
    this.#spare.length = 0;
  }

  /** Asks for as many steps ahead as may exist at once; the one that is given away next is the first of them. */
  #askAhead(): void {
    const affordable = this.#largest > 0 ? Math.max(2, Math.floor(MOST_BYTES / this.#largest)) : 2;
    const ahead = Math.min(this.#prefetch, affordable);
    while (this.#asked < Math.min(this.#job.steps.to, this.#next + ahead)) {
      this.#ask(this.#job.question(this.#asked++));
    }
  }

  #ask(question: Omit<Q, "memory">): void {
    const worker = this.#workers.reduce((a, b) => (b.questions < a.questions ? b : a));
    const memory = this.#spare.pop();
    worker.questions++;
    worker.thread.postMessage({ ...question, memory }, memory ? [memory] : []);
  }

  async #answerOf(step: number): Promise<A | Failed> {
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

/** What a worker says of an error. */
export function failed(step: number, error: unknown): Failed {
  const said = error instanceof Error ? error : new Error(String(error));
  return { step, wrongInput: error instanceof InputError, message: said.message, stack: said.stack };
}

function revived(answer: Failed): Error {
  if (answer.wrongInput) return new InputError(answer.message);
  const error = new Error(`the batch of step ${answer.step} cannot be made: ${answer.message}`);
  if (answer.stack) error.stack = `${error.name}: ${error.message}\n${answer.stack}`;
  return error;
}
