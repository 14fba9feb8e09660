import { expect, test } from "vitest";
import { addOuter, dotProducts, gramMatrix } from "../src/analysis/products.js";
import { Random } from "../src/random.js";

const random = new Random(1);
const numbers = (n: number) => Float64Array.from({ length: n }, () => random.normal());

test("products of rows have the bits of the plain double loop, for any number of rows and any width", () => {
  for (const [n, m, d] of [
    [1, 1, 1],
    [2, 4, 3],
    [3, 7, 5],
    [5, 9, 16],
    [8, 3, 33],
  ]) {
    // prettier-ignore
    const [a, b] = [numbers(n * d), numbers(m * d)];
    const dot = (x: Float64Array, i: number, y: Float64Array, j: number) => {
      let sum = 0;
      for (let t = 0; t < d; t++) sum += x[i * d + t] * y[j * d + t];
      return sum;
    };
    const all = (rows: number, of: Float64Array) =>
      Float64Array.from({ length: n * rows }, (_, at) => dot(a, Math.floor(at / rows), of, at % rows));
    expect(dotProducts(a, b, d)).toEqual(all(m, b));
    expect(gramMatrix(a, n, d)).toEqual(all(n, a));
  }
});

test("outer products are added row after row", () => {
  for (const n of [1, 3, 4, 9]) {
    const [k, d] = [3, 5];
    const [factors, rows, start] = [numbers(n * k), numbers(n * d), numbers(k * d)];
    const expected = start.slice();
    for (let i = 0; i < n; i++) {
      for (let c = 0; c < k; c++)
        for (let t = 0; t < d; t++) expected[c * d + t] += factors[i * k + c] * rows[i * d + t];
    }
    const out = start.slice();
    addOuter(factors, rows, k, d, out);
    expect(out).toEqual(expected);
  }
});
