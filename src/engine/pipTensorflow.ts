/** Finds the TensorFlow that pip installed for a Python, without importing it. */
import { existsSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { InputError } from "../types.js";
import { run, telling } from "./commandRun.js";

/** Ends every line about a TensorFlow that does not serve. */
export const SEEN = "2.21 was seen working";

export interface Wheel {
  readonly folder: string;
  readonly version: string;
  /** File names of the two libraries. */
  readonly libraries: readonly string[];
}

/** Where Python would import TensorFlow from, without importing it. */
const WHERE = `
import importlib.util
spec = importlib.util.find_spec("tensorflow")
print(list(spec.submodule_search_locations or [""])[0] if spec else "")
`;

/** @throws InputError where there is no such Python, no TensorFlow in it, or one without libraries to link to */
export async function findTensorflow(python: string): Promise<Wheel> {
  const asked = await run(python, ["-c", WHERE]);
  if (!asked.found) {
    throw new InputError(`there is no program ${python}; name a Python with --python PATH or M3RET_PYTHON`);
  }
  if (!asked.ok) throw new InputError(`${python} does not run: ${telling(asked.stderr, /Error/)}`);
  const folder = asked.stdout.trim();
  if (!folder) {
    throw new InputError(
      `${python} has no TensorFlow; expected one from "${python} -m pip install tensorflow-cpu" (a GPU: tensorflow[and-cuda])`,
    );
  }
  const names = readdirSync(folder);
  const libraries = ["cc", "framework"].map(
    (part) => names.find((name) => new RegExp(`^libtensorflow_${part}\\.so\\.\\d+$`).test(name)) ?? "",
  );
  const header = join(folder, "include/tensorflow/c/eager/c_api.h");
  const version = versionOf(folder);
  if (libraries.includes("") || !existsSync(header)) {
    throw new InputError(
      `${folder}: TensorFlow ${version} has no libtensorflow_cc.so with headers to link to; ${SEEN}`,
    );
  }
  return { folder, version, libraries };
}

/** The version of the wheel that unpacked to `folder`, from pip's record beside it. */
function versionOf(folder: string): string {
  const record = /^(?:tensorflow|tf_nightly)(?:_(?:cpu|gpu|intel|rocm))?-(.+)\.dist-info$/;
  const found = readdirSync(dirname(folder)).flatMap((name) => record.exec(name)?.[1] ?? []);
  return found[0] ?? "of unknown version";
}
