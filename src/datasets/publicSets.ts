/**
 * The section `public` of datasets.yaml: sets that others publish. What is known of each stands there with where it is
 * from; what we could not make sure of is left out. `m3ret fetch` brings the open ones, and checks the folders of the
 * others; `m3ret manifest` lists their files by `records`.
 */
import { existsSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { z } from "zod";
import { InputError, MODALITIES, type Modality } from "../types.js";
import type { Catalog, Preprocessing } from "./catalog.js";
import { recordRules, type RecordRules } from "./recordRules.js";
import { globToRegExp, walk } from "./walk.js";

/** `open`: anyone may download; `registration`: an account; `agreement`: a person signs, and is let in. */
export const ACCESS = ["open", "registration", "agreement", "unknown"] as const;
export type Access = (typeof ACCESS)[number];

/** Parts of the body: those of the phantoms, and what public sets add; `several` where one set shows many. */
export const BODY_REGIONS = [
  ...["head", "neck", "chest", "abdomen", "pelvis", "shoulder", "knee", "hand"],
  ...["arm", "breast", "fetus", "spine", "several"],
] as const;

/** One file that can be downloaded. A checksum that the publisher does not state is recorded at first sight instead. */
export interface RemoteFile {
  readonly url: string;
  /** In the target folder; the last part of the address where it is left out. */
  readonly name?: string;
  readonly bytes?: number;
  readonly sha256?: string;
  readonly md5?: string;
  /** An archive, to be unpacked in the target folder. */
  readonly unpack?: boolean;
}

/** What an entry says, by its keys, and may say from memory. */
export const FACTS = ["licence", "bytes", "count", "layout", "labels", "patient", "splits", "steps"] as const;

export interface PublicSet {
  readonly title: string;
  readonly home: string;
  readonly licence: string;
  readonly access: Access;
  readonly modalities: readonly Modality[];
  readonly region: (typeof BODY_REGIONS)[number];
  /** Of the download, approximately. */
  readonly bytes?: number;
  /** What there is how many of, as the publisher says: `{ images: 112120, patients: 30805 }`. */
  readonly count: Readonly<Record<string, number>>;
  /** Patterns of which each must match a file. */
  readonly layout: readonly string[];
  /** Label columns and what they mean. */
  readonly labels: Readonly<Record<string, string>>;
  /** What says who the patient is, or that nothing does. */
  readonly patient?: string;
  /** The publisher's own split. */
  readonly splits?: string;
  /** What retrieval is judged by: where left out, `finding`, `class` or `plane`, whichever the rules give, or else `region`. */
  readonly retrievalLabel?: string;
  readonly preprocessing: Preprocessing;
  readonly files: readonly RemoteFile[];
  readonly records?: RecordRules;
  /** What a person has to do, where we cannot download. */
  readonly steps?: string;
  /** What a user should know before trusting a number made on it. */
  readonly caution?: string;
  /** What was read at the publisher's, and where. */
  readonly checked?: string;
  /** What was not, and why it stands here nevertheless. */
  readonly unverified?: { readonly facts: readonly (typeof FACTS)[number][]; readonly why: string };
}

const text = z.string().min(1);
const hex = (digits: number) => z.string().regex(new RegExp(`^[0-9a-f]{${digits}}$`), `expected ${digits} hex digits`);
const remoteFile = z.strictObject({
  url: z.url({ protocol: /^https?$/, error: "expected an address that starts with http:// or https://" }),
  name: z
    .string()
    .regex(/^[\w.+-]+$/, "expected a name of letters, digits, ., +, - and _")
    .optional(),
  bytes: z.int().positive().optional(),
  sha256: hex(64).optional(),
  md5: hex(32).optional(),
  unpack: z.boolean().optional(),
});

/** The schema of one entry; the schema of its preprocessing is the catalogue's, and comes in here. */
export function publicSetSchema<P extends z.ZodType<Preprocessing>>(preprocessing: P) {
  return z
    .strictObject({
      title: text,
      home: z.url(),
      licence: text,
      access: z.enum(ACCESS),
      modalities: z.array(z.enum(MODALITIES)).min(1),
      region: z.enum(BODY_REGIONS),
      bytes: z.number().positive().optional(),
      count: z.record(text, z.int().positive()).default({}),
      layout: z.array(text).default([]),
      labels: z.record(text, text).default({}),
      patient: text.optional(),
      splits: text.optional(),
      retrievalLabel: text.optional(),
      preprocessing,
      files: z.array(remoteFile).default([]),
      records: recordRules.optional(),
      steps: text.optional(),
      caution: text.optional(),
      checked: text.optional(),
      unverified: z.strictObject({ facts: z.array(z.enum(FACTS)).min(1), why: text }).optional(),
    })
    .refine(({ access, files }) => files.length === 0 || access === "open", {
      path: ["files"],
      message: "expected access open where files can be downloaded",
    })
    .refine(({ files, steps }) => files.length > 0 || steps !== undefined, {
      path: ["steps"],
      message: "expected files, or steps that say what a person has to do",
    })
    .refine((set) => set.modalities.length === 1 || set.records === undefined || set.records.modality !== undefined, {
      path: ["records", "modality"],
      message: "expected a rule, because the set has several modalities",
    });
}

/** The entry of that name. Throws `unknown public set "x"; datasets.yaml has: …`. */
export function publicSetOf(catalog: Catalog, name: string): PublicSet {
  if (Object.hasOwn(catalog.public, name)) return catalog.public[name];
  const known = Object.keys(catalog.public).join(", ");
  throw new InputError(`unknown public set "${name}"; ${basename(catalog.file)} has: ${known || "none"}`);
}

/** The label that a set is judged by. A MedMNIST set has no rules, and its labels are `class`. */
export function retrievalLabelOf({ retrievalLabel, records, labels }: PublicSet): string {
  const given = Object.keys(records?.labels ?? labels);
  return retrievalLabel ?? ["finding", "class", "plane"].find((column) => given.includes(column)) ?? "region";
}

/** Where sets are looked for and fetched to: the folder M3RET_PUBLIC, or `data` of the working folder. */
export function publicRoot(): string {
  return resolve(process.env.M3RET_PUBLIC || "data");
}

/** The folder of one set. */
export function publicFolder(name: string): string {
  return join(publicRoot(), name);
}

/** What a person has to do for a set that cannot be downloaded. */
export function whatToDo(name: string, set: PublicSet): string {
  const after = `then check it with m3ret fetch ${name} --check FOLDER`;
  return `${name}: access is ${set.access}, licence: ${set.licence}; ${set.home}: ${set.steps ?? "see there"}, ${after}`;
}

/** Files that are looked at, at most, before a pattern counts as not matched. */
const LAYOUT_FILES = 2_000_000;

/** The patterns of `layout` that no file of the folder matches: an empty list where the folder is as expected. */
export function missingFrom(folder: string, layout: readonly string[], most: number = LAYOUT_FILES): string[] {
  if (!existsSync(folder)) return [...layout];
  const wanted = new Map(layout.map((pattern) => [pattern, globToRegExp(pattern)]));
  let seen = 0;
  for (const path of walk(folder)) {
    for (const [pattern, expression] of wanted) if (expression.test(path)) wanted.delete(pattern);
    if (wanted.size === 0 || ++seen >= most) break;
  }
  return [...wanted.keys()];
}

/** Whether a set lies on this machine, by the first files of its folder. */
export function isPresent(catalog: Catalog, name: string): boolean {
  const folder = publicFolder(name);
  const { layout } = catalog.public[name];
  return existsSync(folder) && missingFrom(folder, layout.length > 0 ? layout : ["**"], 50_000).length === 0;
}
