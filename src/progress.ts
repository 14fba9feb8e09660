/**
 * Progress bars: long work reports a `Progress`, and a terminal or a notebook cell draws it. The work itself never
 * knows who is looking, and reads no clock: the time comes in here, at the edge.
 */
import { SingleBar } from "cli-progress";
import type { OnProgress, Progress } from "./types.js";

/** A drawing of progress. Call `stop` at the end, also after an error, so that the cursor and the timers are freed. */
export type ProgressBar = OnProgress & { stop(): void };

/** Milliseconds that only grow, such as `performance.now`. */
export type Clock = () => number;

/** The parts of tslab's `newDisplay()` that a progress bar uses: every call replaces what the cell showed before. */
export interface HtmlDisplay {
  html(source: string): void;
}

const WINDOW_MS = 15_000;
const FEWEST_REPORTS = 8;

/**
 * How fast the work goes now: a moving average over the last 15 s or the last 8 reports, whichever is longer, so that
 * a slow first step (compiling, filling caches) leaves the estimate soon.
 *
 *     rate = (done_last − done_first) / (t_last − t_first)        time left = (total − done) / rate
 *
 * 10 reports a second apart with 2 items each: `perSecond()` is 2, and `secondsLeft(100)` at 20 done is 40.
 */
export class Rate {
  readonly #reports: { at: number; done: number }[] = [];
  readonly #windowMs: number;

  /** @param windowMs Infinity: the average since the first report */
  constructor(windowMs: number = WINDOW_MS) {
    this.#windowMs = windowMs;
  }

  /** Notes that `done` items were ready at time `at` (milliseconds). Going backwards starts afresh. */
  note(done: number, at: number): void {
    const last = this.#reports.at(-1);
    if (last && done < last.done) this.#reports.length = 0;
    this.#reports.push({ at, done });
    while (this.#reports.length > FEWEST_REPORTS && at - this.#reports[1].at >= this.#windowMs) this.#reports.shift();
  }

  /** Items a second, or null until two reports are some time apart and something was done between them. */
  perSecond(): number | null {
    const first = this.#reports[0];
    const last = this.#reports.at(-1);
    if (!first || !last || last.at <= first.at || last.done <= first.done) return null;
    return (1000 * (last.done - first.done)) / (last.at - first.at);
  }

  /** Seconds until `total` at the present rate, or null where the rate is not known. */
  secondsLeft(total: number): number | null {
    const rate = this.perSecond();
    const last = this.#reports.at(-1);
    return rate === null || !last ? null : Math.max(0, total - last.done) / rate;
  }
}

/** Two units at most: `formatSeconds(0.27)` is "0.3 s", 8 is "8 s", 75 is "1 min 15 s", 7,380 is "2 h 03 min". */
export function formatSeconds(seconds: number): string {
  if (seconds > 0 && seconds < 0.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const two = (n: number) => String(n).padStart(2, "0");
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
  return `${Math.floor(whole / 3600)} h ${two(Math.floor((whole % 3600) / 60))} min`;
}

/** Three digits and the unit; slow work is told in seconds an item: "12.5/s", "4.0 s each". */
export function formatRate(perSecond: number | null): string {
  if (perSecond === null) return "";
  return perSecond >= 1 ? `${Number(perSecond.toPrecision(3))}/s` : `${Number((1 / perSecond).toPrecision(3))} s each`;
}

/** What one report says, beside the bar itself. */
interface Reading {
  readonly progress: Progress;
  readonly fraction: number;
  readonly rate: string;
  /** "1 min 15 s left", "in 8 s" once all is done, or nothing while unknown. */
  readonly time: string;
  readonly finished: boolean;
  /** The first report of this piece of work. */
  readonly fresh: boolean;
}

/** Turns reports into readings. A new label, or a count that falls, is a new piece of work with its own rate. */
class Meter {
  #rate = new Rate();
  #label: string | null = null;
  #done = 0;
  #startedAt = 0;

  read(progress: Progress, at: number): Reading {
    const fresh = progress.label !== this.#label || progress.done < this.#done;
    if (fresh) {
      this.#rate = new Rate(progress.uneven ? Infinity : WINDOW_MS);
      this.#startedAt = at;
    }
    this.#label = progress.label;
    this.#done = progress.done;
    this.#rate.note(progress.done, at);

    const finished = progress.done >= progress.total;
    const left = this.#rate.secondsLeft(progress.total);
    return {
      progress,
      fraction: progress.total > 0 ? Math.min(1, progress.done / progress.total) : 1,
      rate: formatRate(this.#rate.perSecond()),
      time: finished
        ? `in ${formatSeconds((at - this.#startedAt) / 1000)}`
        : left === null
          ? ""
          : `${formatSeconds(left)} left`,
      finished,
      fresh,
    };
  }
}

/**
 * One progress for several pieces of work that go on at the same time, or one after the other: each gets a report of its own, and the
 * whole is told in hundredths,
 *
 *     done = Σ share · (done / total of the piece) / Σ share
 *
 * @param shares what each piece costs, in any one unit; with them right, the time left is right
 */
export function together<Piece extends string>(
  label: string,
  shares: Readonly<Record<Piece, number>>,
  onProgress: OnProgress = () => {},
): Readonly<Record<Piece, OnProgress>> {
  const names = Object.keys(shares) as Piece[];
  const sum = names.reduce((total, name) => total + shares[name], 0);
  const fractions = new Map<Piece, number>();
  let said = -1;
  const report =
    (name: Piece): OnProgress =>
    (piece) => {
      fractions.set(name, piece.total > 0 ? Math.min(1, piece.done / piece.total) : 1);
      const done = names.reduce((at, one) => at + (shares[one] / sum) * (fractions.get(one) ?? 0), 0);
      const hundredths = Math.floor(100 * done + 1e-9);
      if (hundredths === said) return;
      said = hundredths;
      onProgress({
        label,
        done: hundredths,
        total: 100,
        uneven: true,
        note: [piece.label, piece.note ?? ""].filter(Boolean).join(", "),
      });
    };
  return Object.fromEntries(names.map((name) => [name, report(name)])) as Record<Piece, OnProgress>;
}

/** Label, counts, rate, time and note in one line: "embed 30/120 (25 %), 12.5/s, 7 s left, X-ray". */
function sentence({ progress, fraction, rate, time }: Reading): string {
  const counts = `${progress.label} ${progress.done}/${progress.total} (${Math.floor(100 * fraction)} %)`;
  return [counts, rate, time, progress.note ?? ""].filter((part) => part !== "").join(", ");
}

/**
 * Draws progress on standard error: a bar with rate and time left on a terminal; elsewhere (a log file, CI) a plain
 * line when 10 % more is done or 15 s have passed, at most one a second, and one at the end.
 */
export function terminalProgress({
  stream = process.stderr,
  now = () => performance.now(),
}: { stream?: NodeJS.WriteStream; now?: Clock } = {}): ProgressBar {
  return stream.isTTY ? barProgress(stream, now) : lineProgress(stream, now);
}

function barProgress(stream: NodeJS.WriteStream, now: Clock): ProgressBar {
  const meter = new Meter();
  let bar: SingleBar | null = null;
  const stop = () => {
    bar?.stop();
    bar = null;
  };

  const draw = (progress: Progress) => {
    const reading = meter.read(progress, now());
    if (reading.fresh) stop();
    const payload = {
      label: progress.label,
      facts: [reading.rate, reading.time, progress.note ?? ""].filter((part) => part !== "").join(", "),
    };
    if (!bar) {
      if (reading.finished && !reading.fresh) return; // the same end, reported twice
      // gracefulExit would catch Ctrl-C and leave the program running; the cursor stays visible, so nothing needs it.
      bar = new SingleBar({
        format: "{label} {bar} {value}/{total} {facts}",
        barCompleteChar: "━",
        barIncompleteChar: "─",
        barsize: 28,
        stream,
        gracefulExit: false,
        hideCursor: false,
        linewrap: true, // a long note is cut at the edge, and the terminal keeps its own setting
      });
      bar.start(Math.max(progress.total, 1), progress.done, payload);
    }
    bar.setTotal(Math.max(progress.total, 1));
    bar.update(progress.done, payload);
    if (reading.finished) stop();
  };
  return Object.assign(draw, { stop });
}

function lineProgress(stream: NodeJS.WriteStream, now: Clock): ProgressBar {
  const meter = new Meter();
  let said = { at: -Infinity, tenth: -1, finished: false };

  const draw = (progress: Progress) => {
    const at = now();
    const reading = meter.read(progress, at);
    if (reading.fresh) said = { at: -Infinity, tenth: -1, finished: false };
    const tenth = Math.floor(10 * reading.fraction);
    const due = at - said.at >= 15_000 || (tenth > said.tenth && at - said.at >= 1000);
    if (said.finished || !(due || reading.finished)) return;
    stream.write(sentence(reading) + "\n");
    said = { at, tenth, finished: reading.finished };
  };
  return Object.assign(draw, { stop: () => {} });
}

/**
 * Draws progress in a notebook cell, in place, at most five times a second and once at the end.
 *
 * @param display tslab's `newDisplay()`: one place that each call overwrites. Every new label reuses it, so pass one
 *                display for each bar that should stay.
 */
export function displayProgress(
  display: HtmlDisplay,
  { now = () => performance.now() }: { now?: Clock } = {},
): ProgressBar {
  const meter = new Meter();
  let drawnAt = -Infinity;
  let last: Reading | null = null;

  const show = (reading: Reading, at: number) => {
    // <progress> needs neither style nor script, which code-hosting pages remove.
    const { done, total } = reading.progress;
    display.html(`<progress value="${done}" max="${Math.max(total, 1)}"></progress> ${escapeHtml(sentence(reading))}`);
    drawnAt = at;
    last = null;
  };
  const draw = (progress: Progress) => {
    const at = now();
    const reading = meter.read(progress, at);
    last = reading;
    if (reading.fresh || reading.finished || at - drawnAt >= 200) show(reading, at);
  };
  const stop = () => {
    if (last) show(last, now());
  };
  return Object.assign(draw, { stop });
}

/** Text that is safe inside HTML and inside a quoted attribute. */
function escapeHtml(text: string): string {
  return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/"/g, "&quot;");
}
