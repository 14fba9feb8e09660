import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { crc32, gzipSync } from "node:zlib";
import { zipSync, type Zippable } from "fflate";
import { pack, type Header } from "tar-stream";
import { describe, expect, test } from "vitest";
import { unpack } from "../src/datasets/archive.js";
import type { ArchiveLimits } from "../src/datasets/archiveRules.js";
import { Random } from "../src/random.js";
import { scratch } from "./helpers.js";
import { inputErrorOf } from "./readersFixture.js";

const text = (content: string): Uint8Array => Buffer.from(content);

function archive(name: string, bytes: Uint8Array): { path: string; folder: string; beside: () => string[] } {
  const root = scratch();
  const path = join(root, name);
  writeFileSync(path, bytes);
  return { path, folder: join(root, "out"), beside: () => readdirSync(root) };
}

type Headers = Partial<Header> & Pick<Header, "name">;

async function tarOf(...entries: readonly (readonly [Headers, string?])[]): Promise<Buffer> {
  const tar = pack();
  for (const [header, content] of entries) tar.entry(header, content ?? "");
  tar.finalize();
  const pieces: Buffer[] = [];
  for await (const piece of tar as AsyncIterable<Buffer>) pieces.push(piece);
  return Buffer.concat(pieces);
}

/** Refused in one line, and nothing but the archive is left behind. */
async function refusal(name: string, bytes: Uint8Array, limits?: ArchiveLimits): Promise<string> {
  const { path, folder, beside } = archive(name, bytes);
  const message = await inputErrorOf(unpack(path, folder, limits));
  expect(beside()).toEqual([basename(path)]);
  expect(message.startsWith(`${path}: `), message).toBe(true);
  return message.slice(path.length + 2);
}

const SCANS: Zippable = {
  "a/one.txt": text("one"),
  "a/b/two.bin": new Uint8Array(70_000).fill(7),
  "three.zip": zipSync({}),
};

async function expectScans(name: string, bytes: Uint8Array): Promise<void> {
  const { path, folder, beside } = archive(name, bytes);
  const files = await unpack(path, folder);
  expect(files.map((file) => file.path).sort()).toEqual(Object.keys(SCANS).sort());
  for (const file of files) {
    const content = readFileSync(join(folder, file.path));
    expect(content.equals(SCANS[file.path] as Uint8Array), file.path).toBe(true);
    expect(file.bytes).toBe(content.length);
  }
  expect(beside().sort()).toEqual([basename(path), "out"].sort());
}

const scansAsTar = (): Promise<Buffer> =>
  tarOf(
    [{ name: "./a/", type: "directory" }],
    ...Object.entries(SCANS).map(([name, content]): [Headers, string] => [
      { name: `./${name}` },
      Buffer.from(content as Uint8Array).toString("latin1"),
    ]),
  );

describe("what goes in comes out, and archives inside stay closed", () => {
  test("of a zip file, deflated or stored", async () => {
    await expectScans("a.zip", zipSync(SCANS));
    await expectScans("a.zip", zipSync(SCANS, { level: 0 }));
  });

  test("of a tar file, gzipped or not, whatever its name", async () => {
    await expectScans("a.tar", await scansAsTar());
    await expectScans("a.dat", gzipSync(await scansAsTar()));
  });

  test("of one gzipped file, which loses its .gz", async () => {
    const { path, folder } = archive("scan.nii.gz", gzipSync("voxels"));
    expect(await unpack(path, folder)).toEqual([{ path: "scan.nii", bytes: 6 }]);
    expect(readFileSync(join(folder, "scan.nii"), "utf8")).toBe("voxels");
  });

  test("of a ZIP64 file", async () => {
    const { path, folder } = archive("a.zip", zip64("big.bin", text("sixty-four")));
    expect(await unpack(path, folder)).toEqual([{ path: "big.bin", bytes: 10 }]);
    expect(readFileSync(join(folder, "big.bin"), "utf8")).toBe("sixty-four");
  });

  test("into an empty folder, and into no other", async () => {
    const { path, folder } = archive("a.zip", zipSync({ a: text("a") }));
    mkdirSync(folder);
    await unpack(path, folder);
    expect(await inputErrorOf(unpack(path, folder))).toMatch(/expected a new or an empty folder/);
    expect(readdirSync(folder)).toEqual(["a"]);
  });
});

describe("names that would leave the folder or meet another are refused in zip and tar", () => {
  const cases: [names: string[], said: RegExp][] = [
    [["ok", "../evil"], /^entry "\.\.\/evil": a path with "\.\." is refused$/],
    [["ok", "a/../../evil"], /^entry "a\/\.\.\/\.\.\/evil": a path with "\.\." is refused$/],
    [["ok", "..\\evil"], /a path with "\.\." is refused$/],
    [["/etc/evil"], /^entry "\/etc\/evil": an absolute path is refused$/],
    [["C:\\evil"], /an absolute path is refused$/],
    [["Scan.dcm", "scan.DCM"], /^entry "scan.DCM": its name collides with that of the file "Scan.dcm"$/],
    [["a/x", "A/y"], /^entry "A\/y": its name collides with that of the folder "a"$/],
    [["a/x", "a//./x"], /collides with that of the file "a\/x"$/],
    [["a", "a/b"], /^entry "a\/b": its name collides with that of the file "a"$/],
    [["caf\u00e9", "cafe\u0301"], /collides with that of the file "caf\u00e9"$/],
  ];
  test.each(cases)("%j", async (names, said) => {
    expect(await refusal("a.zip", zipSync(Object.fromEntries(names.map((name) => [name, text("x")]))))).toMatch(said);
    const tar = await tarOf(...names.map((name): [Headers, string] => [{ name }, "x"]));
    expect(await refusal("a.tar", tar)).toMatch(said);
    expect(await refusal("a.tar.gz", gzipSync(tar))).toMatch(said);
  });
});

test("a control character in a name is refused in a tar file; CP437, the letters of zip, has none", async () => {
  const tar = await tarOf([{ name: "a\x07b" }, "x"]);
  expect(await refusal("a.tar", tar)).toBe('entry "a\\u0007b": a control character in a name is refused');
});

describe("what is no file is refused", () => {
  test.each([
    ["link", "a hard link"],
    ["symlink", "a symbolic link"],
    ["character-device", "a character device"],
    ["block-device", "a block device"],
    ["fifo", "a named pipe"],
  ] as const)("%s in a tar file", async (type, what) => {
    const tar = await tarOf([{ name: "ok" }, "x"], [{ name: "odd", type, linkname: "/etc/passwd" }]);
    expect(await refusal("a.tar", tar)).toBe(`entry "odd": ${what} is refused`);
  });

  test.each([
    [0o120777, "a symbolic link"],
    [0o020666, "a character device"],
    [0o010666, "a named pipe"],
  ])("mode %o in a zip file", async (mode, what) => {
    const zip = zipSync({ odd: [text("/etc/passwd"), { os: 3, attrs: (mode << 16) >>> 0 }] });
    expect(await refusal("a.zip", zip)).toBe(`entry "odd": ${what} is refused`);
  });

  test("an encrypted entry and an unknown compression", async () => {
    const zip = Buffer.from(zipSync({ a: text("x") }));
    const directory = zip.indexOf("PK\x01\x02");
    const encrypted = Buffer.from(zip);
    encrypted.writeUInt16LE(1, directory + 8);
    expect(await refusal("a.zip", encrypted)).toBe('entry "a": an encrypted entry is refused');
    const lzma = Buffer.from(zip);
    lzma.writeUInt16LE(14, directory + 10);
    expect(await refusal("a.zip", lzma)).toBe('entry "a": expected compression method 0 or 8 (deflate), got 14');
  });
});

describe("limits", () => {
  const zeros = new Uint8Array(5_000_000);

  test("of expansion: zeros are packed 1:1000 and refused", async () => {
    const said = /it expands beyond the limit of 1000 times its packed size \(option maxRatio\)$/;
    expect(await refusal("a.zip", zipSync({ ok: text("x"), bomb: [zeros, { level: 9 }] }))).toMatch(/^entry "bomb"/);
    expect(await refusal("a.zip", zipSync({ bomb: [zeros, { level: 9 }] }))).toMatch(said);
    expect(await refusal("bomb.gz", gzipSync(zeros, { level: 9 }))).toMatch(said);
    const tar = await tarOf([{ name: "bomb" }, Buffer.from(zeros).toString("latin1")]);
    expect(await refusal("a.tgz", gzipSync(tar, { level: 9 }))).toMatch(said);
    const { path, folder } = archive("bomb.gz", gzipSync(zeros, { level: 9 }));
    expect((await unpack(path, folder, { maxRatio: 1100 }))[0].bytes).toBe(zeros.length);
  });

  test("of bytes, over all entries together", async () => {
    const noise = Uint8Array.from(
      { length: 3000 },
      (
        (random) => () =>
          random.int(256)
      )(new Random(1)),
    );
    const said = 'entry "b": the archive unpacks to more than the limit of 5999 bytes (option maxBytes)';
    const content = Buffer.from(noise).toString("latin1");
    const tar = await tarOf([{ name: "a" }, content], [{ name: "b" }, content]);
    const size = 2 * Buffer.byteLength(content);
    expect(await refusal("a.zip", zipSync({ a: noise, b: noise }), { maxBytes: 5999 })).toBe(said);
    for (const bytes of [tar, gzipSync(tar)]) {
      expect(await refusal("a.tar", bytes, { maxBytes: size - 1 })).toBe(said.replace("5999", String(size - 1)));
      const { path, folder } = archive("a.tar", bytes);
      expect(await unpack(path, folder, { maxBytes: size })).toHaveLength(2);
    }
    expect(await refusal("a.gz", gzipSync(noise), { maxBytes: 2999 })).toMatch(/^entry "a": .* limit of 2999 bytes/);
  });

  test("of entries", async () => {
    const names = ["a", "b", "c"];
    const said = 'entry "c": more entries than the limit of 2 (option maxEntries)';
    const zip = zipSync(Object.fromEntries(names.map((name) => [name, text(name)])));
    expect(await refusal("a.zip", zip, { maxEntries: 2 })).toBe(said);
    const tar = await tarOf(...names.map((name): [Headers, string] => [{ name }, name]));
    expect(await refusal("a.tar", tar, { maxEntries: 2 })).toBe(said);
  });

  test("of a zip entry that states less than it unpacks to", async () => {
    const zip = Buffer.from(zipSync({ liar: [text("abc".repeat(1000)), { level: 9 }] }));
    zip.writeUInt32LE(10, zip.indexOf("PK\x01\x02") + 24);
    expect(await refusal("a.zip", zip)).toMatch(/^entry "liar": /);
  });
});

describe("damage", () => {
  test("a cut archive is refused wherever it is cut", async () => {
    const tar = await scansAsTar();
    const whole = [zipSync(SCANS), tar.subarray(0, -1024), gzipSync(tar), gzipSync("alone")];
    for (const bytes of whole) {
      for (let i = 1; i < 12; i++) {
        const end = Math.floor((bytes.length * i) / 12);
        expect(await refusal("cut", bytes.subarray(0, end), {}), `${end} of ${bytes.length}`).not.toBe("");
      }
    }
  });

  test("a changed byte in a zip is found by its checksum", async () => {
    const zip = Buffer.from(zipSync({ a: text("x".repeat(50)) }, { level: 0 }));
    zip[zip.indexOf("xxxx")] ^= 1;
    expect(await refusal("a.zip", zip)).toBe('entry "a": its checksum is wrong: the archive is damaged');
  });

  test("what is no archive is named", async () => {
    expect(await refusal("a.zip", text("Dear doctor,\n"))).toBe(
      "expected a zip, tar, tar.gz or gz file, got a text file",
    );
    expect(existsSync("a.zip")).toBe(false);
  });
});

/** One stored entry whose sizes and places are given in 64 bits only: APPNOTE 4.5.3, 4.3.14 and 4.3.15. */
function zip64(name: string, content: Uint8Array): Buffer {
  const title = Buffer.from(name);
  const common = Buffer.alloc(16); // flags to the time of day stay 0
  common.writeUInt16LE(45, 0);
  common.writeUInt32LE(crc32(content), 10);
  const sizes = Buffer.alloc(8, 0xff);
  const tail = Buffer.alloc(4);
  tail.writeUInt16LE(title.length, 0);
  const extra = (...values: number[]): Buffer => {
    const field = Buffer.alloc(4 + 8 * values.length);
    field.writeUInt16LE(1, 0);
    field.writeUInt16LE(8 * values.length, 2);
    values.forEach((value, i) => field.writeBigUInt64LE(BigInt(value), 4 + 8 * i));
    return field;
  };
  const head = common.subarray(0, 14);
  const localExtra = extra(content.length, content.length);
  const localTail = Buffer.from(tail);
  localTail.writeUInt16LE(localExtra.length, 2);
  const local = Buffer.concat([Buffer.from("PK\x03\x04"), head, sizes, localTail, title, localExtra, content]);

  const centralExtra = extra(content.length, content.length, 0);
  const centralTail = Buffer.alloc(18);
  tail.copy(centralTail);
  centralTail.writeUInt16LE(centralExtra.length, 2);
  centralTail.writeUInt32LE(0xffffffff, 14);
  const madeBy = Buffer.from([45, 0]);
  const central = Buffer.concat([Buffer.from("PK\x01\x02"), madeBy, head, sizes, centralTail, title, centralExtra]);

  const end64 = Buffer.alloc(56);
  end64.write("PK\x06\x06");
  end64.writeBigUInt64LE(44n, 4);
  end64.writeUInt16LE(45, 12);
  end64.writeUInt16LE(45, 14);
  [1, 1, central.length, local.length].forEach((value, i) => end64.writeBigUInt64LE(BigInt(value), 24 + 8 * i));
  const locator = Buffer.alloc(20);
  locator.write("PK\x06\x07");
  locator.writeBigUInt64LE(BigInt(local.length + central.length), 8);
  locator.writeUInt32LE(1, 16);
  const end = Buffer.alloc(22, 0xff);
  end.write("PK\x05\x06");
  end.writeUInt32LE(0, 4);
  end.writeUInt16LE(0, 20);
  return Buffer.concat([local, central, end64, locator, end]);
}
