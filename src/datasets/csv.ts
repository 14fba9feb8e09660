/** Comma-separated values after RFC 4180. */

/** One row, and the line of the file on which it starts (1 is the header in most files). */
export interface CsvRow {
  readonly line: number;
  readonly fields: readonly string[];
}

/**
 * Rows of a CSV text: fields in quotes may hold commas, line ends and doubled quotes; line ends are \n or \r\n; a byte
 * order mark and empty lines are passed over. `a,"b ""c"", d"` is one row of `a` and `b "c", d`.
 *
 * Throws a plain `Error` with the line number where a quote is never closed.
 */
export function* csvRows(text: string): Generator<CsvRow, void> {
  let fields: string[] = [];
  let line = 1;
  let start = 1;
  let at = text.charCodeAt(0) === 0xfeff ? 1 : 0;
  while (at <= text.length) {
    let field = "";
    if (text[at] === '"') {
      const quotedAt = line;
      for (let from = at + 1, closed = false; !closed;) {
        const quote = text.indexOf('"', from);
        if (quote < 0) throw new Error(`line ${quotedAt}: a quote is never closed`);
        field += text.slice(from, quote);
        closed = text[quote + 1] !== '"';
        if (!closed) field += '"';
        from = quote + 2;
        at = quote + 1;
      }
      for (let i = field.indexOf("\n"); i >= 0; i = field.indexOf("\n", i + 1)) line++;
    }
    const end = endOf(text, at);
    const last = text[end] !== ",";
    const cut = last && text[end] === "\n" && end > at && text[end - 1] === "\r" ? end - 1 : end;
    field += text.slice(at, cut);
    fields.push(field);
    at = end + 1;
    if (!last) continue;
    if (text[end] === "\n") line++;
    if (fields.length > 1 || field !== "") yield { line: start, fields };
    [fields, start] = [[], line];
  }
}

/** Where an unquoted field ends: the next comma, line end, or the end of the text. */
function endOf(text: string, from: number): number {
  for (let at = from; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === 44 || code === 10) return at;
  }
  return text.length;
}

/** All of them at once. */
export const parseCsv = (text: string): CsvRow[] => [...csvRows(text)];
