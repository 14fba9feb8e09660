/** TensorFlow's own kernels behind tfjs: a native package that npm installed, or one linked to a TensorFlow from pip. */
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import * as tf from "@tensorflow/tfjs";

const require = createRequire(import.meta.url);

/** Both hold the same code; whether it computes on a GPU is up to the TensorFlow that is linked. */
export const NATIVE_PACKAGES = ["@tensorflow/tfjs-node-gpu", "@tensorflow/tfjs-node"] as const;

/**
 * Where `npm run link:tensorflow` puts its package: beside our tfjs, because a package that finds another copy of tfjs
 * registers its backend there. npm leaves folders alone whose names start with a dot.
 */
export function linkFolder(): string {
  return join(dirname(require.resolve("@tensorflow/tfjs/package.json")), "../../.m3ret-tensorflow");
}

/** The linked package below a link folder. */
export const linkedPackage = (folder: string) => join(folder, "node_modules", NATIVE_PACKAGES[0]);

/** What the link folder says about itself in `link.json`. */
export interface LinkRecord {
  /** Version of the TensorFlow that it was built against, and the folder of its wheel. */
  readonly tensorflow: string;
  readonly folder: string;
  /** Version of the tfjs package. */
  readonly tfjs: string;
}

/** The link's record, or null where nothing is linked. */
export function readLink(folder: string = linkFolder()): LinkRecord | null {
  const path = join(folder, "link.json");
  return existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as LinkRecord) : null;
}

/** Node finds a module of this name, and it is what it is called: danfojs-node brings tfjs under the name tfjs-node. */
function isInstalled(name: string): boolean {
  try {
    return require(`${name}/package.json`).name === name;
  } catch {
    return false;
  }
}

/** What is there to load: the link where there is one, for two TensorFlows do not share a process; else what npm installed. */
function candidates(folder: string): { title: string; entry: string }[] {
  const link = readLink(folder);
  if (!link) return NATIVE_PACKAGES.filter(isInstalled).map((name) => ({ title: name, entry: require.resolve(name) }));
  const title = `the linked TensorFlow ${link.tensorflow} (${link.folder})`;
  return [{ title, entry: join(linkedPackage(folder), "dist/index.js") }];
}

/**
 * Registers the `tensorflow` backend: of the linked package where there is one, else of tfjs-node-gpu, else of tfjs-node.
 *
 * @throws Error with one line that says why none of them loads
 */
export async function loadTensorflow(folder: string = linkFolder()): Promise<void> {
  process.env.TF_CPP_MIN_LOG_LEVEL ??= "1"; // or TensorFlow tells standard error about the processor
  const failures: string[] = [];
  for (const { title, entry } of candidates(folder)) {
    try {
      await import(pathToFileURL(entry).href);
      if (tf.findBackendFactory("tensorflow")) return;
      failures.push(`${title} registers its backend in another copy of tfjs`);
    } catch (error) {
      failures.push(`${title} does not load (${(error as Error).message.split("\n")[0].trim()})`);
    }
  }
  if (failures.length === 0) failures.push(`neither ${NATIVE_PACKAGES.join(" nor ")} is installed`);
  throw new Error(`${failures.join("; ")}; npm run link:tensorflow builds it on a TensorFlow from pip`);
}

/** "TensorFlow 2.21.0", with ", GPU" where it computes on one; of the backend that runs. */
export function tensorflowVersion(): string {
  const { binding, isUsingGpuDevice } = tf.backend() as unknown as {
    binding: { TF_Version: string };
    isUsingGpuDevice: boolean;
  };
  return `TensorFlow ${binding.TF_Version}${isUsingGpuDevice ? ", GPU" : ""}`;
}
