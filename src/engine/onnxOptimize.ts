/** Passes over a whole ONNX graph, each a function from graph to graph that computes the same. */
import type { OnnxGraph } from "./onnx.js";

/** Leaves out what no output needs: nodes, constants, and inputs. */
export function removeDead(graph: OnnxGraph): OnnxGraph {
  const needed = new Set(Object.keys(graph.outputs));
  const nodes = [...graph.nodes].reverse();
  const live = nodes.filter(({ inputs, outputs }) => {
    if (!outputs.some((name) => needed.has(name))) return false;
    for (const name of inputs) needed.add(name);
    return true;
  });
  const kept = <T>(record: Readonly<Record<string, T>>) =>
    Object.fromEntries(Object.entries(record).filter(([name]) => needed.has(name)));
  return { ...graph, nodes: live.reverse(), constants: kept(graph.constants), inputs: kept(graph.inputs) };
}
