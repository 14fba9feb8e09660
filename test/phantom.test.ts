import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { DataRecord, Dataset } from "../src/datasets/dataset.js";
import {
  acquisitionOf,
  drawPatients,
  FINDINGS,
  NO_FINDING,
  openPhantom,
  REGIONS,
  simulate,
  type Patient,
  type PhantomSpec,
} from "../src/datasets/phantom.js";
import type { Anatomy } from "../src/datasets/phantomAnatomy.js";
import { cosine, exponential, logarithm, power, sine } from "../src/datasets/phantomMath.js";
import { spinEcho } from "../src/datasets/phantomMri.js";
import { AIR, CORTEX, FLUID, GREY, TISSUES, WHITE } from "../src/datasets/phantomTissue.js";
import { simulateUltrasound } from "../src/datasets/phantomUltrasound.js";
import { lineIntegrals, transmission } from "../src/datasets/phantomXray.js";
import { Random } from "../src/random.js";
import { InputError, MODALITIES, sizeOf, SPLITS, type Decoded, type Modality } from "../src/types.js";

const SMALL: PhantomSpec = { patients: 40, seed: 3, size: 32, depth: 4 };
const PICTURE = { size: 32, depth: 4 };

const folder = mkdtempSync(join(tmpdir(), "phantom-test-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** SHA-256 of the values as little-endian 16-bit integers. */
function hashOf(decoded: Decoded): string {
  const bytes = new Uint8Array(2 * decoded.pixels.length);
  decoded.pixels.forEach((v, i) => {
    bytes[2 * i] = v & 255;
    bytes[2 * i + 1] = (v >> 8) & 255;
  });
  return createHash("sha256").update(bytes).digest("hex");
}

function patientWith(finding: string, size: "small" | "large" | "none", seed = "twin"): Patient {
  const region = REGIONS.find((r) => FINDINGS[r].includes(finding)) ?? "chest";
  return { id: "p0000", region, finding, size, seed };
}

/** A made-up body: `tissue` fills y in [from, to] voxels everywhere, air the rest. */
function slab(tissue: number, from: number, to: number, others: Partial<Anatomy> = {}): Anatomy {
  const shape = [40, 40, 40] as const;
  const labels = Uint8Array.from({ length: 64000 }, (_, i) => {
    const y = Math.floor(i / 40) % 40;
    return y >= from && y < to ? tissue : AIR;
  });
  const base = { labels, shape, pitch: 0.05, halfCm: 10, halfDepth: 1, focusY: 0 };
  const lesion = { finding: NO_FINDING, extent: 0, side: 1, random: new Random(1) } as const;
  return { ...base, hounsfield: (t) => t.hu, lesion, ...others };
}

describe("the population", () => {
  const everybody = drawPatients(400, 7);

  it("gives every region × finding a share of each split, as evenly as counts permit", () => {
    for (const region of REGIONS) {
      for (const finding of [NO_FINDING, ...FINDINGS[region]]) {
        const cell = everybody.filter(([p]) => p.region === region && p.finding === finding);
        expect([12, 13]).toContain(cell.length);
        const counts = SPLITS.map((split) => cell.filter(([, s]) => s === split).length);
        expect(Math.abs(counts[0] - 0.6 * cell.length)).toBeLessThan(1.6);
        expect(Math.abs(counts[1] - 0.2 * cell.length)).toBeLessThan(1.6);
        expect(Math.abs(counts[2] - 0.2 * cell.length)).toBeLessThan(1.6);
      }
    }
    const train = everybody.filter(([, split]) => split === "train").length;
    expect(Math.abs(train - 240)).toBeLessThanOrEqual(2);
  });

  it("makes as many findings small as large, and healthy patients neither", () => {
    const sizes = everybody.map(([p]) => p.size);
    const [small, large] = ["small", "large"].map((s) => sizes.filter((size) => size === s).length);
    expect(Math.abs(small - large)).toBeLessThanOrEqual(24);
    expect(everybody.every(([p]) => (p.finding === NO_FINDING) === (p.size === "none"))).toBe(true);
  });

  it("keeps the order of ids from telling the region", () => {
    const regions = everybody.map(([p]) => p.region);
    const neighbours = regions.slice(1).filter((region, i) => region === regions[i]).length;
    expect(neighbours / 399).toBeGreaterThan(0.06); // 1/8 by chance
    expect(neighbours / 399).toBeLessThan(0.2);
  });

  it("names the fractions that do not sum to 1", () => {
    expect(() => drawPatients(10, 1, { train: 0.5, gallery: 0.2, query: 0.2 })).toThrow(InputError);
  });
});

describe("a small study on disk", () => {
  let dataset: Dataset;
  const cacheDir = join(folder, "study");
  const done: number[] = [];
  beforeAll(async () => {
    dataset = await openPhantom("phantom", SMALL, { cacheDir, onProgress: (p) => done.push(p.done) });
  });
  const cacheFolder = (): string => join(cacheDir, readdirSync(cacheDir)[0]);

  it("has every patient on one side of the split only", () => {
    const sides = new Map<string, Set<string>>();
    for (const { group, split } of dataset.records) sides.set(group, (sides.get(group) ?? new Set()).add(split));
    expect(sides.size).toBe(40);
    expect([...sides.values()].every((splits) => splits.size === 1)).toBe(true);
  });

  it("never shows MRI to training, and shows all else to everybody", () => {
    for (const group of new Set(dataset.records.map((r) => r.group))) {
      const records = dataset.records.filter((r) => r.group === group);
      const expected = MODALITIES.filter((m) => m !== "mri" || records[0].split !== "train");
      expect(records.map((r) => r.modality)).toEqual(expected);
    }
    expect(dataset.records.some((r) => r.modality === "mri")).toBe(true);
  });

  it("tells of its progress up to the last patient", () => {
    expect(done).toEqual(Array.from({ length: 41 }, (_, i) => i));
  });

  it("reads back exactly what the simulation gives", async () => {
    const everybody = drawPatients(SMALL.patients, SMALL.seed);
    for (const modality of MODALITIES) {
      const record = dataset.records.findLast((r) => r.modality === modality) as DataRecord;
      const [patient] = everybody[Number(record.group.slice(1))];
      const read = await dataset.read(record);
      expect(read).toEqual(simulate(patient, modality, acquisitionOf(patient, modality), PICTURE));
      expect(read.pixels.length).toBe(sizeOf(read.shape));
      expect(record.labels).toEqual({ region: patient.region, finding: patient.finding, size: patient.size });
    }
  });

  it("is made once: a second opening finds it, and two at once share one making", async () => {
    let calls = 0;
    await openPhantom("again", SMALL, { cacheDir, onProgress: () => calls++ });
    expect(calls).toBe(0);
    const elsewhere = join(folder, "shared");
    const tiny = { ...SMALL, patients: 2 };
    const onProgress = (): number => calls++;
    await Promise.all([1, 2].map(() => openPhantom("twice", tiny, { cacheDir: elsewhere, onProgress })));
    expect(calls).toBe(3);
    expect(readdirSync(elsewhere)).toHaveLength(1);
  });

  it("makes a damaged cache again, and sweeps away what a killed run left", async () => {
    const elsewhere = join(folder, "damaged");
    const tiny: PhantomSpec = { ...SMALL, patients: 2, modalities: ["xray"] };
    const first = await openPhantom("tiny", tiny, { cacheDir: elsewhere });
    const before = await first.read(first.records[1]);
    const made = readdirSync(elsewhere)[0];
    truncateSync(join(elsewhere, made, "xray.uint8"), 100);
    const noSuchProcess = 4194304; // one more than the largest process id of Linux
    mkdirSync(join(elsewhere, `${made}.${hostname()}.${noSuchProcess}.0.1`));
    const again = await openPhantom("tiny", tiny, { cacheDir: elsewhere });
    expect(await again.read(again.records[1])).toEqual(before);
    expect(readdirSync(elsewhere)).toEqual([made]);
  });

  it("says in one line what is wrong with a spec, a record or a cache", async () => {
    await expect(openPhantom("p", { ...SMALL, size: 8 }, { cacheDir })).rejects.toThrow(/size must be .* 16; got 8/);
    await expect(openPhantom("p", { ...SMALL, patients: 0 }, { cacheDir })).rejects.toThrow(InputError);
    await expect(dataset.read({ ...dataset.records[0], id: "p9999-ct" })).rejects.toThrow(/no record p9999-ct/);
    const file = join(cacheFolder(), "xray.uint8");
    await expect(openPhantom("p", { ...SMALL, patients: 1 }, { cacheDir: file })).rejects.toThrow(InputError);
  });

  // Neighbours by cosine of raw X-rays. With a trick question (no variation of pose or exposure) this is above 0.95.
  it("keeps raw pixels above chance and well below a perfect score", async () => {
    const records = dataset.records.filter((r) => r.modality === "xray");
    const pictures = await Promise.all(records.map(async (r) => unit((await dataset.read(r)).pixels)));
    const hits = records.filter((record, i) => {
      const scores = pictures.map((p, j) => (i === j ? -1 : p.reduce((sum, v, k) => sum + v * pictures[i][k], 0)));
      return records[scores.indexOf(Math.max(...scores))].labels.region === record.labels.region;
    }).length;
    expect(hits / records.length).toBeGreaterThan(0.2); // chance 0.10: 4 others of the region among 39
    expect(hits / records.length).toBeLessThan(0.85);
  });
});

function unit(values: Float32Array): Float32Array {
  const norm = Math.sqrt(values.reduce((sum, v) => sum + v * v, 0));
  return values.map((v) => v / norm);
}

describe("determinism", () => {
  const patient = patientWith("effusion", "large", "fixed");

  it("gives the same bytes for the same seed and other bytes for another", () => {
    for (const modality of MODALITIES) {
      const make = (p: Patient): string => hashOf(simulate(p, modality, acquisitionOf(p, modality), PICTURE));
      expect(make(patient)).toBe(make({ ...patient }));
      expect(make(patient)).not.toBe(make({ ...patient, seed: "other" }));
    }
  });

  it("varies the acquisition and not the body with the acquisition's generator", () => {
    const [a, b] = [1, 2].map((seed) => simulate(patient, "ct", new Random(seed), PICTURE));
    expect(hashOf(a)).not.toBe(hashOf(b));
  });

  // Written by test/reference/phantom.mjs on Node 20.20 (x64); checked by hand on Node 22 and 24.
  const fixture = JSON.parse(readFileSync("test/fixtures/phantom.json", "utf8")) as {
    spec: { size: number; depth: number };
    samples: { patient: Patient; hashes: Record<Modality, string> }[];
  };
  it.each(fixture.samples)("gives the bytes of every platform ($patient.finding)", ({ patient, hashes }) => {
    for (const modality of MODALITIES) {
      const decoded = simulate(patient, modality, acquisitionOf(patient, modality), fixture.spec);
      expect([modality, hashOf(decoded)]).toEqual([modality, hashes[modality]]);
    }
  });

  const built = resolve("dist/datasets/phantom.js");
  it.skipIf(!existsSync(built))(
    "gives the same files for any number of workers (needs dist: npm run build)",
    async () => {
      const compiled = (await import(pathToFileURL(built).href)) as { openPhantom: typeof openPhantom };
      const files = async (workers: number): Promise<Record<string, string>> => {
        const cacheDir = join(folder, `workers-${workers}`);
        await compiled.openPhantom("w", { ...SMALL, patients: 5 }, { cacheDir, workers });
        const made = join(cacheDir, readdirSync(cacheDir)[0]);
        const hash = (name: string): string =>
          createHash("sha256")
            .update(readFileSync(join(made, name)))
            .digest("hex");
        return Object.fromEntries(readdirSync(made).map((name) => [name, hash(name)]));
      };
      const alone = await files(0);
      expect(Object.keys(alone)).toHaveLength(6);
      expect(await files(1)).toEqual(alone);
      expect(await files(3)).toEqual(alone);
    },
  );

  it("has elementary functions as exact as they claim", () => {
    for (let x = -40; x < 40; x += 0.37) {
      expect(sine(x)).toBeCloseTo(Math.sin(x), 8);
      expect(cosine(x)).toBeCloseTo(Math.cos(x), 8);
      expect(exponential(x) / Math.exp(x)).toBeCloseTo(1, 11);
      expect(logarithm(Math.exp(x))).toBeCloseTo(x, 9);
      expect(power(Math.abs(x), 0.7)).toBeCloseTo(Math.abs(x) ** 0.7, 7);
    }
    expect(exponential(-1e9)).toBeLessThan(1e-59);
  });
});

describe("X-ray", () => {
  const straight = {
    view: { cos: 1, sin: 0, zoom: 0.5, shift: [0, 0] as const },
    source: -1e6,
    slant: [0, 0] as const,
  };

  it("integrates along the beam: 5 cm of fluid at 6 HU are 5.03 cm of water", () => {
    const { water, bone } = lineIntegrals(slab(FLUID, 10, 20), straight, 16); // 10 voxels of 0.05 × 10 cm
    for (const cm of water) expect(cm).toBeCloseTo(5.03, 3);
    for (const cm of bone) expect(cm).toBe(0);
  });

  it("goes a longer way at a slant: 1/cos of the angle", () => {
    const { water } = lineIntegrals(slab(FLUID, 10, 20), { ...straight, slant: [0.75, 0] }, 16);
    for (const cm of water) expect(cm).toBeCloseTo(5.03 * 1.25, 3); // tan = 3/4, 1/cos = 5/4
  });

  it("lets less through the thicker and the denser body, and 0.120 of the beam through 10 cm of water", () => {
    const through = (anatomy: Anatomy): number => {
      const { water, bone } = lineIntegrals(anatomy, straight, 16);
      return transmission(water[100], bone[100], 0.5);
    };
    const [thin, thick, dense] = [slab(FLUID, 10, 20), slab(FLUID, 10, 30), slab(CORTEX, 10, 20)].map(through);
    expect(thick).toBeLessThan(thin);
    expect(dense).toBeLessThan(thin);
    expect(transmission(10, 0, 0.5)).toBeCloseTo(0.12, 3);
  });

  it("makes what absorbs more brighter in the stored picture", () => {
    const random = (): Random => acquisitionOf(patientWith("bladder-stone", "large"), "xray");
    const [ill, well] = [patientWith("bladder-stone", "large"), patientWith("bladder-stone", "none")].map((p) =>
      simulate(p.size === "none" ? { ...p, finding: NO_FINDING } : p, "xray", random(), PICTURE),
    );
    const change = ill.pixels.map((v, i) => v - well.pixels[i]);
    expect(Math.max(...change)).toBeGreaterThan(-Math.min(...change));
  });
});

describe("MRI", () => {
  it("follows the spin echo: white matter is brighter than grey in T1, darker in T2, and fluid the reverse", () => {
    const [fluid, grey, white] = [FLUID, GREY, WHITE].map((label) => TISSUES[label]);
    expect(spinEcho({ t1: 1000, t2: 100, protons: 1 }, 1e5, 100)).toBeCloseTo(Math.exp(-1), 6);
    expect(spinEcho(white, 500, 15)).toBeGreaterThan(spinEcho(grey, 500, 15));
    expect(spinEcho(grey, 500, 15)).toBeGreaterThan(spinEcho(fluid, 500, 15));
    expect(spinEcho(white, 4000, 100)).toBeLessThan(spinEcho(grey, 4000, 100));
    expect(spinEcho(grey, 4000, 100)).toBeLessThan(spinEcho(fluid, 4000, 100));
  });
});

describe("ultrasound", () => {
  it("throws a shadow behind bone", () => {
    const labels = (tissue: number): Uint8Array =>
      Uint8Array.from({ length: 64000 }, (_, i) => (Math.floor(i / 1600) === 12 ? tissue : GREY)); // one level plane
    const behind = (tissue: number): number => {
      const anatomy = slab(GREY, 0, 40, { labels: labels(tissue) });
      const { pixels } = simulateUltrasound(anatomy, new Random(5), { size: 48, depth: 1 });
      return pixels.subarray(24 * 48, 36 * 48).reduce((sum, v) => sum + v, 0);
    };
    expect(behind(CORTEX)).toBeLessThan(0.8 * behind(GREY));
  });
});

describe("endoscopy", () => {
  it("is colour video in which the camera moves", () => {
    const patient = patientWith("ileus", "small");
    const { pixels, shape } = simulate(patient, "endoscopy", new Random(2), { size: 32, depth: 8 });
    expect(shape).toEqual([3, 8, 32, 32]);
    const frame = (c: number, d: number): Float32Array => pixels.subarray((c * 8 + d) * 1024, (c * 8 + d + 1) * 1024);
    const apart = (a: Float32Array, b: Float32Array): number =>
      a.reduce((sum, v, i) => sum + Math.abs(v - b[i]), 0) / 1024;
    expect(apart(frame(0, 0), frame(0, 1))).toBeGreaterThan(2);
    expect(apart(frame(0, 0), frame(0, 7))).toBeGreaterThan(apart(frame(0, 0), frame(0, 1)));
    expect(apart(frame(0, 3), frame(2, 3))).toBeGreaterThan(10); // mucosa is red
  });
});

describe("findings", () => {
  const spec = { size: 64, depth: 6 };
  const seen: Modality[] = ["xray", "ct", "mri"];

  // Twins: the same body, acquisition and noise, with and without the finding. Fields of view vary, so that a finding may
  // lie outside one picture: two of three bodies must show it.
  it.each(REGIONS.flatMap((region) => FINDINGS[region].map((finding) => [region, finding])))(
    "%s: %s changes X-ray, CT and MRI by more than their noise",
    (_, finding) => {
      const shown = new Map(seen.map((modality) => [modality, 0]));
      for (const seed of ["a", "b", "c"]) {
        const wanting = seen.filter((modality) => (shown.get(modality) ?? 0) < 2);
        const pictures = (p: Patient): Decoded[] => wanting.map((m) => simulate(p, m, acquisitionOf(p, m), spec));
        const ill = patientWith(finding, "large", seed);
        const [a, b] = [pictures(ill), pictures({ ...ill, finding: NO_FINDING, size: "none" })];
        wanting.forEach((modality, k) => {
          // A dozen of 4096 pixels, by three deviations or more.
          if (largestChange(a[k], b[k]) > 0.003) shown.set(modality, (shown.get(modality) ?? 0) + 1);
        });
      }
      expect([...shown]).toEqual(seen.map((modality) => [modality, 2]));
    },
  );

  it("are absent from what the finding does not touch: twins share their body", () => {
    const ill = patientWith("bladder-stone", "small");
    const well: Patient = { ...ill, finding: NO_FINDING, size: "none" };
    const [a, b] = [ill, well].map((p) => simulate(p, "ct", acquisitionOf(p, "ct"), spec));
    const same = a.pixels.reduce((n, v, i) => n + (Math.abs(v - b.pixels[i]) < 60 ? 1 : 0), 0);
    expect(same / a.pixels.length).toBeGreaterThan(0.97);
  });
});

/** The largest share of a slice that differs by more than three deviations of the noise of `b`. */
function largestChange(a: Decoded, b: Decoded): number {
  const [, depth, height, width] = b.shape;
  const limit = 3 * Math.max(1, noiseOf(b));
  const shares = Array.from({ length: depth }, (_, d) => {
    let changed = 0;
    for (let i = d * height * width; i < (d + 1) * height * width; i++) {
      if (Math.abs(a.pixels[i] - b.pixels[i]) > limit) changed++;
    }
    return changed / (height * width);
  });
  return Math.max(...shares);
}

/** Immerkær 1996: a mask that cancels planes leaves 6 σ of the noise; edges make it an overestimate. Air is left out. */
function noiseOf({ pixels, shape, modality }: Decoded): number {
  const [, depth, h, w] = shape;
  const air = modality === "ct" ? -300 : 0;
  const left: number[] = [];
  for (let i = w + 1; i < depth * h * w - w - 1; i++) {
    if (pixels[i] <= air) continue;
    const near = pixels[i - 1] + pixels[i + 1] + pixels[i - w] + pixels[i + w];
    const far = pixels[i - w - 1] + pixels[i - w + 1] + pixels[i + w - 1] + pixels[i + w + 1];
    left.push(Math.abs(4 * pixels[i] - 2 * near + far));
  }
  left.sort((p, q) => p - q);
  return left[left.length >> 1] / 0.6745 / 6;
}
