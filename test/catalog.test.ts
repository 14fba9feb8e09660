import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test, vi } from "vitest";
import { encoderFile, entryOf, folderOf, loadCatalog, parseCatalog, unlistedFolder } from "../src/datasets/catalog.js";
import type { FolderEntry } from "../src/datasets/catalog.js";
import { InputError, MODALITIES } from "../src/types.js";

afterEach(() => vi.unstubAllEnvs());

const minimal = `
datasets:
  mine:
    kind: folder
    title: My pictures
    source: the cellar
    licence: CC0
    path: pictures
    modalities: [xray]
    group: patient
    labels: { class: what it shows }
    retrievalLabel: class
`;

/** The one line that a broken catalogue is refused with. */
const refusal = (yaml: string): string => {
  try {
    parseCatalog(yaml, "datasets.yaml");
  } catch (error) {
    expect(error).toBeInstanceOf(InputError);
    const { message } = error as InputError;
    expect(message).not.toContain("\n");
    return message;
  }
  throw new Error("the catalogue was accepted");
};

test("the catalogue of the project can be read, and says source, licence and patient of every entry", () => {
  const { datasets } = loadCatalog(new URL("../datasets.yaml", import.meta.url).pathname);
  expect(Object.keys(datasets)).toEqual(expect.arrayContaining(["phantom", "phantom-smoke", "realdata"]));
  for (const entry of Object.values(datasets)) {
    expect(entry.licence + entry.source + entry.group).not.toBe("");
    expect(entry.labels).toHaveProperty(entry.retrievalLabel);
    for (const modality of entry.modalities) expect(entry.preprocessing.intensity).toHaveProperty(modality);
    expect(entry.preprocessing.size.image[0]).toBe(1);
  }
});

test("without a file the catalogue of the working folder is read, and a named one that is absent is refused", () => {
  expect(loadCatalog().datasets).toHaveProperty("phantom");
  expect(() => loadCatalog("/nowhere/datasets.yaml")).toThrow("/nowhere/datasets.yaml: no such file or folder");
});

test("the environment may name a catalogue, as it does to notebooks, and a named file goes before it", () => {
  const folder = mkdtempSync(join(tmpdir(), "m3ret-catalog-"));
  const [own, other] = ["own.yaml", "other.yaml"].map((name) => join(folder, name));
  writeFileSync(own, minimal);
  writeFileSync(other, minimal.replaceAll("mine", "theirs"));
  vi.stubEnv("M3RET_CATALOG", own);
  expect(Object.keys(loadCatalog().datasets)).toEqual(["mine"]);
  expect(Object.keys(loadCatalog(other).datasets)).toEqual(["theirs"]);
  vi.stubEnv("M3RET_CATALOG", join(folder, "absent.yaml"));
  expect(() => loadCatalog()).toThrow(`${join(folder, "absent.yaml")}: no such file or folder`);
});

test("in a folder that has no catalogue, the one of the package is read", () => {
  const before = process.cwd();
  const packaged = loadCatalog().file;
  try {
    process.chdir(mkdtempSync(join(tmpdir(), "m3ret-catalog-")));
    expect(loadCatalog().file).toBe(packaged);
    writeFileSync("datasets.yaml", minimal);
    expect(Object.keys(loadCatalog().datasets)).toEqual(["mine"]);
  } finally {
    process.chdir(before);
  }
});

test("what an entry leaves out has a value, and both halves of it when one is given", () => {
  const { mine } = parseCatalog(minimal, "datasets.yaml").datasets;
  expect(mine.split).toEqual({ train: 0.6, gallery: 0.2, query: 0.2, seed: 7 });
  expect(mine.preprocessing.intensity.ct).toMatchObject({ windowHu: [-1000, 1000] });
  expect(mine.preprocessing.fit).toBe("pad");

  const half = parseCatalog(`${minimal}    preprocessing: { intensity: { ct: { windowHu: [-160, 240] } } }\n`, "x");
  expect(half.datasets.mine.preprocessing.intensity.ct).toEqual({ windowHu: [-160, 240] });
  expect(half.datasets.mine.preprocessing.intensity.mri).toMatchObject({ percentiles: [0.5, 99.5] });
  expect(half.datasets.mine.preprocessing.size.image).toEqual([1, 64, 64]);
});

test("a mistake is one line with the file and the key", () => {
  const tried: [yaml: string, said: string][] = [
    [minimal.replace("kind: folder", "kind: archive"), "datasets.yaml: datasets.mine.kind: "],
    [minimal.replace("group: patient", "group: 3"), "datasets.yaml: datasets.mine.group: "],
    [minimal.replace("[xray]", "[sonar]"), "datasets.yaml: datasets.mine.modalities.0: "],
    [minimal.replace("    licence: CC0\n", ""), "datasets.yaml: datasets.mine.licence: "],
    [
      minimal.replace("retrievalLabel: class", "retrievalLabel: organ"),
      "datasets.mine.retrievalLabel: expected one of",
    ],
    [`${minimal}    pathh: x\n`, 'datasets.mine: Unrecognized key: "pathh"'],
    [`${minimal}    split: { train: 0.9 }\n`, "datasets.mine.split: train + gallery + query must be 1"],
    [`${minimal}    preprocessing: { intensity: { ct: {} } }\n`, "intensity.ct: expected exactly one of windowHu"],
    [`${minimal}    preprocessing: { intensity: { ct: { windowHu: [5, 1] } } }\n`, "low < high"],
    [`${minimal}    preprocessing: { orientation: LRS }\n`, "preprocessing.orientation: expected three letters"],
    ["datasets: [\n", "datasets.yaml: "],
    ["", "datasets.yaml: "],
    [`${minimal}    title: Twice\n`, "datasets.yaml: Map keys must be unique"],
  ];
  for (const [yaml, said] of tried) expect(refusal(yaml)).toContain(said);
});

test("a name that is not there is answered with those that are", () => {
  const catalog = parseCatalog(minimal, "/x/datasets.yaml");
  expect(entryOf(catalog, "mine").title).toBe("My pictures");
  expect(() => entryOf(catalog, "yours")).toThrow('unknown data set "yours"; datasets.yaml has: mine');
  expect(() => entryOf(catalog, "toString")).toThrow("unknown data set");
});

test("a path is filled in from the environment, from its default, and from where the catalogue is", () => {
  const home = mkdtempSync(join(tmpdir(), "m3ret-catalog-"));
  const [here, there] = [join(home, "here/chest"), join(home, "there/chest")];
  for (const folder of [here, there]) mkdirSync(folder, { recursive: true });
  const file = join(home, "datasets.yaml");
  const at = (path: string) => {
    writeFileSync(file, minimal.replace("path: pictures", `path: ${path}`));
    const catalog = loadCatalog(file);
    return folderOf(catalog, "mine", catalog.datasets.mine as FolderEntry);
  };
  expect(at("here/chest")).toBe(here);
  expect(at("${M3RET_TEST:-here}/chest")).toBe(here);
  vi.stubEnv("M3RET_TEST", join(home, "there"));
  expect(at("${M3RET_TEST:-here}/chest")).toBe(there);
  vi.stubEnv("M3RET_TEST", "");
  expect(at("${M3RET_TEST:-here}/chest")).toBe(here);
  expect(() => at("${M3RET_TEST}/chest")).toThrow('data set "mine": set M3RET_TEST to the folder');
  expect(() => at("${M3RET_TEST:-gone}")).toThrow(/no folder .*gone; set M3RET_TEST to it/);
});

test("a folder without an entry gets the defaults and no invented licence", () => {
  const entry = unlistedFolder("/data/x");
  expect(entry.modalities).toEqual(MODALITIES);
  expect(entry.licence).toBe("not stated");
  expect(entry.retrievalLabel).toBe("class");
});

const encoders = `${minimal}
encoders:
  other:
    title: Somebody's
    home: https://example.org
    licence: CC0
    file: models/other.onnx
    input: [b, 3, H, W]
    size: [1, 224, 224]
    mean: [0.5, 0.5, 0.5]
    std: [0.25, 0.25, 0.25]
`;

test("a catalogue may list encoders, and those of the project's own say their licence and where to get them", () => {
  expect(parseCatalog(minimal, "datasets.yaml").encoders).toEqual({});
  const { other } = parseCatalog(encoders, "datasets.yaml").encoders;
  expect(other).toMatchObject({ input: "b,3,H,W", size: [1, 224, 224], mean: [0.5, 0.5, 0.5] });
  expect([other.output, other.fit]).toEqual([undefined, undefined]);
  const own = loadCatalog().encoders;
  expect(Object.keys(own)).toEqual(
    expect.arrayContaining(["dinov2-small", "dinov3-small", "biomedclip", "bmc-clip", "medimageinsight"]),
  );
  for (const [name, { get, licence, home }] of Object.entries(own))
    expect([get, licence, home], name).not.toContain(undefined);
  expect(own["dinov2-small"]).toMatchObject({ licence: "Apache-2.0", pooling: "cls", size: [1, 224, 224] });
});

test("an encoder whose entry is wrong, or whose file is not there, is one line", () => {
  const tried: [from: string, to: string, said: string][] = [
    ["[b, 3, H, W]", "[b, H, W, 3]", "encoders.other.input: expected [b, 3, H, W] or [b, 3, D, H, W]"],
    ["[1, 224, 224]", "[8, 224, 224]", "encoders.other.size: expected [1, H, W] for an input of [b, 3, H, W]"],
    ["[1, 224, 224]", "[224, 224]", "encoders.other.size: "],
    ["[0.25, 0.25, 0.25]", "[0.25, 0, 0.25]", "encoders.other.std: expected three numbers above 0"],
    ["    licence: CC0\n    file", "    file", "encoders.other.licence: "],
  ];
  for (const [from, to, said] of tried) expect(refusal(encoders.replace(from, to))).toContain(said);
  const catalog = parseCatalog(encoders, "/x/datasets.yaml");
  expect(() => encoderFile(catalog, "other", catalog.encoders.other)).toThrow(
    'encoder "other": no file /x/models/other.onnx; correct its path in /x/datasets.yaml',
  );
});
