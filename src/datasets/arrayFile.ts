/** Pictures, clips and volumes that somebody saved with numpy: an `.npy` file, or an `.npz` file of one array. */
import { npyHeader, parseNpy, type NpyHeader, type NpzArray } from "../npy.js";
import { arrayError, openNpz } from "../npz.js";
import { readBytes } from "../files.js";
import { InputError, sizeOf, type Decoded, type Kind, type Shape4 } from "../types.js";
import { expectedFromName, readHead, wrongContent } from "./sniff.js";

/** More values than this in one array are refused: 2³⁰, 4 GiB of float32. */
const MOST_VALUES = 2 ** 30;

/** How the axes of an array are read. */
interface Axes {
  readonly shape: Shape4;
  readonly kind: Kind;
  /** Channels stand last in the file. */
  readonly channelsLast: boolean;
  readonly said: string;
}

/**
 * Reads an array as a sample. Nothing in such a file says what its axes are, so this is a rule, and the warning says what was taken:
 * `[H, W]` is a grey picture, `[H, W, 3]` one in colour, any other `[D, H, W]` a volume; `[D, H, W, 3]` is a clip in colour, and
 * `[1 or 3, D, H, W]` a sample of our own. Spacing and orientation are not known.
 *
 * @throws `InputError`, one line: text, objects, complex numbers, another number of dimensions, several arrays, or no array at all
 */
export function readArrayFile(path: string, format: "npy" | "zip"): Decoded {
  const bytes = format === "npy" ? readBytes(path) : theOnlyArray(path, (zip, member) => zip.read(member));
  try {
    const header = npyHeader(bytes);
    const axes = axesOf(header); // before anything large is turned
    const { data } = parseNpy(bytes);
    const dtype = typeOf(header);
    return {
      pixels: axes.channelsLast
        ? channelsFirst(data, axes.shape)
        : Float32Array.from(data as ArrayLike<number>, Number),
      shape: axes.shape,
      kind: axes.kind,
      modality: null,
      spacingMm: null,
      orientation: null,
      dtype,
      warnings: [axes.said],
    };
  } catch (error) {
    throw new InputError(`${path}: expected an array that is a picture or a volume: ${(error as Error).message}`);
  }
}

/** What an array will be, from its header alone; a picture where it cannot be read: the reader will say why. */
export function kindOfArray(path: string, format: "npy" | "zip"): Kind {
  try {
    const head = format === "npy" ? readHead(path) : theOnlyArray(path, (zip, member) => zip.head(member, 4096));
    return axesOf(npyHeader(head)).kind;
  } catch {
    return "image";
  }
}

type Zip = ReturnType<typeof openNpz>;
type Member = Parameters<Zip["read"]>[0];

function theOnlyArray(path: string, read: (zip: Zip, member: Member) => Uint8Array): Uint8Array {
  const zip = openNpz(path);
  try {
    const arrays = [...zip.members.values()].filter(({ name }) => name.endsWith(".npy"));
    const names = arrays.map(({ name }) => name.slice(0, -4));
    if (arrays.length === 0) throw wrongContent(path, expectedFromName(path), "a zip file without arrays");
    if (arrays.length > 1) {
      const shown = names.slice(0, 12).join(", ");
      throw new InputError(
        `${path}: expected one array, got ${arrays.length}: ${shown} (a set of samples is an entry of datasets.yaml)`,
      );
    }
    try {
      return read(zip, arrays[0]);
    } catch (error) {
      throw arrayError(path, names[0], error);
    }
  } finally {
    zip.close();
  }
}

function axesOf({ shape, kind }: NpyHeader): Axes {
  if (kind === "U" || kind === "S") throw new Error("it holds text; expected numbers");
  const size = shape.join("×");
  if (shape.length < 2 || shape.length > 4)
    throw new Error(`it has ${shape.length} dimension${shape.length === 1 ? "" : "s"}; expected 2, 3 or 4`);
  const values = sizeOf(shape);
  if (values === 0) throw new Error(`it is empty (${size})`);
  if (values > MOST_VALUES) throw new Error(`${size} values are more than the ${MOST_VALUES} that are read at once`);
  const said = (axes: string): string => `an array of ${size} was taken for ${axes}`;
  const [a, b, c, d] = shape;
  if (shape.length === 2)
    return { shape: [1, 1, a, b], kind: "image", channelsLast: false, said: said("rows × columns") };
  if (shape.length === 3) {
    return c === 3
      ? { shape: [3, 1, a, b], kind: "image", channelsLast: true, said: said("rows × columns × colours") }
      : {
          shape: [1, a, b, c],
          kind: a > 1 ? "volume" : "image",
          channelsLast: false,
          said: said("slices × rows × columns"),
        };
  }
  if (d === 3)
    return { shape: [3, a, b, c], kind: "video", channelsLast: true, said: said("frames × rows × columns × colours") };
  if (a === 1 || a === 3) {
    return {
      shape: [a, b, c, d],
      kind: b > 1 ? "volume" : "image",
      channelsLast: false,
      said: said("channels × slices × rows × columns"),
    };
  }
  throw new Error(`4 dimensions of ${size} are not clear; expected 1 or 3 channels first, or 3 colours last`);
}

function channelsFirst(data: NpzArray["data"], [channels, ...extents]: Shape4): Float32Array {
  const plane = sizeOf(extents);
  const pixels = new Float32Array(channels * plane);
  for (let i = 0, at = 0; i < plane; i++) {
    for (let c = 0; c < channels; c++, at++) pixels[c * plane + i] = Number(data[at]);
  }
  return pixels;
}

/** numpy's name: `bool`, `uint8`, `float16`. */
function typeOf({ kind, width }: NpyHeader): string {
  return kind === "b" ? "bool" : `${{ i: "int", u: "uint", f: "float" }[kind] ?? kind}${8 * width}`;
}
