/** Who the patient is stays in the file: whatever is planted in a header, nothing of it comes out. */
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { readDicom } from "../src/datasets/dicom.js";
import { unlistedFolder } from "../src/datasets/catalog.js";
import { openFolder } from "../src/datasets/folder.js";
import { inspect } from "../src/datasets/inspect.js";
import { loadEmbeddings, pixelEmbeddings, saveEmbeddings } from "../src/embeddings.js";
import { readNpz } from "../src/npz.js";
import { Random } from "../src/random.js";
import { prepareAll } from "../src/transforms/prepare.js";
import { m3ret } from "./cliFixture.js";

/** What must never be seen. */
const PLANTS = [
  "Kowalska^Zofia^Dr", // a name
  "19470329", // a date of birth
  "MRN-5550131-X", // an identity number
  "Sankt-Ursula-Klinik", // an institution
  "zofia@kowalska.example", // an address
  "2.25.318794402118", // a UID that can be looked up
];

/** Any six characters in a row of a plant, in text or in numbers, give it away. */
const TRACES = new Set(
  PLANTS.flatMap((plant) => Array.from({ length: plant.length - 5 }, (_, i) => plant.slice(i, i + 6).toLowerCase())),
);

function expectNoTrace(text: string, where: string): void {
  const low = text.toLowerCase();
  expect(
    [...TRACES].filter((trace) => low.includes(trace)),
    where,
  ).toEqual([]);
}

type Element = readonly [tag: number, vr: string, value: string | Uint8Array];

/** An explicit little-endian element of a tag such as 0x00100010, padded to an even length. */
function element([tag, vr, value]: Element): Buffer {
  const bytes = typeof value === "string" ? Buffer.from(value, "latin1") : Buffer.from(value);
  const body = Buffer.concat([bytes, Buffer.alloc(bytes.length % 2, vr === "UI" || vr[0] === "O" ? 0 : 32)]);
  const long = ["OB", "OW", "SQ", "UC", "UN", "UR", "UT"].includes(vr);
  const head = Buffer.alloc(long ? 12 : 8);
  head.writeUInt16LE(tag >>> 16, 0);
  head.writeUInt16LE(tag & 0xffff, 2);
  head.write(vr, 4, "latin1");
  if (long) head.writeUInt32LE(body.length, 8);
  else head.writeUInt16LE(body.length, 6);
  return Buffer.concat([head, body]);
}

const short = (value: number): Uint8Array => Uint8Array.of(value & 255, value >> 8);

/** What a picture needs. Every other tag of the groups below holds a plant. */
const PICTURE: readonly Element[] = [
  [0x00080060, "CS", "CR"],
  [0x00280002, "US", short(1)],
  [0x00280004, "CS", "MONOCHROME2"],
  [0x00280008, "IS", "1"],
  [0x00280010, "US", short(8)],
  [0x00280011, "US", short(8)],
  [0x00280100, "US", short(16)],
  [0x00280101, "US", short(12)],
  [0x00280102, "US", short(11)],
  [0x00280103, "US", short(0)],
  [0x7fe00010, "OW", Uint8Array.from({ length: 128 }, (_, i) => (i % 2 === 0 ? i : 0))],
];

const TEXT = [
  "AE",
  "AS",
  "CS",
  "DA",
  "DT",
  "LO",
  "LT",
  "PN",
  "SH",
  "ST",
  "TM",
  "UC",
  "UI",
  "UR",
  "UT",
  "UN",
  "DS",
  "IS",
];
const GROUPS = [
  0x0008, 0x0009, 0x0010, 0x0011, 0x0012, 0x0018, 0x0019, 0x0020, 0x0021, 0x0028, 0x0029, 0x0032, 0x0038, 0x0040,
  0x0054, 0x0088, 0x0400, 0x2030, 0x4008, 0x5200, 0x6000,
];
const ITEM_TAGS: readonly number[] = [
  0x00081140, 0x00081110, 0x00100101, 0x00400275, 0x00091001, 0x00280300, 0x52009229,
];

/** A DICOM file with a plant in every tag that is not the picture's own; `changed` replaces or adds elements. */
function planted(changed: readonly Element[] = [], syntax = "1.2.840.10008.1.2.1"): Buffer {
  const elements = new Map<number, Element>();
  let n = 0;
  for (const group of GROUPS) {
    for (const number of [
      ...Array(0x100).keys(),
      0x1000,
      0x1010,
      0x1030,
      0x1040,
      0x1050,
      0x1060,
      0x1070,
      0x1090,
      0x2160,
    ]) {
      if (number === 0 || (group === 0x0008 && number === 0x0005)) continue;
      const tag = group * 0x10000 + number;
      elements.set(tag, [tag, TEXT[n % TEXT.length], PLANTS[n % PLANTS.length]]);
      n++;
    }
  }
  const nested = Buffer.concat([
    ...[0x00080050, 0x00080080, 0x00100010, 0x00100020, 0x00100030].map((tag, i) =>
      element([tag, TEXT[i], PLANTS[i % PLANTS.length]]),
    ),
  ]);
  const itemHead = Buffer.from([0xfe, 0xff, 0x00, 0xe0, 0, 0, 0, 0]);
  itemHead.writeUInt32LE(nested.length, 4);
  for (const tag of ITEM_TAGS) elements.set(tag, [tag, "SQ", Buffer.concat([itemHead, nested])]);
  for (const one of [...PICTURE, ...changed]) elements.set(one[0], one);
  const meta = [
    element([0x00020010, "UI", syntax]),
    element([0x00020016, "AE", PLANTS[0]]), // who sent it
    element([0x00020102, "OB", Buffer.from(PLANTS[3])]),
  ];
  const sorted = [...elements.values()].sort(([a], [b]) => a - b);
  const preamble = Buffer.alloc(132);
  preamble.write(PLANTS[0], 0, "latin1");
  preamble.write("DICM", 128, "latin1");
  return Buffer.concat([preamble, ...meta, ...sorted.map(element)]);
}

const folder = mkdtempSync(join(tmpdir(), "m3ret-plants-"));
function file(name: string, bytes: Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
}

/** Everything that anybody printed while these tests ran. */
const printed: string[] = [];
beforeAll(() => {
  for (const stream of [process.stdout, process.stderr]) {
    const write = stream.write.bind(stream) as (...all: unknown[]) => boolean;
    vi.spyOn(stream, "write").mockImplementation((...all: unknown[]) => {
      printed.push(String(all[0]));
      return write(...all);
    });
  }
  for (const name of ["log", "info", "warn", "error", "debug"] as const) {
    vi.spyOn(console, name).mockImplementation((...all: unknown[]) => void printed.push(all.map(String).join(" ")));
  }
});
afterAll(() => vi.restoreAllMocks());

/** All that a reader gives or says of a file. */
async function said(path: string): Promise<string> {
  return readDicom(path).then(
    ({ pixels, ...rest }) => JSON.stringify(rest) + pixels.join(),
    (error: Error) => {
      expect(error.name, error.stack).toBe("InputError");
      return error.message;
    },
  );
}

/** Everything in an embedding file that is text: numbers are the picture's own. */
function texts(path: string): string {
  const arrays = [...readNpz(path)].filter(([name]) => name !== "embeddings");
  return JSON.stringify([arrays, { ...loadEmbeddings(path), vectors: null }]);
}

describe("a header full of names, dates and numbers", () => {
  const path = file("plants.dcm", planted());

  test("holds them, and the check would see them", () => {
    const text = readFileSync(path, "latin1");
    for (const plant of PLANTS) expect(text.split(plant).length).toBeGreaterThan(500);
    expect(() => expectNoTrace(`error: ${PLANTS[4].slice(3, 12)}`, "itself")).toThrow();
  });

  test("leaves nothing in what the reader gives", async () => {
    const decoded = await readDicom(path);
    expect(decoded.shape).toEqual([1, 1, 8, 8]);
    expect(decoded.modality).toBe("xray");
    expectNoTrace(await said(path), "Decoded");
  });

  test("leaves nothing in inspect, of a file and of a folder", async () => {
    for await (const row of inspect([path])) expectNoTrace(JSON.stringify(row), "inspect");
    const { code, stdout, stderr } = await m3ret(["inspect", path, "--json"]);
    expect(code, stderr).toBe(0);
    expectNoTrace(stdout + stderr, "m3ret inspect --json");
  });

  test("leaves nothing in a sample, nor in an embedding file", async () => {
    const set = mkdtempSync(join(tmpdir(), "m3ret-plants-"));
    const rows = ["path,modality,class,group"];
    for (let i = 0; i < 6; i++) {
      writeFileSync(join(set, `${i}.dcm`), planted([[0x00200013, "IS", String(i)]]));
      rows.push(`${i}.dcm,xray,${i % 2 === 0 ? "a" : "b"},p${i}`);
    }
    writeFileSync(join(set, "broken.dcm"), planted().subarray(0, 2000));
    rows.push("broken.dcm,xray,a,p7");
    writeFileSync(join(set, "labels.csv"), rows.join("\n"));
    const dataset = openFolder(set, { name: "plants", split: { train: 0.6, gallery: 0.2, query: 0.2, seed: 7 } });
    const { samples, skipped } = await prepareAll(dataset, unlistedFolder(set).preprocessing);
    expect(samples.length).toBe(6);
    expect(skipped.length).toBe(1);
    expectNoTrace(JSON.stringify([samples.map((sample) => ({ ...sample, pixels: null })), skipped]), "samples");
    const out = join(set, "plants.npz");
    saveEmbeddings(out, pixelEmbeddings(samples));
    expectNoTrace(readFileSync(out, "latin1"), "the bytes of the embedding file");
    expectNoTrace(texts(out), "the arrays of the embedding file");
  });
});

describe("a plant in a tag that is read", () => {
  const read: readonly Element[] = [
    [0x00080060, "CS", "KOWALSKA ZOFIA"],
    [0x00280004, "CS", "KOWALSKA"],
    [0x00280004, "CS", "19470329"],
    [0x00280008, "IS", "19470329"],
    [0x00280008, "IS", "Kowalska"],
    [0x00280030, "DS", "19470329\\Kowalska"],
    [0x00281052, "DS", "Kowalska"],
    [0x00281053, "DS", "Kowalska"],
    [0x00200032, "DS", "Kowalska\\Zofia\\19470329"],
    [0x00200037, "DS", "Kowalska^Zofia^Dr"],
    [0x00180050, "DS", "Kowalska^Zofia"],
    [0x00281050, "DS", "Kowalska^Zofia"],
    [0x0020000e, "UI", "2.25.318794402118"],
  ];

  test.each(read)("%i as %s with %s is refused or left out without being shown", async (...changed) => {
    expectNoTrace(await said(file("read.dcm", planted([changed]))), "reader");
  });

  test("its own modality without pixels is not shown", async () => {
    const bytes = planted([[0x00080060, "CS", "KOWALSKA"]]);
    const pixels = bytes.lastIndexOf(Buffer.from([0xe0, 0x7f, 0x10, 0]));
    expectNoTrace(await said(file("none.dcm", bytes.subarray(0, pixels))), "reader");
  });

  test.each(["19470329", "2.25.318794402118", "1.2.840.19470329", "Kowalska^Zofia"])(
    "%s as the transfer syntax is not shown",
    async (syntax) => expectNoTrace(await said(file("syntax.dcm", planted([], syntax))), "reader"),
  );
});

describe("a broken file", () => {
  test("gives nothing away, wherever it is cut or turned", async () => {
    const whole = planted();
    const random = new Random("plants");
    let refused = 0;
    for (let round = 0; round < 600; round++) {
      const bytes = Buffer.from(whole);
      const kind = round % 4;
      if (kind === 0) for (let i = 0; i < 6; i++) bytes[132 + random.int(bytes.length - 132)] = random.int(256);
      if (kind === 1) bytes.writeUInt16LE(random.int(65536), 132 + random.int(bytes.length - 140));
      // Lengths near the beginning move every later value into another tag.
      if (kind === 2) for (let i = 0; i < 3; i++) bytes[136 + random.int(400)] = random.int(256);
      const cut = kind === 3 ? bytes.subarray(0, 140 + random.int(bytes.length - 140)) : bytes;
      const text = await said(file("broken.dcm", cut));
      if (text.startsWith(folder)) refused++;
      expectNoTrace(text, `round ${round}`);
    }
    expect(refused).toBeGreaterThan(100);
  });

  test("gives nothing away from the comments inside compressed frames", async () => {
    const comment = Buffer.from(PLANTS.join(" "), "latin1");
    const marker = Buffer.from([0xff, 0xfe, 0, comment.length + 2]);
    const start = Buffer.from([0xff, 0xd8]);
    const frameHeader = Buffer.from([0xff, 0xc0, 0, 11, 8, 0, 8, 0, 8, 1, 1, 0x11, 0]);
    const frames = {
      "1.2.840.10008.1.2.4.50": Buffer.concat([start, marker, comment, frameHeader, comment]),
      "1.2.840.10008.1.2.4.80": Buffer.concat([start, marker, comment, comment]),
      "1.2.840.10008.1.2.4.90": Buffer.concat([Buffer.from([0xff, 0x4f, 0xff, 0x51]), comment]),
      "1.2.840.10008.1.2.4.110": comment,
      "1.2.840.10008.1.2.4.201": comment,
      "1.2.840.10008.1.2.5": comment,
      "1.2.840.10008.1.2.8.1": comment,
    };
    for (const [syntax, frame] of Object.entries(frames)) {
      const item = Buffer.from([0xfe, 0xff, 0, 0xe0, 0, 0, 0, 0]);
      const table = Buffer.from(item);
      item.writeUInt32LE(frame.length, 4);
      const bytes = planted([[0x7fe00010, "OB", Buffer.concat([table, item, frame])]], syntax);
      bytes.writeUInt32LE(0xffffffff, bytes.lastIndexOf(Buffer.from([0xe0, 0x7f, 0x10, 0])) + 8);
      const text = await said(file("frame.dcm", bytes));
      expect(text, syntax).toContain(folder);
      expectNoTrace(text, syntax);
    }
  });
});

test("nothing that was printed on the way gives anything away", () => {
  expectNoTrace(printed.filter((line) => !line.includes("deidentify.test.ts")).join("\n"), "log lines");
});
