import { afterEach, expect, test } from "vitest";
import { holdInterrupt, untilInterrupted } from "../src/interrupt.js";

const mine: NodeJS.SignalsListener[] = [];
const listen = (listener: () => void) => {
  mine.push(listener);
  process.on("SIGINT", listener);
};
afterEach(() => mine.splice(0).forEach((listener) => process.off("SIGINT", listener)));

const signal = async () => {
  process.kill(process.pid, "SIGINT");
  await new Promise((done) => setTimeout(done, 50)); // signals arrive through the event loop
};

async function* numbers(closed: () => void): AsyncGenerator<number, string, void> {
  try {
    for (let i = 0; i < 5; i++) {
      await new Promise((done) => setImmediate(done));
      yield i;
    }
    return "all";
  } finally {
    closed();
  }
}

test("an interrupt ends the events after the one at hand, closes them, and does not reach others", async () => {
  let [heard, closed] = [0, 0];
  listen(() => heard++);
  const seen: number[] = [];
  for await (const i of untilInterrupted(numbers(() => closed++))) {
    seen.push(i);
    if (i === 1) await signal();
  }
  expect([seen, closed, heard]).toEqual([[0, 1], 1, 0]);
  await signal();
  expect(heard).toBe(1); // given back
});

test("without an interrupt all events pass, and so does what they return", async () => {
  let closed = 0;
  const passed = untilInterrupted(numbers(() => closed++));
  const seen: unknown[] = [];
  let next = await passed.next();
  for (; !next.done; next = await passed.next()) seen.push(next.value);
  expect([seen, next.value, closed]).toEqual([[0, 1, 2, 3, 4], "all", 1]);
});

test("leaving early closes the events and gives the signal back", async () => {
  let [heard, closed] = [0, 0];
  listen(() => heard++);
  for await (const i of untilInterrupted(numbers(() => closed++))) if (i === 0) break;
  await signal();
  expect([closed, heard]).toEqual([1, 1]);
});

test("a second interrupt goes to those who listened before", async () => {
  let heard = 0;
  listen(() => heard++);
  const interrupt = await holdInterrupt();
  await signal();
  expect([interrupt.asked, heard]).toEqual([true, 0]);
  await signal();
  expect(heard).toBe(1);
  interrupt.release();
  await signal();
  expect(heard).toBe(2);
});
