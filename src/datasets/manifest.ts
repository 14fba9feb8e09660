/**
 * Manifests: one line of JSON for every file of a set, so that a set of a million files opens in a second.
 *
 * The format is JSON lines and not Parquet, by measurement (867,653 rows of modality, path, group and two labels, on two
 * busy cores with Node 22). JSON lines: first batch of 64 rows drawn at random after 1.1 s, with 6 MiB more in memory.
 * Parquet (hyparquet, 10 row groups): its column of modalities after 1.0 s, then 0.44 s for each row drawn at random,
 * because the group around it is decoded; or 3.5 s and 376 MiB to hold all rows. The Parquet file is 7 MB and smaller by
 * far; but a line can be read by a person, cut with head and searched with grep.
 */
import { createHash } from "node:crypto";
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { dirname, isAbsolute, normalize, relative, resolve } from "node:path";
import { systemError, writeAtomic } from "../files.js";
import { InputError, KINDS, MODALITIES, SPLITS, type Kind, type Modality, type Split } from "../types.js";
import { kindOfName } from "./likelyKind.js";

export interface ManifestRow {
  readonly modality: Modality;
  /** In a line that lacks it, what the name of the file says. */
  readonly kind: Kind;
  /** Pretraining draws from `train` alone. In a line that lacks it, `train`. */
  readonly split: Split;
  /** Relative to the root, with `/`. */
  readonly path: string;
  /** The patient, with the set's name before it; "" where the publisher does not say. */
  readonly group: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** The first line. */
interface Header {
  readonly manifest: 1;
  readonly set: string;
  /** The folder of the files, relative to the folder of the manifest. */
  readonly root: string;
  /** Of the split that the rows state; a manifest made by hand need not have one. */
  readonly splitSeed?: number;
}

/** One or several manifests, opened: rows are numbered through all of them, and read when they are asked for. */
export interface Manifest {
  readonly length: number;
  readonly sets: readonly string[];
  /** Index of `MODALITIES`, `KINDS`, `SPLITS` and of `sets`, for each row. */
  readonly modalityOf: Uint8Array;
  readonly kindOf: Uint8Array;
  readonly splitOf: Uint8Array;
  readonly setOf: Uint16Array;
  /** SHA-256 over all files, in hex: a run that goes on must have the same rows. */
  readonly digest: string;
  /** The seed that all of them were split with, where they state one. */
  readonly splitSeed: number | null;
  /** Throws an `InputError` with file and line where the line is not a row. */
  row(index: number): ManifestRow & { readonly set: string; readonly root: string };
  close(): void;
}

const CHUNK = 1 << 22;
const NEWLINE = 10;

/** Writes a manifest, whole or not at all, and says how many rows it has. The rows may come from a generator. */
export function writeManifest(
  file: string,
  set: string,
  root: string,
  rows: Iterable<ManifestRow>,
  splitSeed?: number,
): number {
  const header: Header = { manifest: 1, set, root: relative(dirname(resolve(file)), resolve(root)) || ".", splitSeed };
  const chunks: string[] = [JSON.stringify(header) + "\n"];
  let count = 0;
  let lines: string[] = [];
  for (const { modality, kind, split, path, group, labels } of rows) {
    // These three stand first: opening a manifest reads no further in a line.
    lines.push(JSON.stringify({ modality, kind, split, path, group, labels }));
    count++;
    if (lines.length === 10_000) {
      chunks.push(lines.join("\n") + "\n");
      lines = [];
    }
  }
  if (lines.length > 0) chunks.push(lines.join("\n") + "\n");
  writeAtomic(file, ...chunks);
  return count;
}

/** Where one manifest's lines start, and what they are of. */
interface Part extends Omit<Header, "manifest"> {
  readonly file: string;
  readonly descriptor: number;
  /** Of every row, and one more: where the file ends. */
  readonly starts: Float64Array;
  /** Place in `CODES`. */
  readonly codes: Uint8Array;
  readonly digest: Buffer;
}

/**
 * Opens manifests by one pass over their bytes: 14 bytes a row stay in memory, the rest stays on the disk.
 *
 * @throws InputError with file and line where a file is no manifest or a modality is unknown
 */
export function openManifest(...files: readonly string[]): Manifest {
  const parts: Part[] = [];
  try {
    for (const file of files) parts.push(openPart(file));
  } catch (error) {
    for (const { descriptor } of parts) closeSync(descriptor);
    throw error;
  }
  const sets = [...new Set(parts.map(({ set }) => set))];
  const seeds = [...new Set(parts.flatMap(({ splitSeed }) => splitSeed ?? []))];
  if (seeds.length > 1) {
    parts.forEach((part) => closeSync(part.descriptor));
    throw new InputError(`${files.join(", ")}: expected manifests split with one seed, got ${seeds.join(" and ")}`);
  }
  const length = parts.reduce((sum, { codes }) => sum + codes.length, 0);
  const [modalityOf, kindOf, splitOf] = [0, 1, 2].map(() => new Uint8Array(length));
  const setOf = new Uint16Array(length);
  const digest = createHash("sha256");
  const firsts: number[] = [];
  let first = 0;
  for (const { codes, set, digest: ofPart } of parts) {
    firsts.push(first);
    for (let i = 0; i < codes.length; i++) {
      const { modality, kind, split } = CODES[codes[i]];
      modalityOf[first + i] = modality;
      kindOf[first + i] = kind;
      splitOf[first + i] = split;
    }
    setOf.fill(sets.indexOf(set), first, first + codes.length);
    digest.update(ofPart);
    first += codes.length;
  }
  const row = (index: number) => {
    if (!(index >= 0 && index < length)) throw new RangeError(`row ${index} of ${length}`);
    const at = firsts.findLastIndex((start) => start <= index);
    const { file, descriptor, starts, set, root } = parts[at];
    const i = index - firsts[at];
    const line = Buffer.alloc(starts[i + 1] - starts[i]);
    readSync(descriptor, line, 0, line.length, starts[i]);
    return { ...parseRow(line.toString("utf8"), file, i + 2), set, root };
  };
  const close = () => parts.forEach((part) => closeSync(part.descriptor));
  return {
    length,
    sets,
    modalityOf,
    kindOf,
    splitOf,
    setOf,
    digest: digest.digest("hex"),
    splitSeed: seeds[0] ?? null,
    row,
    close,
  };
}

function openPart(file: string): Part {
  let descriptor: number;
  try {
    descriptor = openSync(file, "r");
  } catch (error) {
    throw systemError(file, error);
  }
  try {
    const size = fstatSync(descriptor).size;
    let header: Header | undefined;
    let starts = new Float64Array(1024);
    let codes = new Uint8Array(1024);
    const digest = createHash("sha256");
    const order = new Map([...BY_LETTER].map(([letter, codes]) => [letter, [...codes]]));
    let rows = 0;
    let line = 0;
    const take = (bytes: Buffer, start: number) => {
      line++;
      if (header === undefined) {
        header = parseHeader(bytes.toString("utf8"), file);
        return;
      }
      if (bytes.length === 0) throw new InputError(`${file}:${line}: expected a row, got an empty line`);
      if (rows + 1 === starts.length) {
        starts = grown(starts, new Float64Array(2 * starts.length));
        codes = grown(codes, new Uint8Array(2 * codes.length));
      }
      starts[rows] = start;
      codes[rows++] = codeAt(bytes, order, file, line);
    };
    const buffer = Buffer.alloc(CHUNK);
    let kept = Buffer.alloc(0);
    for (let at = 0; at < size;) {
      const read = readSync(descriptor, buffer, 0, CHUNK, at);
      if (read === 0) break;
      digest.update(buffer.subarray(0, read));
      const begin = at - kept.length;
      const bytes = kept.length > 0 ? Buffer.concat([kept, buffer.subarray(0, read)]) : buffer.subarray(0, read);
      let from = 0;
      for (let end = bytes.indexOf(NEWLINE); end >= 0; end = bytes.indexOf(NEWLINE, from)) {
        take(bytes.subarray(from, end), begin + from);
        from = end + 1;
      }
      kept = Buffer.from(bytes.subarray(from));
      at += read;
    }
    if (kept.length > 0) throw new InputError(`${file}:${line + 1}: the last line does not end: the file was cut`);
    if (header === undefined) throw new InputError(`${file}: expected a manifest, got an empty file`);
    starts[rows] = size;
    const { set, root, splitSeed } = header;
    return {
      ...{ file, descriptor, set, root: resolve(dirname(file), root), splitSeed },
      ...{ starts: starts.slice(0, rows + 1), codes: codes.slice(0, rows) },
      digest: digest.digest(),
    };
  } catch (error) {
    closeSync(descriptor);
    throw error instanceof InputError ? error : systemError(file, error);
  }
}

function grown<T extends Float64Array | Uint8Array>(from: T, to: T): T {
  to.set(from);
  return to;
}

/** Every modality, kind and split, as places in their lists, and how a line with them begins. */
const CODES = MODALITIES.flatMap((m, modality) =>
  KINDS.flatMap((k, kind) =>
    SPLITS.map((s, split) => {
      const prefix = Buffer.from(`${JSON.stringify({ modality: m, kind: k, split: s }).slice(0, -1)},`);
      return { modality, kind, split, prefix };
    }),
  ),
);

/** The letter after `{"modality":"` tells modalities apart: the codes of each, by that byte. */
const BY_LETTER = new Map(
  MODALITIES.map((name, modality) => [
    name.charCodeAt(0),
    CODES.flatMap((code, i) => (code.modality === modality ? [i] : [])),
  ]),
);
const LETTER = `{"modality":"`.length;

/**
 * From the first bytes, as `writeManifest` puts them; where a line has another order, from the whole of it. Most lines of a
 * modality begin as the one before them: `order` holds the codes of each letter, the latest first.
 */
function codeAt(bytes: Buffer, order: ReadonlyMap<number, number[]>, file: string, line: number): number {
  const likely = order.get(bytes[LETTER]) ?? [];
  for (let i = 0; i < likely.length; i++) {
    const code = likely[i];
    const { prefix } = CODES[code];
    if (bytes.length <= prefix.length || prefix.compare(bytes, 0, prefix.length) !== 0) continue;
    if (i > 0) [likely[0], likely[i]] = [code, likely[0]];
    return code;
  }
  const { modality, kind, split } = parseRow(bytes.toString("utf8"), file, line);
  return (MODALITIES.indexOf(modality) * KINDS.length + KINDS.indexOf(kind)) * SPLITS.length + SPLITS.indexOf(split);
}

function parseHeader(text: string, file: string): Header {
  try {
    const header = JSON.parse(text) as Header;
    if (header.manifest === 1 && typeof header.set === "string" && typeof header.root === "string") return header;
  } catch {
    // Said below.
  }
  throw new InputError(`${file}:1: expected {"manifest":1,"set":…,"root":…}, got "${text.slice(0, 40)}"`);
}

function parseRow(text: string, file: string, line: number): ManifestRow {
  const wrong = (expected: string) =>
    new InputError(`${file}:${line}: expected ${expected}, got "${text.slice(0, 60).trim()}"`);
  let row: Partial<ManifestRow>;
  try {
    row = JSON.parse(text) as Partial<ManifestRow>;
  } catch {
    throw wrong("a line of JSON");
  }
  const { modality, path, group, labels } = row;
  if (modality === undefined || !MODALITIES.includes(modality)) throw wrong(`a modality of ${MODALITIES.join(", ")}`);
  if (typeof path !== "string" || path === "" || isAbsolute(path) || normalize(path).startsWith("..")) {
    throw wrong("a path inside the folder");
  }
  if (typeof group !== "string" || typeof labels !== "object" || labels === null) throw wrong("a group and labels");
  const { kind = kindOfName(path), split = "train" } = row;
  if (!KINDS.includes(kind)) throw wrong(`a kind of ${KINDS.join(", ")}`);
  if (!SPLITS.includes(split)) throw wrong(`a split of ${SPLITS.join(", ")}`);
  return { modality, kind, split, path, group, labels };
}
