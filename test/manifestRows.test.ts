import { mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { loadCatalog } from "../src/datasets/catalog.js";
import type { SkippedFile } from "../src/datasets/dataset.js";
import { manifestRows, writeQuarantine } from "../src/datasets/manifestRows.js";
import { loadRecipe } from "../src/datasets/recipe.js";
import { InputError } from "../src/types.js";

const catalog = loadCatalog(new URL("../datasets.yaml", import.meta.url).pathname);
const recipes = new URL("../recipes/", import.meta.url).pathname;

function folderWith(files: Record<string, string>): string {
  const folder = mkdtempSync(join(tmpdir(), "m3ret-rows-"));
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
  return folder;
}

function rowsOf(name: string, files: Record<string, string>) {
  const folder = folderWith(files);
  const left: SkippedFile[] = [];
  const rows = [...manifestRows(name, catalog.public[name], folder, (one) => left.push(one))];
  return { folder, rows, left };
}

test("a folder as ChestX-ray14 has it becomes rows with finding, view and patient; what the table lacks is left out", () => {
  const { folder, rows, left } = rowsOf("chestxray14", {
    "Data_Entry_2017_v2020.csv":
      "Image Index,Finding Labels,Follow-up #,Patient ID,View Position\n1_0.png,Mass|Nodule,0,1,PA\n2_0.png,No Finding,0,2,AP\n",
    "train_val_list.txt": "1_0.png\n3_0.png\n",
    "test_list.txt": "2_0.png\n",
    "images_001/images/1_0.png": "x",
    "images_002/images/2_0.png": "",
    "images_002/images/3_0.png": "x",
  });
  const labels = { region: "chest", finding: "Mass|Nodule", view: "PA" };
  const facts = { modality: "xray", kind: "image", split: "train" };
  expect(rows).toEqual([{ ...facts, path: "images_001/images/1_0.png", group: "chestxray14/1", labels }]);
  expect(left).toEqual([
    { path: "images_002/images/2_0.png", reason: "expected a picture, got an empty file" },
    { path: "images_002/images/3_0.png", reason: "not in the table Data_Entry_2017_v2020.csv" },
  ]);
  const report = join(folder, "q.jsonl");
  writeQuarantine(report, folder, [...left, { path: "a", reason: `${folder}/a: broken\nand more` }]);
  const lines = readFileSync(report, "utf8").trimEnd().split("\n");
  expect(lines.map((line) => (JSON.parse(line) as SkippedFile).reason).at(-1)).toBe("a: broken");
});

test("sets whose labels stand in the path, in a table with semicolons, or in two modalities are read by their rules", () => {
  const mura = rowsOf("mura", { "MURA/train/XR_WRIST/patient00007/study1_positive/image1.png": "x" });
  expect(mura.rows[0]).toMatchObject({ group: "mura/patient00007", labels: { region: "hand", finding: "abnormal" } });
  const fetal = rowsOf("fetal-planes", {
    "FETAL_PLANES_DB_data.csv":
      "Image_name;Patient_num;Plane;US_Machine;Train \nPatient1_Plane1;1;Fetal brain;Voluson E6;1\n",
    "Images/Patient1_Plane1.png": "x",
  });
  expect(fetal.rows[0]).toMatchObject({ group: "fetal-planes/1", labels: { region: "fetus", plane: "Fetal brain" } });
  const amos = rowsOf("amos22", {
    "imagesTr/amos_0001.nii.gz": "x",
    "imagesVa/amos_0507.nii.gz": "x",
    "imagesTr/amos_0999.nii.gz": "x",
  });
  expect(amos.rows.map(({ modality, group }) => [modality, group])).toEqual([
    ["ct", ""],
    ["mri", ""],
  ]);
  expect(amos.left[0].reason).toContain('as modality, got "09"');
  const busi = rowsOf("busi", { "D/benign/benign (1).png": "x", "D/benign/benign (1)_mask.png": "x" });
  expect(busi.rows.map(({ labels }) => labels.finding)).toEqual(["benign"]);
});

test("a folder without the files or the table of its set is refused in one line", () => {
  expect(() => rowsOf("mura", { "a.png": "x" })).toThrow(/expected files as .*XR_.*, found none/);
  expect(() => rowsOf("chestxray14", { "images/a.png": "x" })).toThrow(
    "expected a table Data_Entry_2017*.csv, found none",
  );
  const table = { "Data_Entry_2017.csv": "a,b\n1,2\n" };
  expect(() => rowsOf("chestxray14", table)).toThrow('expected a column "Image Index", got a, b');
  expect(() => rowsOf("luna16", { a: "x" })).toThrow("luna16: the catalogue has no rules for its files");
});

test("every recipe that comes with the package can be read, and says that its shares are ours", () => {
  const files = readdirSync(recipes).filter((name) => name.endsWith(".yaml")); // sweeps are in a folder of their own
  expect(files).toEqual(expect.arrayContaining(["m3ret-like.yaml", "ct-only.yaml", "without-endoscopy.yaml"]));
  for (const file of files) {
    const recipe = loadRecipe(join(recipes, file), catalog);
    expect(recipe.about, file).toMatch(/\bours?\b/i);
    expect(recipe.shares, file).not.toHaveProperty("mri");
  }
  expect(Object.keys(loadRecipe(join(recipes, "m3ret-like.yaml"), catalog).shares)).toHaveLength(4);
});

test("m3ret-like says how many samples its sets hold, by the counts of the catalogue, and how much of the paper's that is", () => {
  const recipe = loadRecipe(join(recipes, "m3ret-like.yaml"), catalog);
  const samples = (name: string) => {
    const { images = 0, videos = 0, volumes, scans = 0 } = catalog.public[name].count;
    return images + videos + (volumes ?? scans);
  };
  const perModality = new Map<string, number>();
  for (const name of recipe.sets) {
    const [modality] = catalog.public[name].modalities;
    perModality.set(modality, (perModality.get(modality) ?? 0) + samples(name));
  }
  const all = [...perModality.values()].reduce((a, b) => a + b);
  const paper = 867_653; // its abstract
  expect(recipe.about).toContain(`${all.toLocaleString("en")} samples, ${Math.round((100 * all) / paper)} % of the paper's ${paper.toLocaleString("en")}`); // prettier-ignore
  const comment = readFileSync(join(recipes, "m3ret-like.yaml"), "utf8");
  for (const n of [...perModality.values(), all, all + samples("mimic-cxr-jpg") + samples("chexpert")]) {
    expect(comment).toContain(n.toLocaleString("en"));
  }
});

test("a recipe with MRI is refused, as a share and as a set", () => {
  const refusal = (text: string) => {
    const file = join(folderWith({ "r.yaml": `title: t\nabout: ours\n${text}\n` }), "r.yaml");
    try {
      loadRecipe(file, catalog);
    } catch (error) {
      expect(error).toBeInstanceOf(InputError);
      expect((error as Error).message).not.toContain("\n");
      return (error as Error).message.replace(file, "FILE");
    }
    throw new Error("accepted");
  };
  expect(refusal("shares: { ct: 1, mri: 1 }")).toMatch(/^FILE: MRI never enters pretraining/);
  expect(refusal("shares: { ct: 1 }\nsets: [ixi]")).toBe("FILE: sets: ixi is MRI, which never enters pretraining");
  expect(refusal("shares: { ct: 1 }\nsets: [busi]")).toBe("FILE: sets: busi is ultrasound, which has no share");
  expect(refusal("shares: { ct: 1 }\nsets: [nowhere]")).toContain('"nowhere" is not in the catalogue');
  expect(refusal("shares: { ct: 0 }")).toContain("FILE: shares.ct: ");
  expect(refusal("shares: {}")).toBe("FILE: shares: expected a modality");
});

test("a value that holds several labels becomes a label set: each in our words, once, with | between", () => {
  const files = {
    "Data_Entry_2017_v2020.csv":
      'Image Index,Finding Labels,Patient ID,View Position\n1.png,"Mass, Nodule,Mass,",1,PA\n2.png,,2,AP\n3.png,Effusion,3,AP\n',
    "train_val_list.txt": "1.png\n2.png\n3.png\n",
    "test_list.txt": "",
    ...Object.fromEntries([1, 2, 3].map((i) => [`images_001/images/${i}.png`, "x"])),
  };
  const set = catalog.public.chestxray14;
  const finding = { column: "Finding Labels", several: ",", map: { Mass: "mass", Effusion: "effusion" } };
  const folder = folderWith(files);
  const rows = manifestRows("mine", { ...set, records: { ...set.records!, labels: { finding } } }, folder, () => {});
  expect(rows.map(({ labels }) => labels.finding)).toEqual(["mass|Nodule", "", "effusion"]);
});
