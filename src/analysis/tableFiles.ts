/** Tables for papers: LaTeX with booktabs, CSV with all digits, Markdown; captions are computed from the numbers. */
import { join } from "node:path";
import { writeAtomic } from "../files.js";
import { InputError } from "../types.js";
import { comparisonRows, type Comparison } from "./comparisons.js";
import { toCsv, toMarkdown, type Cell, type Table } from "./tables.js";

/** The highest value of each column, chance aside; −Infinity where nothing was measured. */
function highest({ columns, rows }: Table): number[] {
  const measured = rows.filter(({ name }) => name !== "chance");
  return columns.map((_, c) => Math.max(...measured.map(({ cells }) => cells[c]?.value ?? -Infinity)));
}

/** Title, what is highest in every column beside chance, and what the numbers were made from. */
export function captionOf(table: Table): string {
  const chance = table.rows.find(({ name }) => name === "chance");
  const best = highest(table).flatMap((value, c) => {
    const rows = table.rows.filter(({ name, cells }) => name !== "chance" && cells[c]?.value === value);
    if (rows.length === 0) return [];
    const guess = chance?.cells[c];
    const against = guess ? `, chance ${guess.value.toFixed(2)}` : "";
    return [`${table.columns[c]}: ${rows.map(({ name }) => name).join(" and ")} (${value.toFixed(2)}${against})`];
  });
  return sentences([table.title, `Highest on ${best.join("; on ")}`, table.note]);
}

/** What the marks mean, what paired tests say, and the traps of the data. */
export function notesOf({ legend, remarks = [] }: Table): string {
  return sentences([legend, ...remarks]);
}

const sentences = (parts: readonly string[]): string =>
  parts.map((part) => `${part.charAt(0).toUpperCase()}${part.slice(1)}.`).join(" ");

const SPECIAL: Readonly<Record<string, string>> = {
  "\\": "\\textbackslash{}",
  "{": "\\{",
  "}": "\\}",
  "&": "\\&",
  "%": "\\%",
  $: "\\$",
  "#": "\\#",
  _: "\\_",
  "~": "\\textasciitilde{}",
  "^": "\\textasciicircum{}",
  "<": "$<$",
  ">": "$>$",
  "→": "$\\rightarrow$",
  "↑": "$\\uparrow$",
  "†": "$\\dagger$",
  "*": "$\\ast$",
  "≥": "$\\geq$",
  "≤": "$\\leq$",
  "×": "$\\times$",
  "–": "--",
  "−": "$-$",
};

/** Text as LaTeX prints it: `a_b & c` becomes `a\_b \& c`. */
export function escapeLatex(text: string): string {
  return text.replace(/[\\{}&%$#_~^<>→↑†*≥≤×–−]/g, (character) => SPECIAL[character]);
}

function latexCell(cell: Cell | null, best: boolean): string {
  if (cell === null) return "--";
  const value = cell.value.toFixed(2);
  const interval = cell.low === cell.high ? "" : ` {\\scriptsize [${cell.low.toFixed(2)}, ${cell.high.toFixed(2)}]}`;
  const marks = cell.marks === "" ? "" : `$^{${[...cell.marks].map((mark) => SPECIAL[mark].slice(1, -1)).join("")}}$`;
  return `${best ? `\\textbf{${value}}` : value}${marks}${interval}`;
}

/** A float for `\usepackage{booktabs}`: the highest values of each column are bold, intervals are small. */
export function toLatex(table: Table): string {
  const best = highest(table);
  const line = (cells: readonly string[]) => `    ${cells.join(" & ")} \\\\`;
  const rows = table.rows.map(({ name, cells }) =>
    line([escapeLatex(name), ...cells.map((cell, c) => latexCell(cell, name !== "chance" && cell?.value === best[c]))]),
  );
  const [chance, others] = [rows.slice(0, 1), rows.slice(1)];
  return [
    "% needs \\usepackage{booktabs}",
    "\\begin{table}",
    "  \\centering",
    `  \\caption{${escapeLatex(captionOf(table))}}`,
    `  \\label{tab:${nameOf(table)}}`,
    `  \\begin{tabular}{l${"r".repeat(table.columns.length)}}`,
    "    \\toprule",
    line(["encoder", ...table.columns.map(escapeLatex)]),
    "    \\midrule",
    ...chance,
    "    \\midrule",
    ...others,
    "    \\bottomrule",
    "  \\end{tabular}",
    `  \\par\\smallskip{\\footnotesize ${escapeLatex(notesOf(table))}}`,
    "\\end{table}",
    "",
  ].join("\n");
}

/** The table's own name, or its title as part of a file's name. */
function nameOf({ name, title }: Table): string {
  return (
    name ??
    title
      .toLowerCase()
      .replace(/[^a-z0-9]+/g, "-")
      .replace(/^-|-$/g, "")
  );
}

/**
 * Writes FOLDER/NAME.tex, NAME.csv and NAME.md for every table, each whole or not at all.
 *
 * @returns the names of the files, in order
 * @throws InputError where two tables would have the same name
 */
export function saveTables(folder: string, tables: readonly Table[]): string[] {
  const names = tables.map(nameOf);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) throw new InputError(`tables: two are called ${twice}`);
  return tables.flatMap((table, i) => {
    const forms = { tex: toLatex(table), csv: toCsv(table), md: toMarkdown(table) };
    return Object.entries(forms).map(([ending, text]) => {
      writeAtomic(join(folder, `${names[i]}.${ending}`), text);
      return `${names[i]}.${ending}`;
    });
  });
}

/** Writes all numbers of paired tests as comma-separated values: differences with intervals, p before and after Holm. */
export function saveComparisons(path: string, comparisons: readonly Comparison[]): void {
  const rows = comparisonRows(comparisons);
  if (rows.length === 0) throw new InputError(`${path}: expected at least one comparison, got none`);
  const quote = (value: string | number) => (/[",\n]/.test(String(value)) ? `"${value}"` : String(value));
  const lines = [Object.keys(rows[0]), ...rows.map((row) => Object.values(row).map(quote))];
  writeAtomic(path, lines.map((line) => line.join(",")).join("\n") + "\n");
}
