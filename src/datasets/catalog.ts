/** `datasets.yaml`: what can be loaded, where it is from, who is on which side, and how its values become pictures. */
import { existsSync } from "node:fs";
import { basename, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseDocument } from "yaml";
import { z } from "zod";
import { readBytes } from "../files.js";
import { InputError, MODALITIES } from "../types.js";
import type { Kind, Modality, Shape3, Split } from "../types.js";
import { encoderEntry, FITS, locate, type EncoderEntry } from "./encoderEntry.js";
import { publicSetSchema, retrievalLabelOf, type PublicSet } from "./publicSets.js";
import { MEDMNIST, setOfFile } from "./medmnistSets.js";

/** How stored units become [0, 1]; `transforms/intensity.ts` gives each its formula. */
export type IntensityRule = (
  | { readonly windowHu: readonly [low: number, high: number] }
  | { readonly percentiles: readonly [low: number, high: number] }
  | { readonly range: readonly [low: number, high: number] }
  /** The file's own table or window, or else these percentiles. */
  | { readonly voi: readonly [low: number, high: number] }
) & {
  /** Where the numbers are from, or that they are ours. */
  readonly source?: string;
};

/** How every sample of a data set is brought to the same form. The paper does not publish its own. */
export interface Preprocessing {
  /**
   * One rule per modality, and `uint8` for any file that stores 8 bits: somebody has windowed it already, so that
   * Hounsfield limits would be wrong for a CT in a JPEG file.
   */
  readonly intensity: Readonly<Record<Modality | "uint8", IntensityRule>>;
  /** [D, H, W] for each kind; an image has D = 1. */
  readonly size: Readonly<Record<Kind, Shape3>>;
  /** How a picture reaches the aspect ratio of `size`: see `fitTo`. */
  readonly fit: (typeof FITS)[number];
  /** Volumes that know their orientation are turned to this one (letters for increasing W, H and D). */
  readonly orientation?: string;
  /** Whether slices of a tilted gantry are put straight; they are where it is left out. */
  readonly straighten?: boolean;
  /** Volumes come to this spacing, [D, H, W] in mm, and are cut or padded about their centre, instead of `fit`. See `atSpacing`. */
  readonly spacingMm?: Shape3;
  /** What is no brighter than `above`, in [0, 1], is cut away around everything, but for `margin` voxels. See `foregroundBox`. */
  readonly foreground?: { readonly above: number; readonly margin: number };
  /** Of a video, frames `stride` apart from a start that its name draws; where left out, frames spread over all of it. */
  readonly clip?: { readonly stride: number };
}

/** Parts of the groups, which sum to 1. */
export type SplitFractions = Readonly<Record<Split, number>>;

/** Fractions and the seed of the draw. */
export type SplitRule = SplitFractions & { readonly seed: number };

/** Something that makes numbers on a data set look better, or other, than they are. Tables print it beside them. */
export interface Trap {
  /** One sentence. */
  readonly says: string;
  /** Where it matters: retrieval from or into one of these. Everywhere where it is left out. */
  readonly modalities?: readonly Modality[];
  /** Only where retrieval is judged by this label. */
  readonly label?: string;
}

interface EntryBase {
  readonly title: string;
  /** Where it comes from: an address, or what makes it. */
  readonly source: string;
  readonly licence: string;
  readonly modalities: readonly Modality[];
  /** The column that says who the patient is. */
  readonly group: string;
  /** Label columns and what they mean. */
  readonly labels: Readonly<Record<string, string>>;
  /** The label that retrieval is judged by unless another is asked for. */
  readonly retrievalLabel: string;
  /** The label that modalities share, where it is another one: what retrieval across modalities is judged by. */
  readonly crossModalLabel?: string;
  /** Label columns that hold label sets, with `|` between: `labelSetsOf` knows those of public sets and MedMNIST too. */
  readonly labelSets?: readonly string[];
  readonly traps?: readonly Trap[];
  readonly preprocessing: Preprocessing;
}

/** Virtual patients, made on this machine: see `phantom.ts`. */
export interface PhantomEntry extends EntryBase {
  readonly kind: "phantom";
  readonly split: SplitFractions;
  readonly patients: number;
  /** Of the anatomies, the pictures and the split alike. */
  readonly seed: number;
  /** Side of every picture in pixels, and slices or frames of volumes and videos. */
  readonly size: number;
  readonly depth: number;
  readonly ctPlane?: "axial" | "coronal";
}

/** A folder with a `labels.csv`: see `folder.ts`. */
export interface FolderEntry extends EntryBase {
  readonly kind: "folder";
  readonly split: SplitRule;
  /** As it is written; `locate` fills in `${NAME}` and `${NAME:-default}` and makes it absolute. */
  readonly path: string;
  /** Keep at most this many files of each class, chosen by the split's seed. */
  readonly limitPerClass?: number;
  /** Keep only, or leave out, paths that start with one of these. */
  readonly include?: readonly string[];
  readonly exclude?: readonly string[];
  /** Label columns made from others. */
  readonly derive?: Readonly<Record<string, DerivedLabel>>;
}

/**
 * A label column made from another by a table of values: `{ from: "class", values: { cxr: "chest" } }`. Values that the
 * table lacks become "", which is unlabelled.
 */
export interface DerivedLabel {
  readonly from: string;
  readonly values: Readonly<Record<string, string>>;
}

/** One npz file of MedMNIST: see `medmnist.ts`. */
export interface MedmnistEntry extends EntryBase {
  readonly kind: "medmnist";
  /** The split that comes with the set: train, val as the gallery, test as the queries. */
  readonly split: "official";
  /** The file, written as the path of a folder is. */
  readonly path: string;
  /** Such as `chestmnist`; taken from the name of the file where it is left out. */
  readonly set?: string;
}

/** A set of the section `public`, seen as an entry: see `publicDataset.ts`. */
export interface PublicEntry extends EntryBase {
  readonly kind: "public";
  readonly set: PublicSet;
}

/** An entry of the section `datasets`. */
export type ListedEntry = PhantomEntry | FolderEntry | MedmnistEntry;

export type Entry = ListedEntry | PublicEntry;

export interface Catalog {
  /** The file it was read from. */
  readonly file: string;
  readonly datasets: Readonly<Record<string, ListedEntry>>;
  /** Sets that others publish, to be fetched. */
  readonly public: Readonly<Record<string, PublicSet>>;
  readonly encoders: Readonly<Record<string, EncoderEntry>>;
}

const positive = z.int().positive();
const millimetres = z.number().positive();
const limits = z
  .tuple([z.number(), z.number()])
  .refine(([low, high]) => low < high, "expected [low, high] with low < high");
const percents = limits.refine(([low, high]) => low >= 0 && high <= 100, "expected percentiles between 0 and 100");

const ruleNames = ["windowHu", "percentiles", "range", "voi"] as const;
const intensityRule = z
  .strictObject({
    windowHu: limits.optional(),
    percentiles: percents.optional(),
    range: limits.optional(),
    voi: percents.optional(),
    source: z.string().min(1).optional(),
  })
  .refine(
    (rule) => ruleNames.filter((name) => rule[name] !== undefined).length === 1,
    `expected exactly one of ${ruleNames.join(", ")}`,
  )
  .transform((rule) => rule as IntensityRule);

const robust = (source: string) => ({ percentiles: [0.5, 99.5] as [number, number], source });

/** The rules of entries that have none of their own, each with its source. */
const INTENSITY = {
  xray: robust("nnU-Net's percentiles for CT (Isensee et al. 2021); for radiographs ours: detector units mean nothing"),
  ultrasound: robust("ours, as for X-ray; most files hold 8 bits, and then the rule uint8 applies"),
  endoscopy: robust("ours, as for X-ray; most files hold 8 bits, and then the rule uint8 applies"),
  ct: {
    windowHu: [-1000, 1000] as [number, number],
    source: "ours: from air, -1000 HU by definition, to dense bone, for every region; DINOv2-3D-Med has -1024 to 2048",
  },
  mri: robust("ours: the scale of MRI is arbitrary; 3DINO scales by percentiles too, 0.05 and 99.95"),
  uint8: {
    range: [0, 255] as [number, number],
    source: "as torchvision's ToTensor: what holds 8 bits has been windowed already, whatever made it",
  },
};

const size3 = z.tuple([positive, positive, positive]);

/** [D, H, W] for each kind. */
export const sizes = z.strictObject({
  image: size3.refine(([depth]) => depth === 1, "an image has depth 1"),
  video: size3,
  volume: size3,
});

const preprocessing = z.strictObject({
  intensity: z
    .strictObject({
      xray: intensityRule.prefault(INTENSITY.xray),
      ultrasound: intensityRule.prefault(INTENSITY.ultrasound),
      endoscopy: intensityRule.prefault(INTENSITY.endoscopy),
      ct: intensityRule.prefault(INTENSITY.ct),
      mri: intensityRule.prefault(INTENSITY.mri),
      uint8: intensityRule.prefault(INTENSITY.uint8),
    })
    .prefault({}),
  size: sizes.prefault({ image: [1, 64, 64], video: [16, 64, 64], volume: [16, 64, 64] }),
  fit: z.enum(FITS).default("pad"),
  orientation: z
    .string()
    .refine(isOrientation, "expected three letters, one of R/L, one of A/P and one of S/I, such as LPS")
    .optional(),
  straighten: z.boolean().optional(),
  spacingMm: z.tuple([millimetres, millimetres, millimetres]).optional(),
  foreground: z.strictObject({ above: z.number().min(0).max(1), margin: z.int().min(0).default(0) }).optional(),
  clip: z.strictObject({ stride: positive }).optional(),
});

const fraction = z.number().min(0).max(1);
const fractions = z.strictObject({
  train: fraction.default(0.6),
  gallery: fraction.default(0.2),
  query: fraction.default(0.2),
});
const sumToOne = (s: SplitFractions): boolean => Math.abs(s.train + s.gallery + s.query - 1) < 1e-6;
const mustSumToOne = "train + gallery + query must be 1";

const text = z.string().min(1);
const common = {
  title: text,
  source: text,
  licence: text,
  modalities: z.array(z.enum(MODALITIES)).min(1),
  group: text,
  labels: z.record(z.string(), text).refine((columns) => Object.keys(columns).length > 0, "expected a label column"),
  retrievalLabel: text,
  crossModalLabel: text.optional(),
  labelSets: z.array(text).optional(),
  traps: z
    .array(
      z.strictObject({
        says: text,
        modalities: z.array(z.enum(MODALITIES)).min(1).optional(),
        label: text.optional(),
      }),
    )
    .optional(),
  preprocessing: preprocessing.prefault({}),
};

const entry = z
  .discriminatedUnion("kind", [
    z.strictObject({
      kind: z.literal("phantom"),
      ...common,
      split: fractions.refine(sumToOne, mustSumToOne).prefault({}),
      patients: positive,
      seed: z.int(),
      size: positive,
      depth: positive,
      ctPlane: z.enum(["axial", "coronal"]).optional(),
    }),
    z.strictObject({
      kind: z.literal("folder"),
      ...common,
      split: fractions
        .extend({ seed: z.int().default(7) })
        .refine(sumToOne, mustSumToOne)
        .prefault({}),
      path: text,
      limitPerClass: positive.optional(),
      include: z.array(text).optional(),
      exclude: z.array(text).optional(),
      derive: z.record(text, z.strictObject({ from: text, values: z.record(text, text) })).optional(),
    }),
    z.strictObject({
      kind: z.literal("medmnist"),
      ...common,
      modalities: z.tuple([z.enum(MODALITIES)]),
      split: z.literal("official").default("official"),
      path: text,
      set: z.enum(Object.keys(MEDMNIST) as [string, ...string[]]).optional(),
    }),
  ])
  .refine((e) => e.retrievalLabel in e.labels, {
    path: ["retrievalLabel"],
    message: "expected one of the keys of labels",
  })
  .refine((e) => e.crossModalLabel === undefined || e.crossModalLabel in e.labels, {
    path: ["crossModalLabel"],
    message: "expected one of the keys of labels",
  })
  .refine((e) => (e.labelSets ?? []).every((label) => label in e.labels), {
    path: ["labelSets"],
    message: "expected keys of labels",
  })
  .refine((e) => (e.traps ?? []).every(({ label }) => label === undefined || label in e.labels), {
    path: ["traps"],
    message: "expected a label to be one of the keys of labels",
  });

/** Of public sets, where an entry does not say otherwise: 224 pixels are 14 patches of 16, which the preset `paper` has. */
const PUBLIC_PREPROCESSING = {
  size: { image: [1, 224, 224], video: [16, 224, 224], volume: [32, 224, 224] },
  orientation: "LPS", // axial slices as radiologists look at them
} satisfies z.input<typeof preprocessing>;

const schema = z.strictObject({
  // YAML anchors need a home: settings shared by several entries stand here, and are checked where they are used.
  shared: z.unknown().optional(),
  datasets: z.record(text, entry),
  public: z.record(text, publicSetSchema(preprocessing.prefault(PUBLIC_PREPROCESSING))).prefault({}),
  encoders: z.record(text, encoderEntry).prefault({}),
});

/** True for one letter of each of the three axes: `isOrientation("LPS")`. */
export function isOrientation(letters: string): boolean {
  return (
    letters.length === 3 && ["RL", "AP", "SI"].every((axis) => [...letters].some((letter) => axis.includes(letter)))
  );
}

/**
 * Reads the catalogue: the named file, or else `datasets.yaml` in the working folder, or else the one that comes with
 * the package. Throws an `InputError` of one line that names the file and the key.
 */
export function loadCatalog(file?: string): Catalog {
  const candidates = file === undefined ? [resolve("datasets.yaml"), packaged()] : [resolve(file)];
  const found = candidates.find((candidate) => existsSync(candidate)) ?? candidates[0];
  return parseCatalog(Buffer.from(readBytes(found)).toString("utf8"), found);
}

/** This file is `src/datasets/catalog.ts` or `dist/datasets/catalog.js`: both are two folders below the package. */
function packaged(): string {
  return fileURLToPath(new URL("../../datasets.yaml", import.meta.url));
}

/** As `loadCatalog`, from text that has been read; `file` is what errors name. */
export function parseCatalog(yaml: string, file: string): Catalog {
  const document = parseDocument(yaml, { logLevel: "error" }); // its warnings would go to the terminal
  const [broken] = document.errors;
  if (broken !== undefined) throw new InputError(`${file}: ${broken.message.split("\n")[0].replace(/:$/, "")}`);

  const parsed = schema.safeParse(plainOf(document, file));
  if (!parsed.success) throw new InputError(`${file}: ${firstIssue(parsed.error)}`);
  return { file, datasets: parsed.data.datasets, public: parsed.data.public, encoders: parsed.data.encoders };
}

/** Throws where an alias (`*name`) has no anchor (`&name`) before it. */
function plainOf(document: ReturnType<typeof parseDocument>, file: string): unknown {
  try {
    return document.toJS();
  } catch (error) {
    throw new InputError(`${file}: ${(error as Error).message.split("\n")[0]}`);
  }
}

/** `datasets.phantom.size: Invalid input: expected number, received string (and 2 more)` */
function firstIssue(error: z.ZodError): string {
  const [{ path, message }] = error.issues;
  const more = error.issues.length > 1 ? ` (and ${error.issues.length - 1} more)` : "";
  const where = path.length > 0 ? `${path.join(".")}: ` : "";
  return `${where}${message.split("\n")[0]}${more}`;
}

/** The entry of that name, public sets among them. Throws `unknown data set "x"; datasets.yaml has: …`. */
export function entryOf(catalog: Catalog, name: string): Entry {
  if (Object.hasOwn(catalog.datasets, name)) return catalog.datasets[name];
  if (Object.hasOwn(catalog.public, name)) return publicEntry(catalog.public[name]);
  const known = Object.keys(catalog.datasets).join(", ");
  const others = Object.keys(catalog.public).length;
  const more = others > 0 ? ` and ${others} public sets (m3ret datasets lists them)` : "";
  throw new InputError(`unknown data set "${name}"; ${basename(catalog.file)} has: ${known}${more}`);
}

/** A public set with what the entries of `datasets` have: labels, and what they are judged by. */
function publicEntry(set: PublicSet): PublicEntry {
  const { title, home, licence, modalities, preprocessing } = set;
  return {
    ...{ kind: "public", set, title, source: home, licence, modalities, preprocessing },
    group: set.patient ?? "not published: each file counts as its own",
    labels: { ...set.labels, ...(set.region === "several" ? {} : { region: "part of the body" }) },
    retrievalLabel: retrievalLabelOf(set),
    ...("region" in (set.records?.labels ?? {}) || set.region !== "several" ? { crossModalLabel: "region" } : {}),
  };
}

/**
 * The label columns in which a picture may have several labels at once, with `LABEL_SEPARATOR` between: those that an entry names,
 * those of a public set whose rule says what stands `several`, and `class` of MedMNIST's multi-label set.
 */
export function labelSetsOf(entry: Entry): readonly string[] {
  const named = entry.labelSets ?? [];
  if (entry.kind === "medmnist") {
    const set = entry.set ?? setOfFile(basename(entry.path));
    return set !== undefined && MEDMNIST[set]?.multiLabel ? ["class", ...named] : named;
  }
  if (entry.kind !== "public") return named;
  const npz = entry.set.layout.map((file) => setOfFile(file)).find((set) => set !== undefined);
  if (npz !== undefined) return MEDMNIST[npz].multiLabel ? ["class"] : [];
  return Object.entries(entry.set.records?.labels ?? {}).flatMap(([column, { several }]) => (several ? [column] : []));
}

/**
 * An entry for a folder that the catalogue does not list, with the defaults of the format: what
 * `m3ret embed --data FOLDER` uses.
 */
export function unlistedFolder(path: string): FolderEntry {
  const parsed = entry.parse({
    kind: "folder",
    title: path,
    source: path,
    licence: "not stated",
    modalities: MODALITIES,
    group: "group",
    labels: { class: "the column class of labels.csv" },
    retrievalLabel: "class",
    path,
  });
  if (parsed.kind !== "folder") throw new Error("an entry of kind folder was parsed as another kind");
  return parsed;
}

/** The folder of an entry. Throws an `InputError` that says what to set or to correct where it is not there. */
export function folderOf(catalog: Catalog, name: string, { path }: FolderEntry): string {
  return locate(catalog.file, path, `data set "${name}"`, "folder");
}

/** The npz file of an entry, found as folders are. */
export function medmnistFile(catalog: Catalog, name: string, { path }: MedmnistEntry): string {
  return locate(catalog.file, path, `data set "${name}"`, "file");
}

/** The file of an entry of `encoders`, found as folders are. */
export function encoderFile(catalog: Catalog, name: string, { file, get }: EncoderEntry): string {
  try {
    return locate(catalog.file, file, `encoder "${name}"`, "file");
  } catch (error) {
    if (get === undefined || !(error instanceof InputError)) throw error;
    throw new InputError(`${error.message}; to get it: ${get}`);
  }
}
