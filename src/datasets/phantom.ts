/**
 * Virtual patients: a dataset for machines that have downloaded nothing. Each patient is one labelled 3D anatomy from which
 * every modality is simulated by its physics; what the modalities share is anatomy, not style, and the X-ray and the CT of
 * one patient are a true pair. What is learned on phantoms demonstrates; it proves nothing about people.
 */
import { join } from "node:path";
import { readPart } from "../files.js";
import { InputError, sizeOf, type Decoded, type OnProgress } from "../types.js";
import type { DataRecord, Dataset } from "./dataset.js";
import { ensurePhantoms } from "./phantomCache.js";
import {
  bytesOf,
  fileOf,
  fullSpec,
  planOf,
  shapeOf,
  specHash,
  type Geometry,
  type PhantomSpec,
} from "./phantomPlan.js";
import { STORED } from "./phantomSimulate.js";
import { samplesFrom } from "./samples.js";

export { FINDINGS, NO_FINDING, REGIONS, drawPatients, type Patient } from "./phantomPatient.js";
export { acquisitionOf, simulate } from "./phantomSimulate.js";
export { GENERATOR_VERSION, type PhantomSpec } from "./phantomPlan.js";

export interface OpenOptions {
  /** Phantoms are made once per spec, and kept here: about 0.8 MB per patient at size 64, depth 16. */
  readonly cacheDir: string;
  /** Worker threads; 0 makes everything in this thread. As many as there are cores where absent. */
  readonly workers?: number;
  readonly onProgress?: OnProgress;
}

/**
 * Opens the phantoms of a spec, making them first if this machine has not. The same spec gives the same bytes on every
 * platform and for any number of workers.
 *
 * Labels: `region`, `finding` (`none` or one of `FINDINGS[region]`) and `size` of the finding (`small`, `large`, `none`). The
 * group is the patient. Patients of the train split have no MRI, except where the spec is a ceiling's.
 *
 * @throws InputError when the spec cannot be met, or the cache cannot be written
 */
export async function openPhantom(name: string, spec: PhantomSpec, options: OpenOptions): Promise<Dataset> {
  const full = fullSpec(spec);
  const folder = join(options.cacheDir, `phantom-${specHash(full)}`);
  const index = await ensurePhantoms(folder, full, options);

  const records: DataRecord[] = [];
  const places = new Map<string, { readonly slot: number; readonly geometry: Geometry }>();
  planOf(full).forEach(({ patient, split, pictures }, p) => {
    const { id: group, region, finding, size } = patient;
    pictures.forEach(({ modality, slot }, k) => {
      const id = `${group}-${modality}`;
      records.push({ id, modality, kind: STORED[modality].kind, group, split, labels: { region, finding, size } });
      places.set(id, { slot, geometry: index.geometries[p][k] });
    });
  });

  const read = async (record: DataRecord): Promise<Decoded> => {
    const place = places.get(record.id);
    if (!place) throw new InputError(`${name}: no record ${record.id}; expected an id such as ${records[0].id}`);
    const { kind, dtype } = STORED[record.modality];
    const shape = shapeOf(record.modality, full);
    const length = bytesOf(record.modality, full);
    const endsEarly = `ends before picture ${place.slot}; remove its folder to make it again`;
    const bytes = await readPart(join(folder, fileOf(record.modality)), place.slot * length, length, endsEarly);
    return {
      pixels: new Float32Array(samplesFrom(bytes, dtype, sizeOf(shape), true)),
      shape,
      kind,
      modality: record.modality,
      ...place.geometry,
      dtype,
      warnings: [],
    };
  };
  return { name, records, skipped: [], read };
}
