import { expect, test } from "vitest";
import { Random } from "../src/random.js";

test("the same seed gives the same stream, another seed another", () => {
  const [a, b, c] = [new Random(7), new Random(7), new Random(8)];
  const first = Array.from({ length: 8 }, () => a.next());
  expect(Array.from({ length: 8 }, () => b.next())).toEqual(first);
  expect(Array.from({ length: 8 }, () => c.next())).not.toEqual(first);
});

test("a stored state goes on where the generator stopped", () => {
  const a = new Random(1);
  a.next();
  const b = new Random(a.state());
  expect([b.next(), b.next()]).toEqual([a.next(), a.next()]);
});

test("normal draws have mean 0 and variance 1, uniform ones mean 1/2", () => {
  const r = new Random(3);
  const n = 100_000;
  let [sum, squares, uniform] = [0, 0, 0];
  for (let i = 0; i < n; i++) {
    const x = r.normal();
    sum += x;
    squares += x * x;
    uniform += r.uniform();
  }
  expect(Math.abs(sum / n)).toBeLessThan(0.015); // 4.7 standard errors
  expect(Math.abs(squares / n - 1)).toBeLessThan(0.02);
  expect(Math.abs(uniform / n - 0.5)).toBeLessThan(0.005);
});

test("every position is as likely to come first in a permutation", () => {
  const r = new Random(4);
  const counts = new Array<number>(5).fill(0);
  for (let i = 0; i < 20_000; i++) counts[r.permutation(5)[0]]++;
  for (const count of counts) expect(Math.abs(count / 20_000 - 0.2)).toBeLessThan(0.015);
});

test("forks are repeatable, differ by label, and leave their parent alone", () => {
  const r = new Random(5);
  const before = r.state();
  expect(r.fork("crop").next()).toBe(r.fork("crop").next());
  expect(r.fork("crop").next()).not.toBe(r.fork("mask").next());
  expect(r.state()).toEqual(before);
});
