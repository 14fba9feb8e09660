/** Small folders as public sets have them: their layouts, names, tables and lists, filled with pictures of ours. */
import { execFileSync } from "node:child_process";
import { copyFileSync, cpSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";
import sharp from "sharp";
import { findFfmpeg } from "../src/datasets/videoProcess.js";
import { Random } from "../src/random.js";
import { fixture } from "./readersFixture.js";

export function put(root: string, path: string, bytes: string | Uint8Array): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), bytes);
}

/** A disc on a ground, in a place and shade that depend on `klass`, and noise. */
function disc(side: number, channels: 1 | 3, klass: number, random: Random): Uint8Array {
  const [x0, y0] = [side * (0.3 + 0.4 * (klass % 2)), side * (0.35 + 0.3 * (klass >> 1))];
  const bytes = new Uint8Array(side * side * channels);
  for (let i = 0; i < side * side; i++) {
    const inside = Math.hypot((i % side) - x0, Math.floor(i / side) - y0) < side / 5;
    for (let c = 0; c < channels; c++) {
      bytes[i * channels + c] = Math.max(
        0,
        Math.min(255, (inside ? 180 - 20 * c : 60 + 10 * c) + 15 * random.normal()),
      );
    }
  }
  return bytes;
}

export async function picture(root: string, path: string, channels: 1 | 3, klass: number): Promise<void> {
  const side = 48;
  const raw = sharp(disc(side, channels, klass, new Random(path)), { raw: { width: side, height: side, channels } });
  const image = path.endsWith(".png") ? raw.toColourspace(channels === 1 ? "b-w" : "srgb").png() : raw.jpeg();
  put(root, path, await image.toBuffer());
}

/** Two seconds of a moving test card. */
export function film(root: string, path: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  const source = ["-f", "lavfi", "-i", "testsrc=s=48x48:r=10:d=2", "-c:v", "mpeg4"];
  execFileSync(findFfmpeg().program, ["-nostdin", "-v", "error", "-y", ...source, `file:${join(root, path)}`]);
}

/** A NIfTI-1 volume in Hounsfield units, 12 slices of 24 × 24 unless told: air, and a ball of soft tissue. */
export function nifti(
  seed: string,
  spacing: readonly [number, number, number] = [1, 1, 2.5],
  [w, h, d]: readonly [number, number, number] = [24, 24, 12],
): Uint8Array {
  const random = new Random(seed);
  const bytes = Buffer.alloc(352 + 2 * w * h * d);
  bytes.writeInt32LE(348, 0);
  [3, w, h, d, 1, 1, 1, 1].forEach((n, i) => bytes.writeInt16LE(n, 40 + 2 * i));
  bytes.writeInt16LE(4, 70); // int16
  bytes.writeInt16LE(16, 72);
  [1, ...spacing].forEach((mm, i) => bytes.writeFloatLE(mm, 76 + 4 * i));
  bytes.writeFloatLE(352, 108);
  bytes.writeFloatLE(1, 112);
  bytes.writeInt8(10, 123); // millimetres
  bytes.writeInt16LE(1, 254); // sform
  spacing.forEach((mm, i) => bytes.writeFloatLE(mm, 280 + 16 * i + 4 * i));
  bytes.write("n+1\0", 344, "latin1");
  for (let i = 0; i < w * h * d; i++) {
    const [x, y, z] = [i % w, Math.floor(i / w) % h, Math.floor(i / (w * h))];
    const inside = Math.hypot(x / w - 0.5, y / h - 0.5, z / d - 0.5) < 0.33;
    bytes.writeInt16LE(Math.round((inside ? 40 : -1000) + 20 * random.normal()), 352 + 2 * i);
  }
  return bytes;
}

/** ChestX-ray14: 20 patients with two pictures each, every fourth in the test list. */
export async function chestXray14(root: string): Promise<void> {
  const rows = ["Image Index,Finding Labels,Follow-up #,Patient ID,View Position"];
  const lists = { "train_val_list.txt": "", "test_list.txt": "" };
  for (let patient = 1; patient <= 20; patient++) {
    for (const follow of [0, 1]) {
      const name = `${String(patient).padStart(8, "0")}_00${follow}.png`;
      const ill = patient % 3 === 0;
      rows.push(`${name},${ill ? "Mass|Nodule" : "No Finding"},${follow},${patient},${follow ? "AP" : "PA"}`);
      lists[patient % 4 === 0 ? "test_list.txt" : "train_val_list.txt"] += `${name}\n`;
      await picture(root, `images_00${1 + (patient % 2)}/images/${name}`, 1, ill ? 1 : 0);
    }
  }
  put(root, "Data_Entry_2017_v2020.csv", rows.join("\n") + "\n");
  for (const [name, text] of Object.entries(lists)) put(root, name, text);
}

/** HyperKvasir: pictures of four classes, and four videos. */
export async function hyperKvasir(root: string): Promise<void> {
  const classes = ["lower-gi-tract/pathological-findings/polyps", "lower-gi-tract/anatomical-landmarks/cecum"];
  classes.push("upper-gi-tract/anatomical-landmarks/pylorus", "upper-gi-tract/anatomical-landmarks/z-line");
  for (const [klass, name] of classes.entries()) {
    for (let i = 0; i < 10; i++) await picture(root, `labeled-images/${name}/${klass}${i}.jpg`, 3, klass);
  }
  const path = "labeled-videos/lower-gi-tract/quality-of-mucosal-view/a.avi";
  film(root, path);
  for (const name of ["b", "c", "d", "e", "f"])
    copyFileSync(join(root, path), join(root, path.replace("a.avi", `${name}.avi`)));
}

/** BUSI: three classes, each picture with the mask of its lesion beside it. */
export async function busi(root: string): Promise<void> {
  for (const [klass, name] of ["benign", "malignant", "normal"].entries()) {
    for (let i = 1; i <= 10; i++) {
      await picture(root, `Dataset_BUSI_with_GT/${name}/${name} (${i}).png`, 1, klass);
      await picture(root, `Dataset_BUSI_with_GT/${name}/${name} (${i})_mask.png`, 1, klass);
    }
  }
}

/** TotalSegmentator: NIfTI volumes in folders of their own, sides in meta.csv; one folder has masks too. */
export function totalSegmentator(root: string): void {
  const rows = ["image_id;age;gender;split"];
  for (let i = 0; i < 12; i++) {
    const id = `s${String(i).padStart(4, "0")}`;
    rows.push(`${id};50;m;${i < 8 ? "train" : i < 10 ? "val" : "test"}`);
    put(root, `${id}/ct.nii.gz`, gzipSync(nifti(id)));
  }
  put(root, "s0000/segmentations/liver.nii.gz", gzipSync(nifti("mask")));
  put(root, "meta.csv", rows.join("\n") + "\n");
}

/** LIDC-IDRI: a DICOM series in the third folder below each patient. */
export function lidcIdri(root: string): void {
  for (let i = 1; i <= 5; i++) {
    cpSync(fixture("series"), join(root, `LIDC-IDRI-000${i}/study/series`), { recursive: true });
  }
}

/** AMOS22: numbers below 500 are CT, the others MRI. */
export function amos22(root: string): void {
  for (const number of ["0001", "0002", "0501", "0502"]) {
    put(root, `imagesTr/amos_${number}.nii.gz`, gzipSync(nifti(number)));
  }
  put(root, "dataset.json", "{}");
}
