/**
 * A training state on a GPU lies in few long arrays. There a kernel that updates a small array costs as much as one that
 * updates a million numbers, and so does the sum of squares of every gradient for their joint length: both are computed of
 * whole packs. (On a processor an array longer than its cache is better alone: `planPacks`.)
 */
import { sizeOf } from "../types.js";
import type { OnnxGraph, OnnxNode, OnnxType } from "./onnx.js";
import { producersOf, removeDead } from "./onnxOptimize.js";
import { ELEMENTWISE, NEXT, packState, planPacks, type Pack } from "./pack.js";

/** Elements of a pack: 128 MiB, which every WebGPU device lets a shader see at once. */
const PACK_SIZE = 2 ** 25;

/** Packs whose arrays of one size lie side by side, large ones first, so that what computes them alike does so at once. */
export function planGpuPacks(graph: OnnxGraph, names: readonly string[]): Pack[] {
  const size = (name: string): number => sizeOf(graph.outputs[NEXT + name].shape);
  return planPacks(
    graph,
    [...names].sort((a, b) => size(b) - size(a)),
    PACK_SIZE,
  );
}

/** The same graph over packs, with `joinSquares`. */
export const packForGpu = (graph: OnnxGraph, packs: readonly Pack[]): OnnxGraph => joinSquares(packState(graph, packs));

const renames = (node: OnnxNode | undefined): boolean => node?.op === "Reshape" || node?.op === "Identity";

/**
 * `Σᵢ Σ gᵢ²` as `Σ G²`, where the graph has `G` with all `gᵢ` side by side: itself a concatenation of them, or computed
 * element by element of concatenations as each `gᵢ` is of their parts.
 */
export function joinSquares(graph: OnnxGraph): OnnxGraph {
  const types = new Map<string, OnnxType>(graph.types);
  const producer = producersOf(graph.nodes);
  const root = (name: string): string => {
    const node = producer.get(name);
    return renames(node) ? root(node!.inputs[0]) : name;
  };
  const sizeIn = (name: string): number => sizeOf(types.get(name)?.shape ?? graph.constants[name].shape);
  const spelled = ({ op, inputs }: OnnxNode, by: (name: string) => string): string => `${op}(${inputs.map(by).join()})`;
  const known = new Map(graph.nodes.map((node) => [spelled(node, root), node.outputs[0]]));

  /** What lies side by side in a flat value, or null where that is not known. */
  const membersOf = (name: string): string[] | null => {
    const node = producer.get(root(name));
    if (!node) return null;
    if (node.op === "Concat") return sizeOf(types.get(root(name))!.shape) > 1 ? node.inputs.map(root) : null;
    if (!ELEMENTWISE.has(node.op)) return null;
    const long = node.inputs.filter((input) => sizeIn(input) > 1);
    if (long.some((input) => sizeIn(input) !== sizeIn(name))) return null;
    const parts = long.map(membersOf);
    const [first] = parts;
    if (!first || parts.some((part) => part?.length !== first.length)) return null;
    const members = first.map((_, i) =>
      known.get(
        spelled(node, (input) => {
          const at = long.indexOf(input);
          return at < 0 ? root(input) : parts[at]![i];
        }),
      ),
    );
    return members.includes(undefined) ? null : (members as string[]);
  };

  const flats = graph.nodes
    .filter(({ outputs: [name] }) => types.get(name)?.shape.length === 1)
    .flatMap(({ outputs: [name] }) => {
      const members = membersOf(name);
      return members && members.length > 1 ? [{ name, members }] : [];
    });
  const added: OnnxNode[] = [];
  const replaced = new Map<OnnxNode, OnnxNode>();
  for (const node of graph.nodes) {
    if (node.op !== "Concat") continue;
    const terms = new Map(
      node.inputs.flatMap((input) => {
        const sum = producer.get(root(input));
        return sum?.op === "ReduceSumSquare" && sizeIn(sum.outputs[0]) === 1 ? [[root(sum.inputs[0]), input]] : [];
      }),
    );
    if (terms.size < 2) continue;
    const left = new Set(node.inputs);
    const joined: string[] = [];
    for (const { name, members } of flats) {
      if (!members.every((member) => left.has(terms.get(member) ?? ""))) continue;
      for (const member of members) left.delete(terms.get(member)!);
      const square = `squares of ${name}`;
      types.set(square, { shape: [1], dtype: "float32" });
      added.push({ op: "ReduceSumSquare", domain: "", inputs: [name], outputs: [square], attributes: {} });
      joined.push(square);
    }
    if (joined.length === 0) continue;
    const inputs = [...joined, ...node.inputs.filter((input) => left.has(input))];
    const output = `${node.outputs[0]} joined`;
    types.set(output, { shape: [inputs.length], dtype: "float32" });
    added.push({ ...node, inputs, outputs: [output] });
    for (const sum of graph.nodes) {
      // Only what does not see how many terms there are.
      if (sum.inputs[0] !== node.outputs[0] || sum.op !== "ReduceSum" || sizeIn(sum.outputs[0]) !== 1) continue;
      replaced.set(sum, { ...sum, inputs: [output, ...sum.inputs.slice(1)] });
    }
  }
  return ordered({ ...graph, types, nodes: [...graph.nodes.map((node) => replaced.get(node) ?? node), ...added] });
}

/** The nodes that the outputs need, each after what it reads, and otherwise as they were. */
function ordered(graph: OnnxGraph): OnnxGraph {
  const producer = producersOf(graph.nodes);
  const done = new Set<OnnxNode>();
  const nodes: OnnxNode[] = [];
  const visit = (node: OnnxNode): void => {
    if (done.has(node)) return;
    done.add(node);
    for (const input of node.inputs) {
      const before = producer.get(input);
      if (before) visit(before);
    }
    nodes.push(node);
  };
  graph.nodes.forEach(visit);
  return removeDead({ ...graph, nodes });
}
