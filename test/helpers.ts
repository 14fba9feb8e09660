/** What several tests need: small samples and a scratch folder. */
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Random } from "../src/random.js";
import type { Kind, Modality, Sample, Shape3 } from "../src/types.js";

export function scratch(): string {
  return mkdtempSync(join(tmpdir(), "m3ret-test-"));
}

/** A grey sample with a bright bar whose place depends on `i`, and noise: something to learn in a few steps. */
export function barSample(modality: Modality, kind: Kind, [D, H, W]: Shape3, i: number): Sample {
  const random = new Random(`${modality} ${i}`);
  const plane = new Float32Array(D * H * W);
  for (let at = 0; at < plane.length; at++) {
    const x = at % W;
    plane[at] = Math.min(1, Math.max(0, (Math.abs(x - (i % W)) < 3 ? 0.9 : 0.2) + 0.1 * random.normal()));
  }
  const pixels = new Float32Array(3 * plane.length);
  for (let c = 0; c < 3; c++) pixels.set(plane, c * plane.length);
  const labels = { bar: String(i % W) };
  return { id: `${modality}-${i}`, pixels, shape: [3, D, H, W], grey: true, kind, modality, group: `p${i}`, labels };
}

/** X-rays and CT volumes of 16 pixels. */
export function barSamples(count: number): Sample[] {
  return Array.from({ length: count }, (_, i) =>
    i % 2 === 0 ? barSample("xray", "image", [1, 16, 16], i) : barSample("ct", "volume", [4, 16, 16], i),
  );
}
