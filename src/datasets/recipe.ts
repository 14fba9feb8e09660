/** The files of `recipes/`: what a pretraining run is mixed from. */
import { parseDocument } from "yaml";
import { z } from "zod";
import { readBytes } from "../files.js";
import { assertPretrainable, InputError, KINDS, MODALITIES, UNSEEN_MODALITY } from "../types.js";
import type { Kind, Modality, Shape3 } from "../types.js";
import { sizes, type Catalog } from "./catalog.js";
import type { Shares } from "./mixture.js";

export interface Recipe {
  readonly title: string;
  /** Whose choice the shares are, and why they are as they are. */
  readonly about: string;
  readonly shares: Shares;
  /** Entries of the catalogue that it is meant for. */
  readonly sets: readonly string[];
  readonly seed: number;
  /** [D, H, W] of each kind, instead of those of the sets: one batch may hold files of several sets. */
  readonly size?: Readonly<Record<Kind, Shape3>>;
}

const text = z.string().min(1);
const part = z.number().positive();
const schema = z.strictObject({
  title: text,
  about: text,
  shares: z.partialRecord(z.enum(MODALITIES), z.union([part, z.partialRecord(z.enum(KINDS), part)])),
  sets: z.array(text).default([]),
  seed: z.int().default(7),
  size: sizes.optional(),
});

/**
 * Reads a recipe. Throws an `InputError` of one line where it is not one, names a set that the catalogue lacks or that
 * has nothing but MRI, or gives MRI a share: the paper judges transfer to MRI, and never trains on it.
 */
export function loadRecipe(file: string, catalog: Catalog): Recipe {
  const document = parseDocument(Buffer.from(readBytes(file)).toString("utf8"), { logLevel: "error" });
  const [broken] = document.errors;
  if (broken !== undefined) throw new InputError(`${file}: ${broken.message.split("\n")[0].replace(/:$/, "")}`);
  const parsed = schema.safeParse(document.toJS());
  if (!parsed.success) {
    const [{ path, message }] = parsed.error.issues;
    throw new InputError(`${file}: ${path.join(".")}: ${message.split("\n")[0]}`);
  }
  const recipe = parsed.data;
  if (Object.keys(recipe.shares).length === 0) throw new InputError(`${file}: shares: expected a modality`);
  try {
    for (const modality of Object.keys(recipe.shares) as Modality[]) assertPretrainable(modality);
  } catch (error) {
    throw new InputError(`${file}: ${(error as Error).message}`);
  }
  for (const name of recipe.sets) {
    const set = catalog.public[name] ?? catalog.datasets[name];
    if (set === undefined) throw new InputError(`${file}: sets: "${name}" is not in the catalogue`);
    if (set.modalities.every((modality) => modality === UNSEEN_MODALITY)) {
      throw new InputError(`${file}: sets: ${name} is MRI, which never enters pretraining`);
    }
    if (!set.modalities.some((modality) => modality in recipe.shares)) {
      throw new InputError(`${file}: sets: ${name} is ${set.modalities.join(", ")}, which has no share`);
    }
  }
  return recipe;
}
