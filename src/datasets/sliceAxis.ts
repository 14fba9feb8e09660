/** Along which axis volumes are cut into slices: an ablation, not a property of the data. */
import { InputError } from "../types.js";
import { entryOf, type Catalog, type Preprocessing } from "./catalog.js";

/** How the slices of a volume lie: `axial` across the body, `coronal` as a frontal X-ray looks at it. */
export const SLICE_AXES = ["axial", "coronal"] as const;
export type SliceAxis = (typeof SLICE_AXES)[number];

/** Letters for increasing W, H and D, as radiologists look at such slices. */
const ORIENTATIONS: Readonly<Record<SliceAxis, string>> = { axial: "LPS", coronal: "LIP" };

/**
 * The catalogue with one data set cut the other way. Phantoms are scanned so, and keep their resolution; volumes from files
 * are turned, and resampled to the size of the entry as always. MRI is cut like CT. Anatomies and splits stay.
 *
 * @throws InputError where the data set is not in the catalogue, or has no volumes that know their orientation
 */
export function withSliceAxis(catalog: Catalog, name: string, axis: SliceAxis): Catalog {
  const orientation = ORIENTATIONS[axis];
  const turned = <T extends { readonly preprocessing: Preprocessing }>(entry: T): T => {
    return { ...entry, preprocessing: { ...entry.preprocessing, orientation } };
  };
  if (Object.hasOwn(catalog.public, name) && !Object.hasOwn(catalog.datasets, name)) {
    return { ...catalog, public: { ...catalog.public, [name]: turned(catalog.public[name]) } };
  }
  const entry = entryOf(catalog, name);
  if (entry.kind === "phantom") {
    return { ...catalog, datasets: { ...catalog.datasets, [name]: { ...entry, ctPlane: axis } } };
  }
  if (entry.kind === "folder") {
    return { ...catalog, datasets: { ...catalog.datasets, [name]: turned(entry) } };
  }
  throw new InputError(`sliceAxis: ${name}: expected a data set of phantoms or of files, got one of npz arrays`);
}
