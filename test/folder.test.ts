import { execFileSync } from "node:child_process";
import { copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import sharp from "sharp";
import { describe, expect, test } from "vitest";
import { entryOf, loadCatalog, unlistedFolder } from "../src/datasets/catalog.js";
import type { FolderEntry } from "../src/datasets/catalog.js";
import { parseCsv } from "../src/datasets/csv.js";
import { openFolder } from "../src/datasets/folder.js";
import type { FolderOptions } from "../src/datasets/folder.js";
import { findFfmpeg } from "../src/datasets/videoProcess.js";
import { prepareAll, prepareSample } from "../src/transforms/prepare.js";
import { InputError, SPLITS } from "../src/types.js";

const split = { train: 0.6, gallery: 0.2, query: 0.2, seed: 7 };
const options: FolderOptions = { name: "test", split };

/** A folder with these files (empty: opening never decodes) and this labels.csv. */
function folderOf(csv: string | null, files: readonly string[]): string {
  const root = mkdtempSync(join(tmpdir(), "m3ret-folder-"));
  for (const file of files) {
    mkdirSync(dirname(join(root, file)), { recursive: true });
    writeFileSync(join(root, file), "");
  }
  if (csv !== null) writeFileSync(join(root, "labels.csv"), csv);
  return root;
}

/** Patients with two files each, in every class of every modality that is given. */
function study(modalities: readonly string[], patients: number): { csv: string; files: string[] } {
  const files: string[] = [];
  let csv = "path,modality,class,group\n";
  for (const modality of modalities) {
    for (const klass of ["a", "b"]) {
      for (let i = 0; i < patients; i++) {
        for (const view of [1, 2]) {
          files.push(`${modality}/${klass}${i}-${view}.png`);
          csv += `${files.at(-1)},${modality},${klass},${modality}-${klass}${i}\n`;
        }
      }
    }
  }
  return { csv, files };
}

test("quotes hold commas, line ends and quotes; both line ends, a mark and empty lines are understood", () => {
  const text = '\ufeffa,b\r\n"1, ""x""",2\r\n\r\n"two\nlines",\n,last';
  expect(parseCsv(text)).toEqual([
    { line: 1, fields: ["a", "b"] },
    { line: 2, fields: ['1, "x"', "2"] },
    { line: 4, fields: ["two\nlines", ""] },
    { line: 6, fields: ["", "last"] },
  ]);
  expect(parseCsv("")).toEqual([]);
  expect(parseCsv('a\rb\r"c\rd"').map(({ fields }) => fields)).toEqual([["a"], ["b"], ["c\rd"]]);
  expect(() => parseCsv('a\n"b')).toThrow("line 2: a quote is never closed");
});

test("what spreadsheets save is read: semicolons, tabs, sep=, a mark, UTF-16, Windows-1252, empty rows and columns", () => {
  const fields = (text: string) => parseCsv(text).map((row) => row.fields);
  const rows = [["path", "b;c"], ["1,5", "x"]]; // prettier-ignore
  expect(fields('path;"b;c"\r\n1,5;x\r\n')).toEqual(rows);
  expect(fields('path\t"b;c"\n1,5\tx')).toEqual(rows);
  expect(fields('\ufeffsep=;\r\npath;"b;c"\r\n1,5;x')).toEqual(rows);
  expect(fields("a;b,c\n1;2,3")).toEqual([["a;b", "c"], ["1;2", "3"]]); // prettier-ignore
  const text = "path;modality;class;group;;\r\né.png;ct;Größe;p;;\r\n;;;;;\r\n";
  const be = Buffer.from("\ufeff" + text, "utf16le").swap16();
  for (const bytes of [Buffer.from(text, "latin1"), Buffer.from(text), Buffer.from("\ufeff" + text, "utf16le"), be]) {
    const root = folderOf(null, ["é.png"]);
    writeFileSync(join(root, "labels.csv"), bytes);
    const { records } = openFolder(root, options);
    expect(records.map(({ id, labels }) => [id, labels])).toEqual([["é.png", { class: "Größe" }]]);
  }
});

test("paths of labels.csv may begin with ./ or with the folder, have Windows' separators, or accents composed otherwise", () => {
  const root = folderOf(null, ["a.png", "b.png", "sub dir/c.png", "e\u0301.png"]);
  const paths = ["./a.png", join(root, "b.png"), "sub dir\\c.png", "\u00e9.png"];
  const csv = (names: readonly string[]) =>
    ["path,modality,class,group", ...names.map((p) => `${p},ct,k,g`)].join("\n");
  writeFileSync(join(root, "labels.csv"), csv(paths));
  expect(openFolder(root, options).records.map(({ id }) => id)).toEqual(["a.png", "b.png", "e\u0301.png", "sub dir/c.png"]); // prettier-ignore
  writeFileSync(join(root, "labels.csv"), csv(["a.png", "./a.png"]));
  expect(() => openFolder(root, options)).toThrow("labels.csv:3: a.png is listed twice");
  for (const outside of ["../a.png", "a/../../b.png", "/etc/hostname", ".."]) {
    writeFileSync(join(root, "labels.csv"), csv([outside]));
    expect(() => openFolder(root, options)).toThrow(
      `labels.csv:2: expected a path inside the folder, got "${outside}"`,
    );
  }
});

test("every patient is on one side only, every class on each, and MRI never on the training side", () => {
  const { csv, files } = study(["xray", "mri"], 5);
  const { records, skipped } = openFolder(folderOf(csv, files), options);
  expect(records).toHaveLength(40);
  expect(skipped).toEqual([]);
  const sides = new Map<string, Set<string>>();
  for (const { group, split: side } of records) sides.set(group, (sides.get(group) ?? new Set()).add(side));
  for (const seen of sides.values()) expect(seen.size).toBe(1);
  for (const modality of ["xray", "mri"]) {
    for (const klass of ["a", "b"]) {
      const found = new Set(
        records.filter((r) => r.modality === modality && r.labels.class === klass).map((r) => r.split),
      );
      expect([...found].sort()).toEqual(modality === "mri" ? ["gallery", "query"] : [...SPLITS].sort());
    }
  }
});

test("the rows of labels.csv in another order give the same records", () => {
  const { csv, files } = study(["ct"], 6);
  const [header, ...rows] = csv.trim().split("\n");
  const root = folderOf(csv, files);
  const before = openFolder(root, options).records;
  writeFileSync(join(root, "labels.csv"), [header, ...rows.reverse()].join("\r\n"));
  expect(openFolder(root, options).records).toEqual(before);
});

test("a file without a group is its own group, and its id is its path", () => {
  const root = folderOf("path,modality,class,group\nx.png,ct,a,\ny.png,ct,a,\n", ["x.png", "y.png"]);
  expect(openFolder(root, options).records.map(({ id, group }) => [id, group])).toEqual([
    ["x.png", "x.png"],
    ["y.png", "y.png"],
  ]);
});

test("MRI of a patient whose X-rays are trained on is left out, and said", () => {
  const rows = Array.from({ length: 10 }, (_, i) => `x${i}.png,xray,a,p${i}\nm${i}.png,mri,a,p${i}\n`).join("");
  const files = Array.from({ length: 10 }, (_, i) => [`x${i}.png`, `m${i}.png`]).flat();
  const { records, skipped } = openFolder(folderOf(`path,modality,class,group\n${rows}`, files), options);
  const trained = new Set(records.filter((r) => r.split === "train").map((r) => r.group));
  expect(trained.size).toBe(6);
  expect(records.filter((r) => r.modality === "mri" && trained.has(r.group))).toEqual([]);
  expect(skipped.map(({ path }) => path).sort()).toEqual([...trained].map((p) => p.replace("p", "m") + ".png").sort());
});

test("further columns are labels, and only those asked for when they are named", () => {
  const root = folderOf("path,modality,class,group,organ,site\nx.png,ct,a,,liver,A\n", ["x.png"]);
  expect(openFolder(root, options).records[0].labels).toEqual({ class: "a", organ: "liver", site: "A" });
  const asked = openFolder(root, { ...options, labels: ["organ"] });
  expect(asked.records[0].labels).toEqual({ class: "a", organ: "liver" });
});

test("a row for a folder of several series stands for each of them, and a row may name one", async () => {
  const volumes = fileURLToPath(new URL("./fixtures/dicomVolumes/", import.meta.url));
  const csv = "path,modality,class,group\ntwo_series,ct,a,p1\nrepeated,ct,a,p2\ntilted_series,ct,b,p3\n";
  const root = mkdtempSync(join(tmpdir(), "m3ret-folder-"));
  cpSync(volumes, root, { recursive: true });
  writeFileSync(join(root, "labels.csv"), csv);
  const dataset = openFolder(root, options);
  expect(dataset.records.map(({ id, kind, group, labels }) => [id, kind, group, labels.class])).toEqual([
    ["repeated", "volume", "p2", "a"],
    ["tilted_series", "volume", "p3", "b"],
    ["two_series#1", "volume", "p1", "a"],
    ["two_series#2", "volume", "p1", "a"],
  ]);
  expect(dataset.skipped).toEqual([{ path: "two_series", reason: "1 DICOM files beside its 2 series, of no volume" }]);
  const read = await Promise.all(dataset.records.map((record) => dataset.read(record)));
  expect(read.map(({ shape }) => shape)).toEqual([
    [1, 3, 4, 5],
    [1, 5, 9, 5],
    [1, 3, 4, 5],
    [1, 4, 6, 7],
  ]);
  writeFileSync(join(root, "labels.csv"), "path,modality,class,group\ntwo_series#2,ct,a,p1\n");
  expect(openFolder(root, options).records.map(({ id }) => id)).toEqual(["two_series#2"]);
});

test("where the content says nothing, the kind is guessed from the name: folders and NIfTI are volumes, clips are videos", () => {
  const root = folderOf(
    "path,modality,class,group\nseries,ct,a,\na.nii.gz,ct,a,\nb.MP4,endoscopy,a,\nc.dcm,xray,a,\n",
    ["series/1.dcm", "a.nii.gz", "b.MP4", "c.dcm"],
  );
  const kinds = Object.fromEntries(openFolder(root, options).records.map(({ id, kind }) => [id, kind]));
  expect(kinds).toEqual({ series: "volume", "a.nii.gz": "volume", "b.MP4": "video", "c.dcm": "image" });
});

test("a limit keeps that many of each class, always the same ones, and any of them", () => {
  const { csv, files } = study(["ct"], 10);
  const root = folderOf(csv, files);
  const ids = (seed: number) =>
    openFolder(root, { ...options, split: { ...split, seed }, limitPerClass: 3 }).records.map(({ id }) => id);
  expect(ids(1)).toHaveLength(6);
  expect(ids(1)).toEqual(ids(1));
  const seen = new Set<string>();
  for (let seed = 0; seed < 60; seed++) for (const id of ids(seed)) seen.add(id);
  expect(seen.size).toBe(files.length);
});

test("paths can be kept or left out by how they start", () => {
  const { csv, files } = study(["ct", "xray", "ultrasound"], 3);
  const root = folderOf(csv, files);
  const kept = openFolder(root, { ...options, include: ["ct/", "xray/"], exclude: ["xray/b"] }).records;
  expect(new Set(kept.map(({ id }) => id.slice(0, id.indexOf("/") + 2)))).toEqual(new Set(["ct/a", "ct/b", "xray/a"]));
  expect(() => openFolder(root, { ...options, include: ["mri/"] })).toThrow("expected at least one row to keep");
});

test("bad labels are refused in one line that names the file and the line", () => {
  const header = "path,modality,class,group\n";
  const tried: [csv: string | null, said: RegExp][] = [
    [null, /labels\.csv: no such file; a folder of data needs a labels\.csv$/],
    ["path,modality,class\nx.png,ct,a\n", /labels\.csv: expected a column "group", got path, modality, class$/],
    [`${header}x.png,ct,a,\ngone.png,ct,a,\n`, /labels\.csv:3: gone\.png: no such file or folder$/],
    [`${header}x.png,ct,a\n`, /labels\.csv:2: expected 4 fields, got 3$/],
    [`${header}x.png,sonar,a,\n`, /labels\.csv:2: expected one of xray, .*mri, got "sonar"$/],
    [`${header}x.png,ct,a,\nx.png,ct,b,\n`, /labels\.csv:3: x\.png is listed twice$/],
    [`${header}../x.png,ct,a,\n`, /labels\.csv:2: expected a path inside the folder, got "\.\.\/x\.png"$/],
    [`${header}"x.png,ct,a,\n`, /labels\.csv: line 2: a quote is never closed$/],
    ["", /labels\.csv: expected a column "path"/],
  ];
  for (const [csv, said] of tried) {
    const root = folderOf(csv, ["x.png"]);
    expect(() => openFolder(root, options)).toThrow(said);
    expect(() => openFolder(root, options)).toThrow(InputError);
  }
});

test("unreadable files are reported and not fatal", async () => {
  const root = folderOf("path,modality,class,group\ngood.png,xray,a,p1\nbroken.png,xray,a,p2\n", ["broken.png"]);
  const grey = sharp(Buffer.alloc(12 * 8, 200), { raw: { width: 12, height: 8, channels: 1 } });
  await grey.png().toFile(join(root, "good.png"));
  const { samples, skipped } = await prepareAll(openFolder(root, options), unlistedFolder(root).preprocessing);
  expect(samples.map(({ id, shape }) => [id, shape])).toEqual([["good.png", [3, 1, 64, 64]]]);
  expect(skipped).toHaveLength(1);
  expect(skipped[0].path).toBe("broken.png");
  expect(skipped[0].reason).not.toContain("\n");
});

const realdata = process.env.M3RET_REALDATA ?? resolve("../shared/realdata");

describe.skipIf(!existsSync(realdata))(`with the real data of ${realdata} (skipped where it is absent)`, () => {
  test("every row becomes a record or a reason, and every sample is a picture in [0, 1]", async () => {
    const entry = entryOf(loadCatalog(), "realdata") as FolderEntry;
    const dataset = openFolder(realdata, { ...entry, name: "realdata", labels: Object.keys(entry.labels) });
    expect(dataset.records.length).toBeGreaterThan(500);
    expect(dataset.records.filter((r) => r.modality === "mri" && r.split === "train")).toEqual([]);
    for (const modality of entry.modalities) {
      const { samples, skipped } = await prepareAll(dataset, entry.preprocessing, {
        modalities: [modality],
        limit: 24,
      });
      expect(samples.length + skipped.length - dataset.skipped.length).toBe(24);
      for (const { pixels, shape } of samples) {
        expect(shape.slice(2)).toEqual([64, 64]);
        expect(pixels.every((x) => x >= 0 && x <= 1)).toBe(true);
        expect(pixels.some((x) => x !== pixels[0])).toBe(true);
      }
    }
  });
});

test("pictures, pages and videos of every format become samples of the right kind", async () => {
  const media = (name: string) => fileURLToPath(new URL(`./fixtures/media/${name}`, import.meta.url));
  const kinds: Record<string, string> = {
    "alpha.webp": "image",
    "bits.png": "image",
    "colour.bmp": "image",
    "f32.tif": "image",
    "moving.webp": "video",
    "stack_u16.tif": "volume",
    "still.gif": "image",
    "turned6.jpg": "image",
  };
  const root = mkdtempSync(join(tmpdir(), "m3ret-media-"));
  for (const name of Object.keys(kinds)) copyFileSync(media(name), join(root, name));
  const film = ["-f", "lavfi", "-i", "testsrc=s=64x48:r=10:d=4"];
  for (const name of ["film.mp4", "film.gif", "film.avi"]) {
    execFileSync(findFfmpeg().program, ["-nostdin", "-v", "error", ...film, join(root, name)]);
    kinds[name] = "video";
  }
  const rows = Object.keys(kinds).map((name) => `${name},endoscopy,a,`);
  writeFileSync(join(root, "labels.csv"), ["path,modality,class,group", ...rows].join("\n"));
  const dataset = openFolder(root, options);
  expect(Object.fromEntries(dataset.records.map(({ id, kind }) => [id, kind]))).toEqual(kinds);

  const { preprocessing } = unlistedFolder(root);
  const { samples, skipped } = await prepareAll(dataset, preprocessing);
  expect(skipped).toEqual([]);
  expect(Object.fromEntries(samples.map(({ id, kind }) => [id, kind]))).toEqual(kinds);
  // Frames that are left out while decoding are those that would have been left out afterwards.
  for (const sample of samples.filter(({ id }) => id.startsWith("film"))) {
    const record = dataset.records.find(({ id }) => id === sample.id)!;
    const whole = prepareSample(record, await dataset.read(record), preprocessing);
    expect(sample.pixels, sample.id).toEqual(whole.pixels);
  }
});

test("a label that modalities share can be made from one that they do not", () => {
  const root = mkdtempSync(join(tmpdir(), "m3ret-derive-"));
  writeFileSync(join(root, "a.png"), "");
  writeFileSync(join(root, "b.png"), "");
  writeFileSync(join(root, "labels.csv"), "path,modality,class,group\na.png,xray,cxr,1\nb.png,ct,other,2\n");
  const derive = { region: { from: "class", values: { cxr: "chest" } } };
  const split = { train: 0, gallery: 0.5, query: 0.5, seed: 7 };
  const { records } = openFolder(root, { name: "d", split, labels: ["class", "region"], derive });
  expect(records.map(({ labels }) => labels.region)).toEqual(["chest", ""]);
});
