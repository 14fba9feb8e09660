/** The paper's number of samples: time to the first decoded batch, and memory. */
import { execFileSync } from "node:child_process";
import { linkSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import sharp from "sharp";
import { afterAll, expect, test } from "vitest";
import { loadCatalog } from "../src/datasets/catalog.js";
import { writeManifest, type ManifestRow } from "../src/datasets/manifest.js";
import { Random } from "../src/random.js";
import { nifti } from "./standIns.js";

const PAPER = 867_653; // samples of the paper's pretraining set
const folder = mkdtempSync(join(tmpdir(), "m3ret-scale-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** Noise that is smooth over a few pixels, as large as the sets have it: it packs about as well as a radiograph. */
async function picture(path: string, side: number, channels: 1 | 3): Promise<void> {
  const random = new Random(path);
  const coarse = new Uint8Array((side / 8) ** 2 * channels).map(() => random.int(256));
  const image = sharp(coarse, { raw: { width: side / 8, height: side / 8, channels } }).resize(side, side);
  const grey = channels === 1 ? image.toColourspace("b-w") : image;
  await (path.endsWith(".png") ? grey.png() : grey.jpeg()).toFile(join(folder, path));
}

test(
  `the first decoded batch of ${PAPER} rows takes less than 5 s of computing, and 1 GB holds the work`,
  { timeout: 180_000 },
  async () => {
    const files: Record<string, string[]> = { xray: [], ultrasound: [], endoscopy: [], ct: [], mri: [] };
    for (const modality of Object.keys(files)) mkdirSync(join(folder, modality));
    const put = (modality: string, name: string) => {
      files[modality].push(`${modality}/${name}`);
      return `${modality}/${name}`;
    };
    const made = 8;
    for (let i = 0; i < made; i++) {
      await picture(put("xray", `${i}.png`), 1024, 1); // as ChestX-ray14
      await picture(put("ultrasound", `${i}.png`), 512, 1);
      await picture(put("endoscopy", `${i}.jpg`), 640, 3);
      writeFileSync(join(folder, put("ct", `${i}.nii.gz`)), gzipSync(nifti(`ct ${i}`, [1, 1, 2.5], [128, 128, 40])));
      files.mri.push(`mri/${i}.nii.gz`); // never asked for, and not there
    }
    // As many names as a batch needs, so that no file is decoded once for several rows.
    for (const names of Object.values(files)) {
      for (let i = made; i < 1000; i++) {
        const name = names[i % made].replace("/", `/${i}-`);
        if (!name.startsWith("mri")) linkSync(join(folder, names[i % made]), join(folder, name));
        names.push(name);
      }
    }
    const order = ["xray", "xray", "xray", "ultrasound", "endoscopy", "ct", "mri"] as const;
    function* rows(): Generator<ManifestRow> {
      for (let i = 0; i < PAPER; i++) {
        const modality = order[i % order.length];
        const kind = modality === "ct" || modality === "mri" ? "volume" : "image";
        const path = files[modality][Math.floor(i / 7) % 1000];
        yield {
          modality,
          kind,
          split: i % 10 ? "train" : "query",
          path,
          group: `scale/${i}`,
          labels: { finding: "none" },
        };
      }
    }
    const manifest = join(folder, "scale.jsonl");
    expect(writeManifest(manifest, "scale", folder, rows(), 7)).toBe(PAPER);
    const { preprocessing } = loadCatalog(fileURLToPath(new URL("../datasets.yaml", import.meta.url))).public
      .chestxray14;

    const [child, dist] = ["./scaleChild.mjs", "../dist"].map((path) => fileURLToPath(new URL(path, import.meta.url)));
    const given = [child, dist, manifest, JSON.stringify(preprocessing)];
    interface Passed {
      readonly wall: number;
      readonly cpu: number;
    }
    const said = JSON.parse(execFileSync(process.execPath, given, { encoding: "utf8" })) as {
      readonly rows: number;
      readonly opened: Passed;
      readonly first: Passed;
      readonly after: Passed;
      readonly counts: Readonly<Record<string, number>>;
      readonly megabytes: number;
      readonly madeBy: string;
    };
    const time = ({ wall, cpu }: Passed) => `${wall.toFixed(2)} s (${cpu.toFixed(2)} s of computing)`;
    console.log(
      `${PAPER} rows, opened after ${time(said.opened)}; the first 64 X-rays of 1024 pixels decoded, prepared and cut after ` +
        `${time(said.first)}; 12 batches of 8 of all modalities after ${time(said.after)}: ${JSON.stringify(said.counts)}; ` +
        `at most ${said.megabytes.toFixed(0)} MiB resident; ${said.madeBy}`,
    );
    expect(said.rows).toBe(PAPER);
    expect(Object.keys(said.counts).sort()).toEqual(["mae 8x1x14x14", "mae 8x8x14x14"]);
    // Computing on all threads, which a busy machine does not change: on an idle one no more time than that goes by.
    expect(said.first.cpu).toBeLessThan(5);
    expect(said.megabytes).toBeLessThan(1024);
  },
);
