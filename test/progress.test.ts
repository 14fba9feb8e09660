import { Writable } from "node:stream";
import { expect, test } from "vitest";
import { Random } from "../src/random.js";
import { Rate, displayProgress, formatRate, formatSeconds, terminalProgress, together } from "../src/progress.js";

/** A clock that the test moves. */
function fakeClock() {
  const clock = { ms: 0, now: () => clock.ms };
  return clock;
}

/** A stream that remembers what was written; `isTTY` as asked. */
function paper(isTTY: boolean) {
  let text = "";
  const stream = new Writable({
    write(chunk, _encoding, done) {
      text += String(chunk);
      done();
    },
  });
  const stderr = Object.assign(stream, { isTTY, columns: 120 }) as unknown as NodeJS.WriteStream;
  return { stderr, text: () => text };
}

test("time left is right to 20 % for steady work with jitter, even after a slow first step", () => {
  const rate = new Rate();
  const random = new Random(7);
  const total = 200;
  let at = 0;
  rate.note(0, at);
  at += 30_000; // compiling
  const errors: number[] = [];
  for (let done = 1; done <= total; done++) {
    rate.note(done, at);
    if (done > 100 && done < total) {
      const truth = (total - done) * 0.4;
      errors.push(Math.abs((rate.secondsLeft(total) ?? Infinity) - truth) / truth);
    }
    at += 400 * random.uniform(0.7, 1.3);
  }
  expect(errors.length).toBe(99);
  // The last few steps are one draw of the jitter each; the mean over many is what is promised.
  expect(Math.max(...errors.slice(0, 80))).toBeLessThan(0.2);
});

test("2 items a second are 2 items a second, and 80 more take 40 s", () => {
  const rate = new Rate();
  expect(rate.perSecond()).toBe(null);
  for (let i = 0; i <= 10; i++) rate.note(2 * i, 1000 * i);
  expect(rate.perSecond()).toBeCloseTo(2, 12);
  expect(rate.secondsLeft(100)).toBeCloseTo(40, 12);
});

test("durations and rates read like a person would say them", () => {
  expect([0, 0.27, 0.97, 8, 59.6, 75, 7380].map(formatSeconds)).toEqual([
    "0 s",
    "0.3 s",
    "1 s",
    "8 s",
    "1 min 00 s",
    "1 min 15 s",
    "2 h 03 min",
  ]);
  expect([12.5, 0.25, null].map(formatRate)).toEqual(["12.5/s", "4 s each", ""]);
});

test("without a terminal, a line appears when 10 % more is done or 15 s have passed, and at the end", () => {
  const clock = fakeClock();
  const { stderr, text } = paper(false);
  const bar = terminalProgress({ stream: stderr, now: clock.now });
  for (let done = 0; done <= 100; done++) {
    bar({ label: "embed", done, total: 100, note: "X-ray" });
    clock.ms += 1000;
  }
  bar.stop();
  const lines = text().trimEnd().split("\n");
  expect(lines).toHaveLength(11);
  expect(lines[1]).toBe("embed 10/100 (10 %), 1/s, 1 min 30 s left, X-ray");
  expect(lines.at(-1)).toBe("embed 100/100 (100 %), 1/s, in 1 min 40 s, X-ray");
  expect(text()).not.toContain("\u001b");

  const slow = paper(false);
  const slowBar = terminalProgress({ stream: slow.stderr, now: clock.now });
  for (let done = 0; done <= 4; done++) {
    slowBar({ label: "train", done, total: 1000 });
    clock.ms += 10_000;
  }
  expect(slow.text().split("\n").filter(Boolean)).toHaveLength(3); // at 0, 20 and 40 s
});

test("fast work in a log is two lines, not ten", () => {
  const clock = fakeClock();
  const { stderr, text } = paper(false);
  const bar = terminalProgress({ stream: stderr, now: clock.now });
  for (let done = 0; done <= 50; done++) {
    bar({ label: "read", done, total: 50 });
    clock.ms += 2;
  }
  bar({ label: "read", done: 50, total: 50 });
  expect(text().trimEnd().split("\n")).toHaveLength(2);
});

test("on a terminal the bar shows counts and time, and stops by itself when all is done", () => {
  const clock = fakeClock();
  const { stderr, text } = paper(true);
  const bar = terminalProgress({ stream: stderr, now: clock.now });
  for (let done = 0; done <= 20; done++) {
    bar({ label: "pretrain", done, total: 20 });
    clock.ms += 500;
  }
  expect(text()).toContain("20/20 2/s, in 10 s");
  bar.stop();
});

test("a notebook's bar is one place that ends with the last report", () => {
  const clock = fakeClock();
  const shown: string[] = [];
  const bar = displayProgress({ html: (source) => shown.push(source) }, { now: clock.now });
  for (let done = 0; done <= 95; done++) {
    bar({ label: "train <mae>", done, total: 100 });
    clock.ms += 50;
  }
  expect(shown.length).toBeLessThanOrEqual(1 + 96 / 4);
  bar.stop(); // the work ended early: the cell says how far it came
  expect(shown.at(-1)).toContain('value="95" max="100"');
  expect(shown.at(-1)).toContain("train &lt;mae&gt; 95/100 (95 %)");
  bar.stop();
  expect(shown.filter((s) => s.includes("95/100"))).toHaveLength(1);
});

test("pieces of work that go on together are one bar, each as much of it as it costs", () => {
  const said: string[] = [];
  const bars = together("all", { quick: 1, slow: 3 }, ({ label, done, total, note }) =>
    said.push(`${label} ${done}/${total} ${note}`),
  );
  bars.slow({ label: "slow", done: 1, total: 3 });
  bars.quick({ label: "quick", done: 5, total: 5, note: "e" });
  bars.slow({ label: "slow", done: 1, total: 3 }); // nothing new
  bars.slow({ label: "slow", done: 3, total: 3 });
  expect(said).toEqual(["all 25/100 slow", "all 50/100 quick, e", "all 100/100 slow"]);
});

test("work of uneven parts is told by the pace of the whole, other work by that of the last seconds", () => {
  for (const uneven of [true, undefined] as const) {
    const clock = fakeClock();
    const { stderr, text } = paper(false);
    const draw = terminalProgress({ stream: stderr, now: clock.now });
    const say = (done: number) => draw({ label: "work", done, total: 100, uneven });
    for (let done = 0; done <= 40; done++, clock.ms += 1000) say(done); // one a second …
    for (let done = 42; done <= 80; done += 2, clock.ms += 1000) say(done); // … and then two
    expect(text().trim().split("\n").at(-1)).toContain(uneven ? "15 s left" : "10 s left");
  }
});
