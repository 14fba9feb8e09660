/** What `datasets.yaml` says of a data set: entries, how their values become pictures, and who is on which side. */
import type { Kind, Modality, Shape3, Split } from "../types.js";
import type { EncoderEntry, FITS } from "./encoderEntry.js";
import type { PublicSet } from "./publicSets.js";

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
