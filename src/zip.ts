/**
 * Members of a zip file, read one at a time from the disk: the directory, stored and deflated members, ZIP64, and CRC-32,
 * after PKWARE's APPNOTE 6.3. Ours, because npz sets of 13 GB are neither to be unpacked whole nor held in memory, and fflate
 * leaves checksums unchecked. Beside yauzl, which unpacks the archives that nobody vouches for, because each does what the other
 * cannot: yauzl knows old code pages, Unix types and disguised names, and answers later, one entry after another; embeddings and
 * rows of npz files are read by name, from any place, and mostly at once.
 */
import { closeSync, createReadStream, fstatSync, openSync, readSync } from "node:fs";
import { Transform, type Readable } from "node:stream";
import { crc32, createInflateRaw, inflateRawSync } from "node:zlib";

export interface ZipMember {
  readonly name: string;
  readonly deflated: boolean;
  readonly compressedBytes: number;
  readonly bytes: number;
  readonly crc: number;
  /** Of its local header. */
  readonly offset: number;
}

/** What a zip file may become when it is unpacked. */
export interface ZipLimits {
  /** Bytes of one member, at most; without it 2 GiB of one that is packed. */
  readonly maxBytes?: number;
  /** Unpacked over packed bytes, at most, once that makes more than 16 MiB; deflate itself ends at 1032. */
  readonly maxRatio?: number;
}

const SMALL = 2 ** 24;

/** An open zip file. Errors are plain ones with a reason: who opened it knows its name. */
export class ZipFile {
  readonly members: ReadonlyMap<string, ZipMember>;
  readonly #file: number;

  constructor(readonly path: string) {
    this.#file = openSync(path, "r");
    try {
      this.members = this.#directory();
    } catch (error) {
      closeSync(this.#file);
      throw error;
    }
  }

  close(): void {
    closeSync(this.#file);
  }

  /** Where the bytes of a member begin; they can be read from there where it is not deflated. */
  start({ offset }: ZipMember): number {
    const local = this.#bytes(offset, 30);
    if (local.readUInt32LE(0) !== 0x04034b50) throw new Error("a member is not where the directory says");
    return offset + 30 + local.readUInt16LE(26) + local.readUInt16LE(28);
  }

  /** A whole member, unpacked and checked. */
  read(member: ZipMember, limits?: ZipLimits): Buffer {
    assertSafe(member, limits);
    const packed = this.#bytes(this.start(member), member.compressedBytes);
    const bytes = member.deflated ? inflateRawSync(packed, { maxOutputLength: Math.max(1, member.bytes) }) : packed;
    if (bytes.length !== member.bytes || crc32(bytes) !== member.crc) throw new Error("its checksum is wrong");
    return bytes;
  }

  /** The first bytes of a member, not checked. */
  head(member: ZipMember, length: number): Buffer {
    const packed = this.#bytes(this.start(member), Math.min(member.compressedBytes, length + 65536));
    if (!member.deflated) return packed.subarray(0, length);
    return inflateRawSync(packed, { finishFlush: 2, maxOutputLength: 1040 * (length + 65536) }).subarray(0, length);
  }

  /** A member as a stream, unpacked; it fails at the end where the checksum is wrong. */
  stream(member: ZipMember, limits?: ZipLimits): Readable {
    assertSafe(member, limits);
    const start = this.start(member);
    const packed = createReadStream(this.path, { start, end: start + member.compressedBytes - 1 });
    let crc = 0;
    let length = 0;
    const checked = new Transform({
      transform(chunk: Buffer, _, done) {
        crc = crc32(chunk, crc);
        length += chunk.length;
        if (length > member.bytes) done(new Error("it is longer than its directory says"));
        else done(null, chunk);
      },
      flush(done) {
        done(length === member.bytes && crc === member.crc ? null : new Error("its checksum is wrong"));
      },
    });
    const last = member.deflated ? packed.pipe(createInflateRaw().on("error", (e) => checked.destroy(e))) : packed;
    packed.on("error", (error) => checked.destroy(error));
    return last.pipe(checked);
  }

  #bytes(from: number, length: number): Buffer {
    const size = fstatSync(this.#file).size;
    if (from < 0 || length < 0 || from + length > size) throw new Error("it ends too early");
    const bytes = Buffer.allocUnsafe(length);
    let at = 0;
    while (at < length) {
      const got = readSync(this.#file, bytes, at, Math.min(length - at, 2 ** 30), from + at);
      if (got === 0) throw new Error("it ends too early");
      at += got;
    }
    return bytes;
  }

  #directory(): Map<string, ZipMember> {
    const size = fstatSync(this.#file).size;
    const tailAt = Math.max(0, size - 65557); // the end record and the longest comment
    const tail = this.#bytes(tailAt, size - tailAt);
    const end = tail.lastIndexOf(Buffer.from("PK\x05\x06", "latin1"));
    if (end < 0 || end + 22 > tail.length) throw new Error("it has no directory");
    let count = tail.readUInt16LE(end + 10);
    let length = tail.readUInt32LE(end + 12);
    let offset = tail.readUInt32LE(end + 16);
    if (end >= 20 && tail.readUInt32LE(end - 20) === 0x07064b50) {
      const record = this.#bytes(Number(tail.readBigUInt64LE(end - 12)), 56);
      if (record.readUInt32LE(0) !== 0x06064b50) throw new Error("it has no ZIP64 directory");
      count = Number(record.readBigUInt64LE(32));
      length = Number(record.readBigUInt64LE(40));
      offset = Number(record.readBigUInt64LE(48));
    }
    if (length > 2 ** 28) throw new Error("its directory is too long");
    const table = this.#bytes(offset, length);
    const members = new Map<string, ZipMember>();
    for (let at = 0, i = 0; i < count; i++) {
      if (at + 46 > table.length || table.readUInt32LE(at) !== 0x02014b50) throw new Error("its directory is damaged");
      const [nameLength, extra, comment] = [28, 30, 32].map((field) => table.readUInt16LE(at + field));
      const next = at + 46 + nameLength + extra + comment;
      if (next > table.length) throw new Error("its directory is damaged");
      const member = memberAt(table, at, nameLength, extra);
      members.set(member.name, member);
      at = next;
    }
    return members;
  }
}

function memberAt(table: Buffer, at: number, nameLength: number, extraLength: number): ZipMember {
  const name = table.toString("utf8", at + 46, at + 46 + nameLength);
  const method = table.readUInt16LE(at + 10);
  if (table.readUInt16LE(at + 8) & 1) throw new Error(`${name} is encrypted`);
  if (method !== 0 && method !== 8) throw new Error(`${name} is packed by method ${method}; expected deflate`);
  const wide = [table.readUInt32LE(at + 24), table.readUInt32LE(at + 20), table.readUInt32LE(at + 42)];
  const extra = table.subarray(at + 46 + nameLength, at + 46 + nameLength + extraLength);
  for (let e = 0; e + 4 <= extra.length; e += 4 + extra.readUInt16LE(e + 2)) {
    if (extra.readUInt16LE(e) !== 1) continue;
    let field = e + 4; // only the fields that did not fit are here, in this order
    for (let i = 0; i < 3; i++) {
      if (wide[i] !== 0xffffffff || field + 8 > extra.length) continue;
      wide[i] = Number(extra.readBigUInt64LE(field));
      field += 8;
    }
  }
  const [bytes, compressedBytes, offset] = wide;
  return { name, deflated: method === 8, compressedBytes, bytes, crc: table.readUInt32LE(at + 16), offset };
}

function assertSafe({ bytes, compressedBytes, deflated }: ZipMember, limits: ZipLimits = {}): void {
  // What is stored as it is, is as large as its file: nobody is deceived.
  const { maxBytes = deflated ? 2 ** 31 : Infinity, maxRatio = 500 } = limits;
  if (bytes > maxBytes) throw new Error(`${bytes} bytes are over the limit maxBytes, ${maxBytes}`);
  const ratio = bytes / Math.max(1, compressedBytes);
  if (bytes > SMALL && ratio > maxRatio) {
    throw new Error(`it unpacks to ${Math.round(ratio)} times its size, over the limit maxRatio, ${maxRatio}`);
  }
}
