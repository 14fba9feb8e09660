/** What sweeps measure, as it is kept and written, and the names of the readings that stand beside one another. */
import type { Interval } from "../retrieval/bootstrap.js";

/** Value, low and high end of its 95 % interval over patients. */
export type Triple = readonly [value: number, low: number, high: number];

export const rounded = (x: number): number => Number(x.toFixed(4));
export const tripled = ({ value, low, high }: Interval): Triple => [rounded(value), rounded(low), rounded(high)];

/** `+0.021`, `−0.004` */
export const signed = (x: number): string => `${x < 0 ? "−" : "+"}${Math.abs(x).toFixed(3)}`;

/** `0.565 [0.522, 0.607]` */
export const tripleWords = ([value, low, high]: Triple): string =>
  `${value.toFixed(3)} [${low.toFixed(3)}, ${high.toFixed(3)}]`;

/** The same pooling and treatment, of another encoder. */
export const as = (reading: string, role: string): string => reading.replace(/^\w+/, role);

/** The baselines' readings that stand beside a trained one: "untrained, mean, whitened" and "pixels, whitened". */
export const untrained = (reading: string): string => as(reading, "untrained");
export const pixels = (reading: string): string => reading.replace(/^\w+, (cls|mean)/, "pixels");
