/** Fetches tfjs's native package and compiles its binding: two C++ files that speak TensorFlow's C interface. */
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { InputError } from "../types.js";
import { run, telling } from "./commandRun.js";
import { SEEN, type Wheel } from "./pipTensorflow.js";
import { linkedPackage, NATIVE_PACKAGES } from "./tensorflow.js";

const PACKAGE = NATIVE_PACKAGES[0];
/** Node's C interface is stable: these headers serve every version of Node. */
const NODE_HEADERS = { "node-api-headers": "1.9.0" };

export async function findCompiler(): Promise<string> {
  const names = process.env.CXX ? [process.env.CXX] : ["c++", "g++", "clang++"];
  for (const name of names) if ((await run(name, ["--version"])).ok) return name;
  throw new InputError(`no C++ compiler runs (tried ${names.join(", ")}); install one, or name it in CXX`);
}

/** Runs npm: the one that runs us, or the one on the path. */
async function npm(folder: string, what: string, ...args: string[]): Promise<void> {
  const own = process.env.npm_execpath;
  const [program, before] = own && basename(own) === "npm-cli.js" ? [process.execPath, [own]] : ["npm", []];
  const quiet = ["--loglevel=error", "--fetch-retries=1", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix"];
  const ran = await run(program, [...before, ...args, ...quiet, folder], folder);
  if (!ran.found) throw new InputError("there is no program npm, which fetches the package to link");
  if (!ran.ok) {
    const reason = telling(ran.stderr, /^npm (error|ERR!) (?!code|errno|syscall|type)/);
    throw new InputError(`npm cannot fetch ${what}: ${reason.replace(/^npm (error|ERR!) /, "")}`);
  }
}

/** Fetches the package and what it needs into `folder`, all but tfjs: it must find ours. Returns the package's folder. */
export async function fetchPackage(folder: string, version: string): Promise<string> {
  const unpacked = join(folder, "package");
  writeFileSync(join(folder, "package.json"), "{}");
  const wanted = `${PACKAGE}@${version}`;
  await npm(folder, wanted, "pack", wanted, "--pack-destination", folder);
  const archive = readdirSync(folder).find((name) => name.endsWith(".tgz")) ?? "";
  const untarred = await run("tar", ["-xzf", archive], folder);
  if (!untarred.ok) throw new InputError(`tar cannot unpack ${archive}: ${telling(untarred.stderr, /./)}`);
  rmSync(join(folder, archive));
  const { dependencies } = JSON.parse(readFileSync(join(unpacked, "package.json"), "utf8"));
  const needed = { ...dependencies, ...NODE_HEADERS };
  delete needed["@tensorflow/tfjs"];
  writeFileSync(join(folder, "package.json"), JSON.stringify({ private: true, dependencies: needed }));
  await npm(folder, `what ${wanted} needs`, "install", "--no-package-lock");
  const home = linkedPackage(folder);
  mkdirSync(dirname(home), { recursive: true });
  renameSync(unpacked, home);
  return home;
}

/** Compiles the binding to where the package looks for it. */
export async function compile(compiler: string, home: string, wheel: Wheel): Promise<void> {
  const { binary } = JSON.parse(readFileSync(join(home, "package.json"), "utf8"));
  const interfaces = (binary.napi_versions as number[]).filter((v) => v <= Number(process.versions.napi));
  const level = Math.max(...interfaces);
  const target = join(home, "lib", `napi-v${level}`);
  mkdirSync(target, { recursive: true });
  const headers = join(home, "../../node-api-headers/include");
  const ran = await run(
    compiler,
    [
      ...["-O2", "-std=c++17", "-fPIC", "-shared", `-DNAPI_VERSION=${level}`, "-DBUILDING_NODE_EXTENSION"],
      ...[`-I${headers}`, `-I${join(wheel.folder, "include")}`, "binding/tfjs_backend.cc", "binding/tfjs_binding.cc"],
      ...["-o", join(target, "tfjs_binding.node"), `-L${wheel.folder}`, ...wheel.libraries.map((name) => `-l:${name}`)],
      // Bound while it loads: a function that TensorFlow lacks is then an error, and not the end of the process.
      ...["-rpath", wheel.folder, "-z", "now"].flatMap((flag) => ["-Xlinker", flag]),
    ],
    home,
  );
  if (ran.ok) return;
  const reason = telling(ran.stderr, /error:|undefined reference|cannot find/);
  throw new InputError(`${PACKAGE} does not compile on TensorFlow ${wheel.version}: ${reason}; ${SEEN}`);
}
