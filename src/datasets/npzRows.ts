/** One array of an npz file, a row at a time: sets of several gigabytes are never in memory whole. */
import { createWriteStream, existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { readPart, systemError } from "../files.js";
import { npyHeader, npyValues, type NpyHeader, type NpzArray } from "../npy.js";
import { arrayError, openNpz } from "../npz.js";
import { InputError, sizeOf } from "../types.js";
import type { ZipMember } from "../zip.js";

const ENDS_EARLY = "the file ends too early";

/** Rows along the first axis. */
export interface NpzRows {
  /** Of the whole array: `[n, …]`. */
  readonly shape: readonly number[];
  /** Of its values, as numpy writes it: `|u1` is uint8. */
  readonly descr: string;
  /** The values of one row, in row-major order. */
  row(index: number): Promise<NpzArray["data"]>;
}

export interface NpzRowsOptions {
  /** Packed arrays larger than `inMemory` are unpacked here once. */
  readonly cacheDir: string;
  /** Bytes of an unpacked array that may stay in memory. */
  readonly inMemory?: number;
}

/**
 * Opens the array `name`. Nothing but its header is read yet. An array that the file stores as it is, is read from the file;
 * a packed one is unpacked when its first row is asked for: in memory, or into `cacheDir` where it is large, under a name
 * made of its checksum.
 *
 * @throws `InputError` that names the file, and the array
 */
export function openRows(path: string, name: string, { cacheDir, inMemory = 2 ** 28 }: NpzRowsOptions): NpzRows {
  const zip = openNpz(path);
  let member: ZipMember;
  let header: NpyHeader;
  let start: number;
  try {
    const found = zip.members.get(`${name}.npy`);
    if (found === undefined) {
      const names = [...zip.members.keys()].map((file) => file.replace(/\.npy$/, "")).slice(0, 12);
      throw new InputError(`${path}: expected an array ${name}, got ${names.join(", ") || "none"}`);
    }
    member = found;
    start = zip.start(member);
    header = npyHeader(zip.head(member, 4096));
    const needed = header.start + sizeOf(header.shape) * header.width;
    if (header.shape.length === 0) throw new Error("it has no rows");
    if (header.fortranOrder && header.shape.length > 1)
      throw new Error("it is in Fortran order; save a C-ordered copy");
    if (needed > member.bytes) throw new Error(`expected ${needed} bytes, got ${member.bytes}`);
  } catch (error) {
    throw error instanceof InputError ? error : arrayError(path, name, error);
  } finally {
    zip.close();
  }
  const bytesPerRow = sizeOf(header.shape.slice(1)) * header.width;
  const at = (index: number): number => header.start + index * bytesPerRow;
  const checkIndex = (index: number): void => {
    if (index < 0 || index >= header.shape[0])
      throw new Error(`${name} has ${header.shape[0]} rows, asked for ${index}`);
  };

  let whole: Buffer | undefined;
  const fromMemory = (index: number): Uint8Array => {
    whole ??= readWhole(path, name, member);
    return whole.subarray(at(index), at(index) + bytesPerRow);
  };
  let unpacked: Promise<string> | undefined;
  const fromDisk = async (index: number): Promise<Uint8Array> => {
    if (!member.deflated) return readPart(path, start + at(index), bytesPerRow, ENDS_EARLY);
    unpacked ??= unpack(path, name, member, cacheDir);
    return readPart(await unpacked, at(index), bytesPerRow, ENDS_EARLY);
  };
  const small = member.deflated && member.bytes <= inMemory;
  return {
    shape: header.shape,
    descr: header.descr,
    row: async (index) => {
      checkIndex(index);
      return npyValues(small ? fromMemory(index) : await fromDisk(index), header);
    },
  };
}

function readWhole(path: string, name: string, member: ZipMember): Buffer {
  const zip = openNpz(path);
  try {
    return zip.read(member);
  } catch (error) {
    throw arrayError(path, name, error);
  } finally {
    zip.close();
  }
}

/** Unpacks into the cache, whole or not at all, and checks the checksum; what is there already is taken. */
async function unpack(path: string, name: string, member: ZipMember, cacheDir: string): Promise<string> {
  const folder = join(cacheDir, "npz");
  const target = join(folder, `${name}-${member.crc.toString(16).padStart(8, "0")}-${member.bytes}.npy`);
  if (existsSync(target)) return target;
  const temporary = `${target}.${process.pid}.tmp`;
  const zip = openNpz(path);
  try {
    mkdirSync(folder, { recursive: true });
    await pipeline(zip.stream(member, { maxBytes: 2 ** 40 }), createWriteStream(temporary));
    renameSync(temporary, target);
    return target;
  } catch (error) {
    rmSync(temporary, { force: true });
    throw (error as NodeJS.ErrnoException).path !== undefined
      ? systemError(folder, error)
      : arrayError(path, name, error);
  } finally {
    zip.close();
  }
}
