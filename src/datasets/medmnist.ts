/** MedMNIST: thousands of small labelled pictures or volumes in one npz file, in six arrays. */
import { basename } from "node:path";
import { arrayError, openNpz } from "../npz.js";
import { parseNpy } from "../npy.js";
import { InputError, LABEL_SEPARATOR, UNSEEN_MODALITY, type Decoded, type Modality, type Split } from "../types.js";
import type { DataRecord, Dataset, SkippedFile } from "./dataset.js";
import { planesOf } from "./imagePlanes.js";
import { MEDMNIST, setOfFile, type MedmnistSet } from "./medmnistSets.js";
import { openRows, type NpzRows } from "./npzRows.js";

export interface MedmnistOptions {
  readonly name: string;
  /** One of `MEDMNIST`; taken from the name of the file where it is left out. */
  readonly set?: string;
  /** What to take the pictures for. It must agree with what made them, where that is one of our modalities. */
  readonly modality: Modality;
  readonly cacheDir: string;
  /** Bytes of a packed array that may stay in memory; larger ones are unpacked into `cacheDir`. */
  readonly inMemory?: number;
}

/** The official splits and ours: training, then what is searched, then what is asked. */
const SPLIT_OF = { train: "train", val: "gallery", test: "query" } as const satisfies Record<string, Split>;
type Part = keyof typeof SPLIT_OF;

/**
 * Opens one set of any published size: `{train,val,test}_images` of uint8, `[n, s, s]`, `[n, s, s, 3]` or `[n, s, s, s]`, and
 * `_labels` `[n, 1]`, or `[n, 14]` of 0 and 1 for ChestMNIST. Its splits are kept: train is train, val is the gallery, test
 * asks the queries. A record's `class` is the published name of its label; where a picture has several they are a label set
 * (`LABEL_SEPARATOR`; "none" for none), and each finding has a column of its own with "yes" or "no". `source` says what made the picture.
 *
 * The files name no patients: each picture is a group of its own, although some sets have several of one patient. Of MRI,
 * the training part is left out and named in `skipped`. Pixels are read when they are asked for.
 *
 * @throws `InputError`, one line, where the file is no such set or its modality is another one
 */
export function openMedmnist(path: string, options: MedmnistOptions): Dataset {
  const set = options.set ?? setOfFile(basename(path));
  const known = Object.keys(MEDMNIST).join(", ");
  if (set === undefined || !Object.hasOwn(MEDMNIST, set)) {
    throw new InputError(
      `${path}: expected one of the MedMNIST sets ${known}, got ${set ?? "a name that begins with none"}`,
    );
  }
  const about = MEDMNIST[set];
  if (about.modality !== null && about.modality !== options.modality) {
    throw new InputError(`${path}: ${set} is ${about.modality} (${about.published}), got modality ${options.modality}`);
  }
  const records: DataRecord[] = [];
  const skipped: SkippedFile[] = [];
  const places = new Map<string, { rows: NpzRows; index: number }>();
  for (const part of Object.keys(SPLIT_OF) as Part[]) {
    const rows = openRows(path, `${part}_images`, options);
    checkShape(path, part, rows, about);
    const labels = readLabels(path, part, rows.shape[0], about);
    if (options.modality === UNSEEN_MODALITY && part === "train") {
      const reason = `${labels.length} MRI volumes on the training side of the split: neither trained nor judged on`;
      skipped.push({ path: `${set}/${part}`, reason });
      continue;
    }
    labels.forEach((columns, index) => {
      const id = `${set}/${part}/${String(index).padStart(6, "0")}`;
      places.set(id, { rows, index });
      records.push({
        id,
        modality: options.modality,
        kind: about.dimensions === 3 ? "volume" : "image",
        group: id,
        split: SPLIT_OF[part],
        labels: columns,
      });
    });
  }
  return {
    name: options.name,
    records,
    skipped,
    read: async ({ id }) => {
      const place = places.get(id);
      if (place === undefined) throw new InputError(`${path}: no record ${id}`);
      return decoded((await place.rows.row(place.index)) as Uint8Array, place.rows.shape, about);
    },
  };
}

function decoded(values: Uint8Array, [, ...shape]: readonly number[], { dimensions, channels }: MedmnistSet): Decoded {
  const [depth, height, width] = dimensions === 3 ? shape : [1, shape[0], shape[1]];
  const { pixels } = planesOf(values, channels, channels === 3 ? "rgb" : "grey", 255);
  return {
    pixels,
    shape: [channels, depth, height, width],
    kind: dimensions === 3 ? "volume" : "image",
    modality: null,
    spacingMm: null,
    orientation: null,
    dtype: "uint8",
    warnings: [],
  };
}

function checkShape(path: string, part: Part, { shape, descr }: NpzRows, { dimensions, channels }: MedmnistSet): void {
  if (descr !== "|u1") throw new InputError(`${path}: expected ${part}_images of type |u1, got ${descr}`);
  const [n, side] = shape;
  const expected = dimensions === 3 ? [n, side, side, side] : channels === 3 ? [n, side, side, 3] : [n, side, side];
  if (shape.length === expected.length && shape.every((extent, i) => extent === expected[i]) && side > 0) return;
  const written = dimensions === 3 ? "[n, s, s, s]" : channels === 3 ? "[n, s, s, 3]" : "[n, s, s]";
  throw new InputError(`${path}: expected ${part}_images of shape ${written}, got [${shape.join(", ")}]`);
}

/** Label columns of each row, by their published names. */
function readLabels(path: string, part: Part, count: number, about: MedmnistSet): Record<string, string>[] {
  const name = `${part}_labels`;
  const columns = about.multiLabel ? about.classes.length : 1;
  const zip = openNpz(path);
  try {
    const member = zip.members.get(`${name}.npy`);
    if (member === undefined) throw new Error("the file has no such array");
    const { shape, data } = parseNpy(zip.read(member));
    const fits = shape[0] === count && (shape[1] ?? 1) === columns && shape.length <= 2;
    if (!fits) throw new Error(`expected shape [${count}, ${columns}], got [${shape.join(", ")}]`);
    return Array.from({ length: count }, (_, row) => {
      const values = Array.from({ length: columns }, (_, column) => Number(data[row * columns + column]));
      return { ...labelsOf(values, about), source: about.published };
    });
  } catch (error) {
    throw arrayError(path, name, error);
  } finally {
    zip.close();
  }
}

function labelsOf(values: readonly number[], { multiLabel, classes }: MedmnistSet): Record<string, string> {
  const most = multiLabel ? 1 : classes.length - 1;
  const wrong = values.find((value) => !(Number.isInteger(value) && value >= 0 && value <= most));
  if (wrong !== undefined) throw new Error(`expected labels from 0 to ${most}, got ${wrong}`);
  if (!multiLabel) return { class: classes[values[0]] };
  const found = classes.filter((_, i) => values[i] === 1);
  const each = Object.fromEntries(classes.map((name, i) => [name, values[i] === 1 ? "yes" : "no"]));
  return { class: found.join(LABEL_SEPARATOR) || "none", ...each };
}
