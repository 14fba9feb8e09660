import { mkdirSync, mkdtempSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { loadCatalog, parseCatalog } from "../src/datasets/catalog.js";
import { missingFrom, publicSetOf } from "../src/datasets/publicSets.js";
import { globToRegExp, walk } from "../src/datasets/walk.js";
import { InputError, MODALITIES } from "../src/types.js";

const catalog = loadCatalog(new URL("../datasets.yaml", import.meta.url).pathname);
const sets = Object.entries(catalog.public);

/** A new folder with these files, empty. */
function folderWith(...paths: string[]): string {
  const folder = mkdtempSync(join(tmpdir(), "m3ret-public-"));
  for (const path of paths) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), "");
  }
  return folder;
}

test("at least 30 public sets are listed, every modality among them, and those that the paper names", () => {
  expect(sets.length).toBeGreaterThanOrEqual(30);
  for (const modality of MODALITIES) {
    expect(sets.filter(([, set]) => set.modalities.includes(modality)).length, modality).toBeGreaterThanOrEqual(5);
  }
  expect(Object.keys(catalog.public)).toEqual(expect.arrayContaining(["chestxray14", "hyperkvasir"]));
  expect(catalog.public.chestxray14.count).toMatchObject({ images: 112_120, patients: 30_805 });
});

test("every public set has a home, a licence and either files or steps; names do not collide with our own sets", () => {
  for (const [name, set] of sets) {
    expect(set.home, name).toMatch(/^https?:\/\//);
    expect(set.licence.length, name).toBeGreaterThan(2);
    expect(set.files.length > 0 || set.steps !== undefined, name).toBe(true);
    expect(catalog.datasets).not.toHaveProperty(name);
    for (const label of Object.keys(set.records?.labels ?? {})) expect(set.labels, name).toHaveProperty(label);
    for (const file of set.files) if (file.unpack) expect(file.name ?? file.url, name).toMatch(/\.(zip|tar|tgz|gz)$/);
  }
});

test("every set behind an account says where its facts were read or which nobody made sure of, of those that it states", () => {
  for (const [name, set] of sets) {
    const closed = set.access === "registration" || set.access === "agreement";
    if (closed) expect(set.unverified ?? set.checked, name).toBeDefined();
    for (const fact of set.unverified?.facts ?? []) expect(set[fact], `${name}: ${fact}`).toBeDefined();
    expect(set.unverified?.facts.includes("licence") && set.licence === "unknown", name).not.toBe(true);
  }
  for (const name of ["mura", "gastrovision", "sun-colonoscopy"]) {
    expect(catalog.public[name].unverified?.facts, name).toContain("licence");
  }
});

test("a wrong public entry is refused in one line that names the key", () => {
  const refusal = (entry: string): string => {
    try {
      parseCatalog(`datasets: {}\npublic:\n  x: { ${entry} }\n`, "datasets.yaml");
    } catch (error) {
      expect(error).toBeInstanceOf(InputError);
      return (error as Error).message;
    }
    throw new Error("accepted");
  };
  const good = "title: t, home: https://a.b/, licence: CC0, access: open, modalities: [ct], region: chest";
  expect(refusal(good)).toContain("public.x.steps: expected files, or steps");
  expect(refusal(`${good}, files: [{ url: "file:///etc/passwd" }]`)).toContain("expected an address that starts with");
  expect(refusal(`${good}, files: [{ url: https://a.b/c, sha256: abc }]`)).toContain("expected 64 hex digits");
  expect(refusal(`${good}, files: [{ url: https://a.b/c, name: ../c }]`)).toContain("expected a name of letters");
  expect(refusal(`${good.replace("open", "agreement")}, files: [{ url: https://a.b/c }]`)).toContain("access open");
  expect(refusal(`${good}, steps: s, records: { files: [a], labels: { c: { match: "(" } } }`)).toContain("regular");
  expect(() => publicSetOf(catalog, "nowhere")).toThrow('unknown public set "nowhere"; datasets.yaml has: chestxray14');
});

test("patterns match within folders with *, and through folders with **", () => {
  const matches = (pattern: string, path: string) => globToRegExp(pattern).test(path);
  expect(matches("images*/**/*.png", "images_001/images/a.png")).toBe(true);
  expect(matches("images*/**/*.png", "images/a.png")).toBe(true);
  expect(matches("images*/**/*.png", "masks/a.png")).toBe(false);
  expect(matches("*.csv", "a/b.csv")).toBe(false);
  expect(matches("a.b", "axb")).toBe(false);
  expect(matches("**", "a/b/c")).toBe(true);
});

test("files are walked in one order, hidden ones and loops of links passed over, and missing patterns are named", () => {
  const folder = folderWith("b/2.png", "b/1.png", "a.csv", ".hidden/x.png");
  symlinkSync(folder, join(folder, "b", "loop"));
  expect([...walk(folder)]).toEqual(["a.csv", "b/1.png", "b/2.png"]);
  expect(missingFrom(folder, ["*.csv", "**/*.png"])).toEqual([]);
  expect(missingFrom(folder, ["*.csv", "**/*.dcm"])).toEqual(["**/*.dcm"]);
  expect(missingFrom(join(folder, "nowhere"), ["*.csv"])).toEqual(["*.csv"]);
});
