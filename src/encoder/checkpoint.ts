/** Encoders on disk: `encoder.safetensors`, which carries its configuration, and the same configuration as JSON. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { loadSafetensors, saveSafetensors } from "../engine/safetensors.js";
import { writeAtomic } from "../files.js";
import { Random } from "../random.js";
import { CEILING, InputError } from "../types.js";
import { encoderConfigSchema } from "./config.js";
import { initEncoder, type Encoder } from "./vit.js";

const WEIGHTS = "encoder.safetensors";
const CONFIG = "config.json";

/** Everything that is known of how the encoder came to be: method, data, steps, seed and so on. */
export type Provenance = Readonly<Record<string, unknown>>;

/** Writes DIR/encoder.safetensors and DIR/config.json, each atomically, the weights last. */
export function saveEncoder(folder: string, encoder: Encoder, provenance: Provenance): void {
  const resolved = { encoder: encoder.config, ...provenance, ...(encoder.ceiling ? { ceiling: CEILING } : {}) };
  writeAtomic(join(folder, CONFIG), JSON.stringify(resolved, null, 2) + "\n");
  saveSafetensors(join(folder, WEIGHTS), encoder.params, { config: JSON.stringify(resolved) });
}

/** @throws InputError where the folder holds no encoder, or its weights do not fit its configuration */
export function loadEncoder(folder: string): { encoder: Encoder; provenance: Provenance } {
  const path = join(folder, WEIGHTS);
  if (!existsSync(path)) throw new InputError(`${folder}: expected a folder with ${WEIGHTS}, found none`);
  const { arrays, metadata } = loadSafetensors(path);
  const resolved = configOf(metadata.config);
  const parsed = encoderConfigSchema.safeParse(resolved.encoder);
  if (!parsed.success) throw new InputError(`${path}: its metadata holds no valid encoder configuration`);
  const expected = initEncoder(parsed.data, new Random(0)).params;
  for (const [name, { shape }] of Object.entries(expected)) {
    const found = arrays[name]?.shape;
    if (String(found) !== String(shape)) throw new InputError(`${path}: expected ${name} [${shape}], got [${found}]`);
  }
  const ceiling = resolved.ceiling === undefined ? {} : ({ ceiling: true } as const);
  return { encoder: { config: parsed.data, params: arrays, ...ceiling }, provenance: resolved };
}

/** The stored configuration, or an empty one where it is missing or damaged: the schema then says what is wrong. */
function configOf(text: string | undefined): Record<string, unknown> {
  try {
    const config: unknown = JSON.parse(text ?? "{}");
    return typeof config === "object" && config !== null ? (config as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}
