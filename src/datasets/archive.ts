/** Unpacks zip, tar, tar.gz and gz files that nobody vouches for. */
import {
  createReadStream,
  createWriteStream,
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { Transform, type Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { crc32, createGunzip } from "node:zlib";
import { extract } from "tar-stream";
import yauzl from "yauzl";
import { systemError } from "../files.js";
import { InputError } from "../types.js";
import { ArchiveRules, type ArchiveLimits } from "./archiveRules.js";
import { unpackedHead } from "./niftiBytes.js";
import { contentOf, readHead } from "./sniff.js";

export interface UnpackedFile {
  /** Relative to the folder, with `/` between its parts. */
  readonly path: string;
  readonly bytes: number;
}

/**
 * Unpacks an archive, told by its content: zip (ZIP64 too), tar, gzipped tar, or one gzipped file, which gets the
 * archive's name without `.gz`. Archives inside are written as they are, and never opened. Dates, owners and permissions
 * are not taken over.
 *
 * Refused, naming the entry and the rule: names as in `ArchiveRules.admit`; links, devices, pipes; encrypted entries;
 * wrong checksums; more than `limits` allow. The folder appears whole or not at all: everything is written to a temporary
 * folder beside it, which is renamed at the end and removed where it fails.
 *
 * @param folder  a folder that does not exist yet, or is empty
 * @throws        `InputError`, one line: `a.zip: entry "../x": a path with ".." is refused`
 */
export async function unpack(archive: string, folder: string, limits: ArchiveLimits = {}): Promise<UnpackedFile[]> {
  const unpacker = await unpackerOf(archive);
  const target = resolve(folder);
  const temporary = `${target}.${process.pid}.tmp`;
  if (existsSync(target) && (!statSync(target).isDirectory() || readdirSync(target).length > 0)) {
    throw new InputError(`${folder}: expected a new or an empty folder to unpack ${archive} into`);
  }
  try {
    mkdirSync(dirname(target), { recursive: true });
    rmSync(temporary, { recursive: true, force: true }); // of a process with our number that was killed
    mkdirSync(temporary);
    const files = await unpacker(archive, new Place(temporary, new ArchiveRules(archive, limits)));
    if (existsSync(target)) rmSync(target, { recursive: true });
    renameSync(temporary, target);
    return files;
  } catch (error) {
    rmSync(temporary, { recursive: true, force: true });
    throw error instanceof InputError ? error : systemError(archive, error);
  }
}

type Unpacker = (archive: string, place: Place) => Promise<UnpackedFile[]>;

async function unpackerOf(archive: string): Promise<Unpacker> {
  const head = readHead(archive);
  const start = Buffer.from(head).toString("latin1", 0, 4);
  if (start === "PK\x03\x04" || start === "PK\x05\x06") return unpackZip;
  if (isTar(head)) return unpackTar;
  const { format, what } = contentOf(head);
  if (format === "gzip") return isTar(await unpackedHead(archive)) ? unpackTar : unpackGzip;
  throw new InputError(`${archive}: expected a zip, tar, tar.gz or gz file, got ${what}`);
}

/** The checksum of a tar header: the sum of its 512 bytes, its own eight taken for spaces. */
function isTar(head: Uint8Array): boolean {
  if (head.length < 512 || head[0] === 0) return false;
  const stated = parseInt(Buffer.from(head).toString("latin1", 148, 156).replace(/\0/g, " ").trim(), 8);
  const sum = head.subarray(0, 512).reduce((total, byte, i) => total + (i >= 148 && i < 156 ? 32 : byte), 0);
  return sum === stated;
}

/** The temporary folder, and the rules for what comes into it. */
class Place {
  readonly files: UnpackedFile[] = [];

  constructor(
    readonly root: string,
    readonly rules: ArchiveRules,
  ) {}

  folder(name: string): void {
    mkdirSync(join(this.root, this.rules.admit(name, "folder")), { recursive: true });
  }

  /** Writes one file; `look` sees every piece before it is written. */
  async file(
    name: string,
    content: AsyncIterable<Buffer>,
    look: (piece: Buffer) => void = () => undefined,
  ): Promise<void> {
    const path = this.rules.admit(name, "file");
    mkdirSync(dirname(join(this.root, path)), { recursive: true });
    let bytes = 0;
    const counted = watching((piece) => {
      bytes += piece.length;
      this.rules.count(name, piece.length);
      look(piece);
    });
    await pipeline(content, counted, createWriteStream(join(this.root, path), { flags: "wx" }));
    this.files.push({ path, bytes });
  }
}

/** Lets everything pass, and fails where `look` throws. */
function watching(look: (piece: Buffer) => void): Transform {
  return new Transform({
    transform(piece: Buffer, _, done) {
      try {
        look(piece);
        done(null, piece);
      } catch (error) {
        done(error as Error);
      }
    },
  });
}

/** The four bits of a Unix mode that tell a file's type; 0 where the archive was made on another system. */
const UNIX_TYPES: Readonly<Record<number, string>> = {
  0x1000: "a named pipe",
  0x2000: "a character device",
  0x6000: "a block device",
  0xa000: "a symbolic link",
  0xc000: "a socket",
};

async function unpackZip(archive: string, place: Place): Promise<UnpackedFile[]> {
  const { rules } = place;
  const zip = await yauzl.openPromise(archive, { lazyEntries: true, autoClose: false, decodeStrings: false });
  let name = "";
  try {
    for await (const entry of zip.eachEntry()) {
      const { generalPurposeBitFlag, fileNameRaw, extraFields, compressedSize, uncompressedSize } = entry;
      name = yauzl.getFileNameLowLevel(generalPurposeBitFlag, fileNameRaw, extraFields, true);
      const unix = entry.versionMadeBy >>> 8 === 3;
      const type = unix ? UNIX_TYPES[(entry.externalFileAttributes >>> 16) & 0xf000] : undefined;
      if (type !== undefined) throw rules.refuse(name, `${type} is refused`);
      if (/[/\\]$/.test(name)) {
        place.folder(name);
        continue;
      }
      if (entry.isEncrypted()) throw rules.refuse(name, "an encrypted entry is refused");
      if (!entry.canDecodeFileData()) {
        throw rules.refuse(name, `expected compression method 0 or 8 (deflate), got ${entry.compressionMethod}`);
      }
      rules.expand(name, uncompressedSize, compressedSize); // as stated; yauzl stops where more comes out
      let sum = 0;
      await place.file(name, await zip.openReadStreamPromise(entry), (piece) => (sum = crc32(piece, sum)));
      if (sum !== entry.crc32) throw rules.refuse(name, "its checksum is wrong: the archive is damaged");
    }
    return place.files;
  } catch (error) {
    if (error instanceof InputError) throw error;
    const reason = (error as Error).message.split("\n")[0];
    throw name === "" ? new InputError(`${archive}: damaged zip file: ${reason}`) : rules.refuse(name, reason);
  } finally {
    zip.close();
  }
}

async function unpackTar(archive: string, place: Place): Promise<UnpackedFile[]> {
  const { rules } = place;
  let name = "";
  const tar = extract();
  const source = unpackedStream(archive, (unpacked, packed) => rules.expand(name, unpacked, packed));
  const feeding = pipeline(source, tar);
  feeding.catch(() => undefined); // it comes up in the loop, and again below
  try {
    for await (const entry of tar) {
      const { type } = entry.header;
      name = entry.header.name;
      if (type === "file" || type === "contiguous-file") await place.file(name, entry as AsyncIterable<Buffer>);
      else if (type === "directory") {
        place.folder(name);
        entry.resume();
      } else throw rules.refuse(name, `${TAR_TYPES[type ?? ""] ?? "an entry of unknown type"} is refused`);
    }
    await feeding;
    return place.files;
  } catch (error) {
    throw damaged(archive, "tar", error);
  } finally {
    tar.destroy();
    source.destroy();
  }
}

const TAR_TYPES: Readonly<Record<string, string>> = {
  link: "a hard link",
  symlink: "a symbolic link",
  "character-device": "a character device",
  "block-device": "a block device",
  fifo: "a named pipe",
};

async function unpackGzip(archive: string, place: Place): Promise<UnpackedFile[]> {
  const name = basename(archive).replace(/\.gz$/i, "");
  try {
    await place.file(
      name,
      unpackedStream(archive, (unpacked, packed) => place.rules.expand(name, unpacked, packed)),
    );
    return place.files;
  } catch (error) {
    throw damaged(archive, "gzip", error);
  }
}

/** The file, unzipped where it is gzipped; `look` hears how many bytes came out of how many in the file. */
function unpackedStream(archive: string, look: (unpacked: number, packed: number) => void): Readable {
  const packed = statSync(archive).size;
  const file = createReadStream(archive);
  if (contentOf(readHead(archive)).format !== "gzip") return file;
  let unpacked = 0;
  const watched = watching((piece) => {
    unpacked += piece.length;
    look(unpacked, packed);
  });
  pipeline(file, createGunzip(), watched).catch(() => undefined); // `watched` is destroyed with the same error
  return watched;
}

function damaged(archive: string, kind: string, error: unknown): InputError {
  if (error instanceof InputError) return error;
  const reason = (error as Error).message.split("\n")[0];
  return new InputError(`${archive}: damaged or truncated ${kind} file: ${reason}`);
}
