/** A small table for a notebook or a README: what was counted or measured, with its caption. */
import { InputError } from "../types.js";

export type TableValue = string | number | null;

/** Three digits where there are decimals: 0.0189, 12.3, 1,204; "–" where there is no number. */
export function tableNumber(value: number | null): string {
  if (value === null || !Number.isFinite(value)) return "–";
  if (Number.isInteger(value)) return value.toLocaleString("en-US");
  const digits = Math.abs(value) >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(3)));
  return digits;
}

/**
 * Rows as Markdown: numbers to the right, words to the left, the caption below. A table without a caption does not exist.
 *
 * @throws InputError where a row has not as many values as there are columns
 */
export function markdownTable(
  columns: readonly string[],
  rows: readonly (readonly TableValue[])[],
  caption: string,
): string {
  const odd = rows.find((row) => row.length !== columns.length);
  if (odd) throw new InputError(`table: expected ${columns.length} values in every row, got ${odd.length}`);
  const numeric = columns.map((_, c) => rows.every((row) => typeof row[c] !== "string"));
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  const written = rows.map((row) => line(row.map((value) => (typeof value === "string" ? value : tableNumber(value)))));
  const rule = `|${numeric.map((right) => (right ? "---:" : "---")).join("|")}|`;
  return [line(columns), rule, ...written, "", caption].join("\n");
}
