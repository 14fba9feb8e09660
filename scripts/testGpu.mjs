/**
 * The tests of the engine `dawn`: on the machine's GPU, or where it has none on a driver in software, which computes the same
 * shaders on the processor. Chromium brings one (SwiftShader), and Mesa another (lavapipe). Says in one line what it found; where
 * that is nothing it says so and ends well, because npm test covers the rest.
 *
 *   npm run test:gpu          after npm run build
 *
 * M3RET_CHROMIUM names a browser whose folder is looked at first.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join, resolve } from "node:path";
import { findChromium } from "./jupyter/server.mjs";

const root = resolve(import.meta.dirname, "..");
const scratch = mkdtempSync(join(tmpdir(), "m3ret-gpu-"));

function folderOfChromium() {
  try {
    return [dirname(realpathSync(findChromium()))];
  } catch {
    return [];
  }
}

/** Settings under which Vulkan's loader takes a driver in software: Chromium's with Chromium's own loader. */
function* softwareDrivers() {
  const folders = [...folderOfChromium(), "/usr/lib/chromium", "/usr/lib/chromium-browser", "/opt/google/chrome"];
  for (const folder of new Set(folders)) {
    const driver = join(folder, "vk_swiftshader_icd.json");
    const libraries = [process.env.LD_LIBRARY_PATH, folder].filter(Boolean).join(delimiter);
    if (existsSync(driver)) yield { VK_DRIVER_FILES: driver, LD_LIBRARY_PATH: libraries };
  }
  const system = "/usr/share/vulkan/icd.d";
  if (!existsSync(system)) return;
  for (const name of readdirSync(system)) {
    if (name.startsWith("lvp_icd")) yield { VK_DRIVER_FILES: join(system, name) };
  }
}

const OPEN = `
import { openGpu } from "./dist/engine/gpuDevice.js";
try {
  const { name, features, traits } = await openGpu();
  console.log(JSON.stringify({ name, features, software: traits.software }));
} catch (error) {
  console.log(JSON.stringify({ reason: String(error.message).split("\\n")[0] }));
}
process.exit(0);`;

/** What Dawn finds under some settings, in a process of its own: drivers can abort. */
function adapter(settings) {
  const env = { XDG_RUNTIME_DIR: scratch, ...process.env, ...settings };
  const options = { cwd: root, env, encoding: "utf8", timeout: 60_000 };
  const { stdout, signal, error } = spawnSync(process.execPath, ["--input-type=module", "-e", OPEN], options);
  try {
    return { env, ...JSON.parse(stdout.trim().split("\n").at(-1)) };
  } catch {
    return { env, reason: `opening it ended with ${signal ?? error?.message ?? "no answer"}` };
  }
}

let code = 0;
try {
  let found = adapter({});
  const { reason } = found;
  for (const settings of reason ? softwareDrivers() : []) {
    found = adapter(settings);
    if (found.name) break;
  }
  if (found.name) {
    const what = found.software ? `${found.name}, in software` : found.name;
    console.log(`m3ret on dawn: ${what}; it has ${found.features.join(", ") || "no optional features"}`);
    const vitest = join(root, "node_modules", "vitest", "vitest.mjs");
    const run = spawnSync(process.execPath, [vitest, "run", "--config", "vitest.gpu.config.ts"], {
      cwd: root,
      env: found.env,
      stdio: "inherit",
    });
    code = run.status ?? 1;
  } else console.log(`m3ret on dawn: left out, ${reason}, and no driver in software is here (Debian: chromium)`);
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
process.exit(code);
