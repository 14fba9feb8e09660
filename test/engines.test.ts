import { readdirSync, readFileSync } from "node:fs";
import { arch, platform } from "node:os";
import { join } from "node:path";
import * as tf from "@tensorflow/tfjs";
import type * as Ort from "onnxruntime-node";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { NamedArrays } from "../src/engine/arrays.js";
import { availableEngines, type AvailableEngines } from "../src/engine/available.js";
import { startBackend } from "../src/engine/backend.js";
import { compiledRunner, compileFunction } from "../src/engine/compile.js";
import { ENGINES, startEngine, type Engine } from "../src/engine/engine.js";
import { forgiving } from "../src/engine/forgiving.js";
import { askChild, probeProvider } from "../src/engine/providers.js";
import { eagerRunner, type StepFunction, type StepInput } from "../src/engine/runner.js";
import {
  createSession,
  loadRuntime,
  plainReason,
  toOrt,
  type OrtSession,
  type Runtime,
} from "../src/engine/runtime.js";
import { loadSafetensors } from "../src/engine/safetensors.js";
import { EngineUnavailable } from "../src/engine/unavailable.js";
import { fitToWebgpu } from "../src/engine/webgpuGraph.js";
import type { OnnxGraph } from "../src/engine/onnx.js";
import { encoderConfig } from "../src/encoder/config.js";
import { Random } from "../src/random.js";
import { initState, stepFunction } from "../src/trainers/loop.js";
import { mae } from "../src/trainers/mae.js";
import { pretrain, readLog } from "../src/trainers/pretrain.js";
import { m3ret, m3retJson, packageRoot, workFolder } from "./cliFixture.js";
import { normal } from "./engineCases.js";
import { barSamples, scratch } from "./helpers.js";
import { advance, OBJECTIVES, worstParameter, worstTerm } from "./stepFixture.js";

const work = workFolder();
afterAll(work.remove);
beforeAll(async () => {
  await startBackend("wasm");
});

test("what we declare of ONNX Runtime is what onnxruntime-node declares", async () => {
  const real = {} as typeof Ort;
  const ours: Runtime = real; // checked by the compiler
  expect(ours).toBe(real);
  expect(typeof (await loadRuntime()).listSupportedBackends).toBe("function");
});

test("no declaration of the built package imports an optional package", () => {
  const { optionalDependencies } = JSON.parse(readFileSync(join(packageRoot, "package.json"), "utf8")) as {
    optionalDependencies: Record<string, string>;
  };
  const folder = join(packageRoot, "dist");
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".d.ts"));
  expect(files.length).toBeGreaterThan(50);
  const optional = Object.keys(optionalDependencies).flatMap((name) => [`"${name}"`, `"${name}/`]);
  const importing = files.filter((name) => {
    const text = readFileSync(join(folder, name), "utf8");
    return optional.some((quoted) => text.includes(`from ${quoted}`) || text.includes(`import(${quoted}`));
  });
  expect(importing).toEqual([]);
});

describe("m3ret engines", () => {
  test("lists every engine with what it is or why it can not run, and every eager backend", async () => {
    const { engines, backends } = await m3retJson<AvailableEngines>(["engines"]);
    expect(engines.map(({ name }) => name)).toEqual(ENGINES);
    expect(backends.map(({ name }) => name)).toEqual(["tensorflow", "wasm", "cpu"]);
    for (const { name, ok, description, reason } of [...engines, ...backends]) {
      expect([typeof description, typeof reason].sort(), name).toEqual(["object", "string"]);
      expect(reason === null, name).toBe(ok);
      expect(description ?? reason, name).not.toMatch(/\n/);
    }
    const of = (wanted: string) => engines.find(({ name }) => name === wanted)!;
    expect(of("compiled").description).toMatch(
      /^compiled \(onnxruntime 1\.\d+\.\d+, cpu, \d+ threads\), a 512×512 prod/,
    );
    expect(of("eager").ok).toBe(true);
    expect(backends.find(({ name }) => name === "wasm")!.ok).toBe(true);
  });

  test("says the same as text, one line for each", async () => {
    const { code, stdout } = await m3ret(["engines"]);
    expect(code).toBe(0);
    for (const name of [...ENGINES, "tensorflow", "wasm", "cpu"]) {
      expect(stdout).toMatch(new RegExp(`^${name} +(yes|no )  \\S`, "m"));
    }
    expect(stdout).toMatch(/^without --engine: compiled$/m);
  });

  test("leaves the best eager backend active", async () => {
    const { backends } = await availableEngines();
    expect((await startBackend()).name).toBe(backends.find(({ ok }) => ok)!.name);
    await startBackend("wasm");
  });
});

describe("an engine that was asked for by name and cannot run ends in one line that says how to go on", () => {
  const run = (engine: string, env = {}) => {
    const out = join(work.path, engine);
    const args = ["pretrain", "--method", "mae", "--preset", "smoke", "--out", out, "--engine", engine];
    return m3ret(args, { env: { M3RET_CACHE: join(packageRoot, ".cache"), ...env } });
  };
  const wayOn = "; --engine compiled runs the same graphs on the processor\n$";
  const onLinux = test.skipIf(platform() !== "linux");

  onLinux.each([
    ["coreml", "CoreML"],
    ["directml", "DirectML"],
  ])("%s, which the binding for Linux does not have", async (engine, title) => {
    const { code, stdout, stderr } = await run(engine);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    const reason = `error: engine ${engine}: onnxruntime-node [\\d.]+ for linux ${arch()} has no ${title} provider; it needs`;
    expect(stderr).toMatch(new RegExp(`^${reason} [^\\n]+${wayOn}`));
  });

  onLinux("webgpu without an adapter", async () => {
    const none = { VK_ICD_FILENAMES: "/nowhere.json", VK_DRIVER_FILES: "/nowhere.json" };
    const { code, stdout, stderr } = await run("webgpu", none);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toMatch(
      new RegExp(`^error: engine webgpu: WebGPU does not run \\(.*[aA]dapter.*\\); it needs a GPU [^\\n]+${wayOn}`),
    );
  });

  test("cuda, where its libraries are not there", async ({ skip }) => {
    const cuda = await probeProvider("cuda");
    if (cuda.ok) skip("CUDA runs here");
    await expect(startEngine("cuda")).rejects.toThrow(EngineUnavailable);
    await expect(startEngine("cuda")).rejects.toThrow(/^engine cuda: .+; it needs .+; --engine compiled runs/);
  });

  test("and the choice of engines is named where there is no such engine", async () => {
    const { code, stderr } = await run("gpu");
    expect(code).toBe(2);
    expect(stderr).toMatch(/^error: [^\n]*compiled, webgpu, cuda, coreml, directml, dawn, eager[^\n]*\n$/);
  });
});

describe("a provider is tried in a process that may end in any way", () => {
  test.each([
    ["with an abort", "process.abort()", /^the process that tried it was ended by SIGABRT/],
    ["with words and a code", "console.error('a driver broke'); process.exit(3)", /ended with 3 \(a driver broke\)$/],
    ["never", "setInterval(() => {}, 1000)", /^no answer within 0.5 s$/],
  ])("%s", async (_, script, says) => {
    await expect(askChild(script, {}, script.startsWith("setInterval") ? 500 : 30_000)).rejects.toThrow(says);
  });

  test("or answer", async () => {
    expect(await askChild("process.send(JSON.parse(process.argv[1]))", { a: 1 }, 30_000)).toEqual({ a: 1 });
  });

  test("and what ONNX Runtime says is told without the place in its source", () => {
    const said = "/src/webgpu_context.cc:136 f()::<lambda()> a.status == B was false. No adapter\n\nmore";
    expect(plainReason(new Error(said))).toBe("No adapter");
  });
});

/** `x` grows by one each step; what `bucket` does to it besides is up to `extra`. */
const growing =
  (extra: (x: tf.Tensor, bucket: string) => tf.Tensor): StepFunction =>
  ({ x }, _, __, { bucket }) => {
    const next = extra(tf.add(x, 1), bucket ? "odd" : "plain");
    return { state: { x: next }, outputs: { sum: tf.sum(next) } };
  };
const plain: StepInput = { bucket: "plain", arrays: {}, grids: {} };
const odd: StepInput = { bucket: "odd", arrays: {}, grids: { bucket: [1, 1, 1] } };
const start: NamedArrays = { x: { shape: [3], data: Float32Array.of(3, 1, 2) } };

/** ONNX Runtime of which one session fails when it runs, after writing into its outputs. */
async function failingRuntime(failing: number): Promise<() => Promise<Runtime>> {
  const real = await loadRuntime();
  let sessions = 0;
  return async () => ({
    ...real,
    Tensor: real.Tensor,
    InferenceSession: {
      async create(model: never, options: object): Promise<OrtSession> {
        const session = await real.InferenceSession.create(model, options);
        if (sessions++ !== failing) return session;
        return {
          inputNames: session.inputNames,
          outputNames: session.outputNames,
          release: () => session.release(),
          async run(feeds, fetches) {
            await session.run(feeds, fetches);
            throw new Error("/src/executor.cc:1 Run() left > 0 was false. out of memory\nand more");
          },
        };
      },
    },
  });
}

describe("a graph that cannot be compiled or run", () => {
  const sorting = growing((x, bucket) => (bucket === "odd" ? tf.topk(x, 3).values : x));

  test("is an error of an engine that was asked for by name", async () => {
    const runner = await (await startEngine("compiled")).runner(sorting, start);
    expect(await runner.step(plain, {})).toEqual({ sum: 9 });
    await expect(runner.step(odd, {})).rejects.toThrow(/does not cover the tfjs operation TopK; /);
    expect([...(await runner.state()).x.data]).toEqual([4, 2, 3]);
    expect(await runner.step(plain, {})).toEqual({ sum: 12 });
    runner.dispose();
  });

  test("makes the default engine go on eagerly from the same state, and say so", async () => {
    const told: string[] = [];
    const engine = await startEngine(undefined, (note) => told.push(note));
    const runner = await engine.runner(sorting, start);
    expect(await runner.step(plain, {})).toEqual({ sum: 9 });
    expect({ name: engine.name, notes: engine.notes, told }).toEqual({ name: "compiled", notes: [], told: [] });
    const first = engine.description;
    expect(await runner.step(odd, {})).toEqual({ sum: 12 });
    expect([...(await runner.state()).x.data]).toEqual([5, 4, 3]);
    expect(engine.name).toBe("eager");
    expect(engine.description).toMatch(/^eager \(tfjs /);
    expect(engine.description).toContain(`turned to from ${first}`);
    expect(engine.notes[0]).toMatch(/TopK.*; the eager engine \(--engine eager\) goes on without it$/);
    expect(told).toEqual(engine.notes);
    expect(await runner.step(plain, {})).toEqual({ sum: 15 });
    runner.dispose();
  });

  test("takes along what the default engine computes otherwise, so that one name says what runs", async () => {
    const engine = await startEngine();
    const [first, second] = [await engine.runner(sorting, start), await engine.runner(sorting, start)];
    await second.step(plain, {});
    await first.step(odd, {});
    expect(await second.step(plain, {})).toEqual({ sum: 12 });
    const f = await engine.prepare(({ x }) => ({ y: tf.topk(x, 2).values }), { x: start.x });
    expect([...(await f.run({ x: start.x })).y.data]).toEqual([3, 2]);
    for (const one of [first, second]) one.dispose();
  });

  test("in a function is computed eagerly too", async () => {
    const engine = await startEngine();
    const f = await engine.prepare(({ x }) => ({ y: tf.topk(x, 2).values }), { x: start.x });
    expect([...(await f.run({ x: start.x })).y.data]).toEqual([3, 2]);
    expect(engine.name).toBe("eager");
    await expect((await startEngine("compiled")).prepare(({ x }) => ({ y: tf.topk(x).values }), start)).rejects.toThrow(
      EngineUnavailable,
    );
  });

  test("because it fails half-way leaves the state as it was", async () => {
    const runner = await compiledRunner(
      growing((x) => x),
      start,
      { runtime: await failingRuntime(1) },
    );
    await runner.step(plain, {});
    const says =
      /^ONNX Runtime cannot run the graph of odd: out of memory; the eager engine \(--engine eager\) goes on/;
    await expect(runner.step(odd, {})).rejects.toThrow(says);
    expect([...(await runner.state()).x.data]).toEqual([4, 2, 3]);
    expect(await runner.step(plain, {})).toEqual({ sum: 12 });
    runner.dispose();
    expect([...(await runner.state()).x.data]).toEqual([5, 3, 4]); // what is saved after an error is read then
  });

  test("because the runtime rejects it is said in the runtime's words", async () => {
    const real = await loadRuntime();
    const refuse = () => Promise.reject(new Error("/src/graph.cc:9 Resolve() ok was false. no kernel for Foo\n at x"));
    const runtime = async () => ({ ...real, Tensor: real.Tensor, InferenceSession: { create: refuse } });
    const refused = compileFunction(({ x }) => ({ y: tf.neg(x) }), { x: start.x }, { runtime });
    await expect(refused).rejects.toThrow(/^ONNX Runtime rejects the graph: no kernel for Foo; the eager engine/);
  });
});

describe("a run whose default engine turns on the way", () => {
  const encoder = { ...encoderConfig("nano", [2, 4, 4]), width: 24, depth: 1, heads: 2 };
  const size = { image: [1, 16, 16], video: [4, 16, 16], volume: [4, 16, 16] } as const;
  const run = (folder: string, engine: Engine, resume = false, steps = 6) =>
    pretrain(mae({ encoder, view: { scale: [0.5, 1], size }, learningRate: 1e-3 }), barSamples(16), {
      folder,
      steps,
      batchSize: 4,
      random: new Random(7),
      settings: {},
      saveEvery: 1,
      engine,
      resume,
    });
  /** The default engine, with an ONNX Runtime that fails in the second bucket. */
  const turning = async (): Promise<Engine> => {
    const compiled = await startEngine("compiled");
    const runtime = await failingRuntime(1);
    const first: Engine = { ...compiled, runner: (step, initial) => compiledRunner(step, initial, { runtime }) };
    return forgiving(
      first,
      async (notes) => ({ ...(await startEngine("eager")), notes }),
      () => {},
    );
  };
  const identity = (folder: string) =>
    JSON.parse(loadSafetensors(join(folder, "state.safetensors")).metadata.identity!) as Record<string, unknown>;

  test("says so in the log, keeps the name of what ran with its state, and goes on with that", async () => {
    const folder = scratch();
    const engines: unknown[] = [];
    for await (const { step } of run(folder, await turning())) {
      engines.push(identity(folder).engine);
      if (step === 4) break;
    }
    const log = readLog(folder);
    const turn = log.findIndex(({ bucket }) => bucket !== log[0].bucket);
    expect(turn).toBeGreaterThan(0);
    expect(engines).toEqual([0, 1, 2, 3, 4].map((step) => (step < turn ? "compiled" : "eager")));
    expect(log.filter(({ warning }) => String(warning).includes("out of memory")).map(({ step }) => step)).toEqual([
      turn,
    ]);

    const wrong = run(folder, await startEngine(), true).next();
    await expect(wrong).rejects.toThrow(/cannot resume: engine was "eager", now "compiled"; --engine eager goes on$/);
    for await (const _ of run(folder, await startEngine("eager"), true)) void _;
    const whole = scratch();
    for await (const _ of run(whole, await turning())) void _;
    expect(readLog(folder).map(({ loss }) => loss)).toEqual(readLog(whole).map(({ loss }) => loss));

    const eager = scratch();
    for await (const _ of run(eager, await startEngine("eager"))) void _;
    readLog(eager).forEach(({ loss }, i) => expect(Math.abs(loss / readLog(whole)[i].loss - 1)).toBeLessThan(1e-4));
  });
});

test("a Split of many parts is a tree of Splits for WebGPU, with the same parts", async () => {
  const sizes = Array.from({ length: 60 }, (_, i) => 1 + (i % 3));
  const total = sizes.reduce((sum, size) => sum + size, 0);
  const graph: OnnxGraph = {
    inputs: { x: { shape: [2, total], dtype: "float32" } },
    outputs: Object.fromEntries(sizes.map((size, i) => [`part ${i}`, { shape: [2, size], dtype: "float32" as const }])),
    nodes: [
      {
        op: "Split",
        domain: "",
        inputs: ["x", "sizes"],
        outputs: sizes.map((_, i) => `part ${i}`),
        attributes: { axis: 1 },
      },
    ],
    constants: { sizes: { shape: [60], dtype: "int64", data: BigInt64Array.from(sizes, BigInt) } },
    types: new Map(sizes.map((size, i) => [`part ${i}`, { shape: [2, size], dtype: "float32" as const }])),
  };
  const fitted = fitToWebgpu(graph);
  expect(Math.max(...fitted.nodes.map(({ outputs }) => outputs.length))).toBe(7);
  const runtime = await loadRuntime();
  const parts = async (of: OnnxGraph) => {
    const session = await createSession(runtime, of, {});
    const x = toOrt(runtime, normal("x", 2, total));
    const found = await session.run({ x }, Object.fromEntries(Object.keys(of.outputs).map((name) => [name, null])));
    await session.release();
    return sizes.map((_, i) => found[`part ${i}`].data);
  };
  expect(await parts(fitted)).toEqual(await parts(graph));
});

describe.each(Object.entries(OBJECTIVES))("%s on WebGPU", (_, make) => {
  // Where there is no adapter, this says why; a software adapter takes minutes.
  test(
    "50 steps agree with the processor within 1e-3, in memory that does not grow",
    { timeout: 1_800_000 },
    async ({ skip }) => {
      const webgpu = await probeProvider("webgpu");
      if (!webgpu.ok) skip(webgpu.reason);
      const objective = make();
      const initial = initState(objective, new Random(7)).arrays;
      const f = stepFunction(objective);
      const cpu = await compiledRunner(f, initial);
      const gpu = await compiledRunner(f, initial, { provider: "webgpu" });
      const theirs = await advance(objective, cpu, 0, 50);
      const ours = await advance(objective, gpu, 0, 15);
      const before = process.memoryUsage.rss();
      ours.push(...(await advance(objective, gpu, 15, 50)));
      expect(process.memoryUsage.rss() / before).toBeLessThan(1.1);
      expect(worstTerm(ours, theirs)).toBeLessThan(1e-3);
      expect(worstParameter(await gpu.state(), await cpu.state())).toBeLessThan(1e-3);

      // Going on from what was read back is going on; reading leaves the state where it is.
      const again = await compiledRunner(f, await gpu.state(), { provider: "webgpu" });
      expect(worstTerm(await advance(objective, again, 50, 52), await advance(objective, gpu, 50, 52))).toBeLessThan(
        1e-6,
      );
      for (const runner of [cpu, gpu, again]) runner.dispose();
    },
  );
});

test("a step that fails on WebGPU leaves the state as it was", async ({ skip }) => {
  const webgpu = await probeProvider("webgpu");
  if (!webgpu.ok) skip(webgpu.reason);
  const runtime = await failingRuntime(1);
  const failing = await compiledRunner(
    growing((x) => x),
    start,
    { provider: "webgpu", runtime },
  );
  const eager = eagerRunner(
    growing((x) => x),
    start,
  );
  for (const runner of [failing, eager]) await runner.step(plain, {});
  const kept = (await eager.state()).x.data;
  await expect(failing.step(odd, {})).rejects.toThrow(EngineUnavailable);
  failing.dispose();
  expect([...(await failing.state()).x.data]).toEqual([...kept]);
  eager.dispose();
});
