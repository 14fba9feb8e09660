/**
 * Opens a manifest, and says when the first batch of each stratum was there and how much memory was resident at most: a
 * process of its own, so that nothing else counts.
 */
import { join } from "node:path";
import { performance } from "node:perf_hooks";

const [dist, file, preprocessing] = process.argv.slice(2);
const from = async (path) => import(join(dist, path));
const { openManifest } = await from("datasets/manifest.js");
const { streamFeed } = await from("trainers/stream.js");
const { collateBy } = await from("trainers/collate.js");
const { Random } = await from("random.js");

const cpu = () => Object.values(process.cpuUsage()).reduce((sum, microseconds) => sum + microseconds, 0) / 1e6;
const [began, cpuBefore] = [performance.now(), cpu()];
const passed = () => ({ wall: (performance.now() - began) / 1000, cpu: cpu() - cpuBefore });
const manifest = openManifest(file);
const rules = JSON.parse(preprocessing);
const opened = passed();
const spec = {
  method: "mae",
  encoder: { patch: [4, 16, 16], channels: 3 },
  view: { scale: [0.2, 1], size: rules.size },
  maskRatio: 0.75,
};
const shares = { xray: 40, ultrasound: 10, endoscopy: 20, ct: 30 };

/** Buckets of some batches, and what `heard` says after the first. */
async function batches(batchSize, steps, options, heard) {
  const feed = streamFeed(manifest, { batchSize, seed: 7, preprocessing: { scale: rules }, ...options });
  const source = feed.open(collateBy(spec), { root: new Random(7), from: 0, to: steps }, {});
  const counts = {};
  let first;
  for (let step = 0; step < steps; step++) {
    const { bucket } = await source.next();
    first ??= heard();
    counts[bucket] = (counts[bucket] ?? 0) + 1;
  }
  await source.close();
  return { counts, first, madeBy: source.madeBy };
}

const { first, madeBy } = await batches(64, 1, { shares: { xray: 1 } }, passed);
const { counts } = await batches(8, 12, { shares }, passed);
const megabytes = process.resourceUsage().maxRSS / 1024;
console.log(JSON.stringify({ rows: manifest.length, opened, first, after: passed(), counts, megabytes, madeBy }));
manifest.close();
