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
export function parseCsv(text: string): CsvRow[] {
  const rows: CsvRow[] = [];
  let fields: string[] = [];
  let field = "";
  let quotedAt = 0; // the line on which an open quote began, 0 outside quotes
  let line = 1;
  let start = 1;

  const endRow = (): void => {
    fields.push(field);
    if (fields.length > 1 || field !== "") rows.push({ line: start, fields });
    [fields, field, start] = [[], "", line + 1];
  };

  for (let i = text.charCodeAt(0) === 0xfeff ? 1 : 0; i < text.length; i++) {
    const c = text[i];
    if (quotedAt > 0) {
      if (c !== '"') field += c;
      else if (text[i + 1] === '"') field += text[++i];
      else quotedAt = 0;
    } else if (c === '"' && field === "") quotedAt = line;
    else if (c === ",") {
      fields.push(field);
      field = "";
    } else if (c === "\n") endRow();
    else if (c !== "\r" || text[i + 1] !== "\n") field += c;
    if (c === "\n") line++;
  }
  if (quotedAt > 0) throw new Error(`line ${quotedAt}: a quote is never closed`);
  endRow();
  return rows;
}
