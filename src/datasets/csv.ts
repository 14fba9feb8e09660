/** Comma-separated values after RFC 4180, and as spreadsheets write them. */

/** One row, and the line of the file on which it starts (1 is the header in most files). */
export interface CsvRow {
  readonly line: number;
  readonly fields: readonly string[];
}

/**
 * The text of a CSV file. Spreadsheets save it in UTF-8, in UTF-16 with a byte order mark ("Unicode text"), or in Windows-1252, which is
 * what is left where the bytes are no UTF-8: the byte 0xe9 alone is `é`.
 */
export function csvText(bytes: Uint8Array): string {
  const [first, second] = bytes;
  if (first === 0xff && second === 0xfe) return new TextDecoder("utf-16le").decode(bytes);
  if (first === 0xfe && second === 0xff) return new TextDecoder("utf-16be").decode(bytes);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return new TextDecoder("windows-1252").decode(bytes);
  }
}

/** What stands between fields: a comma where the header has one, else a semicolon or a tab that it has. */
function separatorOf(text: string): string {
  const header = (/^[^\r\n]*/.exec(text)?.[0] ?? "").replace(/"[^"]*"/g, "");
  return [",", ";", "\t"].find((separator) => header.includes(separator)) ?? ",";
}

/**
 * Rows of a CSV text: fields in quotes may hold commas, line ends and doubled quotes; line ends are \n, \r\n or \r; a byte
 * order mark and empty lines are passed over. Where the header has no comma, semicolons or tabs stand between fields, as
 * Excel writes them in half of Europe; its first line `sep=;` says so too. `a,"b ""c"", d"` is one row of `a` and `b "c", d`.
 *
 * Throws a plain `Error` with the line number where a quote is never closed.
 */
export function* csvRows(marked: string): Generator<CsvRow, void> {
  const text = marked.startsWith("\ufeff") ? marked.slice(1) : marked;
  const said = /^sep=(.)(?=[\r\n])/.exec(text);
  const separator = (said?.[1] ?? separatorOf(text)).charCodeAt(0);
  let fields: string[] = [];
  let line = 1;
  let start = 1;
  let at = said?.[0].length ?? 0;
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
    const end = endOf(text, at, separator);
    fields.push(field + text.slice(at, end));
    at = end + (text[end] === "\r" && text[end + 1] === "\n" ? 2 : 1);
    if (text.charCodeAt(end) === separator) continue;
    if (end < text.length) line++;
    if (fields.length > 1 || fields[0] !== "") yield { line: start, fields };
    [fields, start] = [[], line];
  }
}

/** Where an unquoted field ends: the next separator, line end, or the end of the text. */
function endOf(text: string, from: number, separator: number): number {
  for (let at = from; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === separator || code === 10 || code === 13) return at;
  }
  return text.length;
}

/** All of them at once. */
export const parseCsv = (text: string): CsvRow[] => [...csvRows(text)];
