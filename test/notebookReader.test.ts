/** What a reader may rely on in the committed notebooks: they are run, and nothing in them is bare or typed by hand. */
import { readFileSync, readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, test } from "vitest";

interface Output {
  readonly output_type: string;
  readonly name?: string;
  readonly text?: string | string[];
  readonly data?: Readonly<Record<string, string | string[]>>;
}
interface Cell {
  readonly cell_type: string;
  readonly source: string | string[];
  readonly outputs?: readonly Output[];
  readonly execution_count?: number | null;
}

const folder = resolve("notebooks");
const names = readdirSync(folder).filter((name) => name.endsWith(".ipynb"));
const joined = (text: string | string[] | undefined) => (Array.isArray(text) ? text.join("") : (text ?? ""));
const cellsOf = (name: string) => (JSON.parse(readFileSync(join(folder, name), "utf8")) as { cells: Cell[] }).cells;

/**
 * Prose as it is read, without what may hold numbers that nobody measured: code, formulas, links, comments, exercises and their
 * solutions (worked examples), the paper's own numbers and identifiers, sections and issues, levels of intervals and tests, years.
 */
export function bareProse(markdown: string): string {
  return markdown
    .replace(/```[^]*?```/g, " ")
    .replace(/`[^`\n]*`/g, " ")
    .replace(/\$\$[^]*?\$\$/g, " ")
    .replace(/\$[^$\n]+\$/g, " ")
    .replace(/\]\([^)]*\)/g, "] ")
    .replace(/<!--[^]*?-->/g, " ")
    .replace(/^## Exercises[^]*/m, " ")
    .replace(/<details>[^]*?<\/details>/g, " ")
    .replace(/867,653|0\.674|0\.690/g, " ") // all that is known of the paper's own numbers
    .replace(/(rate|level) of 0\.05/g, " ")
    .replace(/arXiv:? \d{4}\.\d{4,5}/gi, " ")
    .replace(/(§|issues?|Table|Figure|Section|eq\.?) ?[\d.]+/gi, " ")
    .replace(/95 ?%(?=[^.]{0,20}interval)/g, " ")
    .replace(/\b(19|20)\d\d\b/g, " ");
}

/** Numbers that look measured: decimals, percentages, and whatever has three digits or more. */
export function handTypedNumbers(markdown: string): string[] {
  return bareProse(markdown).match(/\d+[.,]\d+|\d+ ?%|\b\d{3,}\b/g) ?? [];
}

/** In words, or in the names of runs (mae-s7). */
const SAYS_SEED = /seeds? \d|no seed|-s\d+\b/;
const SAYS_N = /\bn = \d|\b\d[\d,]* (?:[\w-]+ ){0,2}[a-z]+s\b|(queries|gallery): \w*\d/;
/** Verdicts quote numbers of tables that stand above, with their n and seed; a protocol states rules, and measures nothing. */
const QUOTES = /^\| claim |^\*\*Protocol /m;

/** All that a cell says in words: figures and tables of one cell may share a caption. */
function wordsOf(outputs: readonly Output[]): string {
  const words = outputs.flatMap(({ text, data = {} }) => [
    joined(text),
    ...Object.entries(data).map(([mime, value]) => (mime === "image/png" ? "" : joined(value))),
  ]);
  return words.join("\n");
}

test("the rule itself finds a typed result and lets settings, formulas, papers and years be", () => {
  expect(handTypedNumbers("Recall rises to 0.59, by 12 %, for 1,204 queries of 640.")).toEqual([
    "0.59",
    "12 %",
    "1,204",
    "640",
  ]);
  expect(
    handTypedNumbers("At `maskRatio: 0.75`, $r = 0.75$ (arXiv 2111.06377, Table 3, 2021) in 10 s; ```x = 1.5```"),
  ).toEqual([]);
});

describe.each(names)("%s", (name) => {
  const cells = cellsOf(name);
  const code = cells.filter(({ cell_type }) => cell_type === "code");
  const outputs = code.flatMap((cell) => cell.outputs ?? []);

  test("is committed as it ran: every cell in order, none failed, nothing on standard error", () => {
    expect(code.map(({ execution_count }) => execution_count)).toEqual(code.map((_, i) => i + 1));
    const complaints = outputs.filter(
      ({ output_type, name: stream }) => output_type === "error" || stream === "stderr",
    );
    expect(complaints.map(({ text }) => joined(text))).toEqual([]);
  });

  test("has no number typed by hand into its prose", () => {
    const prose = cells.filter(({ cell_type }) => cell_type === "markdown").map(({ source }) => joined(source));
    expect(prose.flatMap(handTypedNumbers)).toEqual([]);
  });

  test("says under every figure and table how many, and which seed", () => {
    for (const { outputs = [] } of code) {
      const markdown = outputs.map(({ data = {} }) => joined(data["text/markdown"]));
      const tables = markdown.some((text) => /^\|[ -:|]*---/m.test(text) && !QUOTES.test(text));
      const figures = outputs.some(({ data = {} }) => "image/png" in data || "image/svg+xml" in data);
      if (!tables && !figures) continue;
      expect(wordsOf(outputs), "seed").toMatch(SAYS_SEED);
      expect(wordsOf(outputs), "n").toMatch(SAYS_N);
    }
  });

  test("names the axes of every plot", () => {
    for (const { data } of outputs) {
      const svg = joined(data?.["image/svg+xml"]);
      if (svg === "") continue;
      if (svg.includes("main-svg")) {
        for (const axis of ["xtitle", "ytitle"]) expect(svg).toMatch(new RegExp(`class="[xy]?\\d*${axis}|${axis}`));
      } else {
        expect(svg).toMatch(/>step</);
      }
    }
  });

  test("ends with what was learned, what was not, and exercises whose solutions are hidden", () => {
    const prose = cells.map(({ source }) => joined(source)).join("\n");
    expect(prose).toMatch(/## What we learned/);
    expect(prose).toMatch(/what we did not/i);
    expect(prose.match(/<details>\s*<summary>/g)?.length ?? 0).toBeGreaterThanOrEqual(3);
  });
});
