/** Writes the value of a graph's tensor at an index as WGSL: loads from memory, and arithmetic on what was loaded. */
import { sizeOf } from "../types.js";
import { FORMULAS, literal } from "./gpuFormulas.js";
import { based, expanded, isVector, isWhole, place, wholeView, type Slot, type View } from "./gpuView.js";
import type { OnnxNode } from "./onnx.js";

/** What is known of a tensor: where it lies, that it is one number, or how it is computed from others. */
export type Value = { readonly shape: readonly number[] } & (
  | { readonly view: View }
  | { readonly number: number }
  | { readonly node: OnnxNode; readonly cost: number; readonly leaves: ReadonlySet<Slot> }
);

/** Values of the kernel that is being written, by the slots that they are stored in. */
export type Local = { readonly variable: string } | { readonly name: string };

export interface Binding {
  readonly slot: Slot;
  readonly type: string;
  readonly access: "read" | "read_write";
  /** The element of the slot that the shader sees as its first. */
  readonly base: number;
}

/** The buffers of a shader, each declared once, as `b0`, `b1`, … */
export class Buffers {
  readonly bindings: Binding[] = [];

  bind(slot: Slot, type: string, access: Binding["access"], base = 0): string {
    let at = this.bindings.findIndex(
      (other) => other.slot === slot && other.type === type && other.access === access && other.base === base,
    );
    if (at < 0) at = this.bindings.push({ slot, type, access, base }) - 1;
    return `b${at}`;
  }
}

/** Thrown where a kernel would read what it computes at another place than where it computes it. */
export class NotLocal extends Error {}

export type Width = 1 | 4;
export const typeOfWidth = (width: Width): string => (width === 4 ? "vec4f" : "f32");

export class Emitter extends Buffers {
  readonly local = new Map<Slot, Local>();
  /** Shorter names of index expressions. */
  readonly known = new Map<string, string>();
  lines: string[] = [];
  #memo = new Map<string, string>();
  #count = 0;

  constructor(readonly values: ReadonlyMap<string, Value>) {
    super();
  }

  /** Forgets variables, as at the start of a loop. */
  scope(): string[] {
    this.#memo = new Map();
    this.lines = [];
    return this.lines;
  }

  variable(expression: string): string {
    const name = `v${this.#count++}`;
    this.lines.push(`let ${name} = ${expression};`);
    return name;
  }

  /** The value of `name` at a flat index of `shape`, to which it is repeated. */
  at(name: string, shape: readonly number[], index: string, width: Width): string {
    const value = this.values.get(name)!;
    if ("number" in value) return width === 4 ? `vec4f(${literal(value.number)})` : literal(value.number);
    const same = sizeOf(value.shape) === sizeOf(shape);
    if ("view" in value) {
      const view = same ? value.view : expanded(value.view, value.shape, shape);
      if (!view) throw new Error(`${name} [${value.shape}] cannot be repeated to [${shape}]`);
      return this.load(view, index, width);
    }
    if (same) return this.#node(name, value.node, value.shape, index, width);
    // Where in the smaller tensor, as if it lay in memory in its order.
    const whole = expanded(wholeView(PRETENDED, 0, sizeOf(value.shape)), value.shape, shape)!;
    const last = whole.axes[whole.axes.length - 1];
    if (whole.axes.every(({ stride }) => stride === 0)) return this.#splat(name, value, "0u", width);
    if (width === 1 || isVector(whole)) {
      const where = this.index(place(whole.axes, 0, index, this.known));
      return this.#node(name, value.node, value.shape, where, width);
    }
    if (last.stride === 0 && last.extent % 4 === 0)
      return this.#splat(name, value, place(whole.axes, 0, index, this.known), width);
    const each = [0, 1, 2, 3].map((k) => {
      const where = this.index(place(whole.axes, 0, this.index(`${index} + ${k}u`)));
      return this.#node(name, value.node, value.shape, where, 1);
    });
    return this.variable(`vec4f(${each.join(", ")})`);
  }

  #splat(name: string, value: Value & { node: OnnxNode }, index: string, width: Width): string {
    const one = this.#node(name, value.node, value.shape, this.index(index), 1);
    return width === 4 ? `vec4f(${one})` : one;
  }

  /** An index in a variable, once. */
  index(expression: string): string {
    if (/^\w+$/.test(expression)) return expression;
    return this.#once(`index ${expression}`, () => expression);
  }

  #once(key: string, make: () => string): string {
    const before = this.#memo.get(key);
    if (before !== undefined) return before;
    const made = this.variable(make());
    this.#memo.set(key, made);
    return made;
  }

  load(view: View, index: string, width: Width): string {
    const key = `load ${this.#id(view.slot)} ${view.offset} ${JSON.stringify(view.axes)} ${view.scale} ${index} ${width}`;
    const before = this.#memo.get(key);
    if (before !== undefined) return before;
    const made = this.#load(view, index, width);
    this.#memo.set(key, made);
    return made;
  }

  readonly #ids = new Map<Slot, number>();
  #id(slot: Slot): number {
    const known = this.#ids.get(slot) ?? this.#ids.size;
    this.#ids.set(slot, known);
    return known;
  }

  #load(view: View, index: string, width: Width): string {
    const { slot, scale } = view;
    const local = this.local.get(slot);
    if (local) return this.#local(local, view, index, width);
    const scaled = (value: string) => this.variable(scale === 1 ? value : `${value} * ${literal(scale)}`);
    const cast = slot.dtype === "int32" ? "f32" : "";
    const { base, offset } = based(view);
    const element = (at: string) =>
      `${cast}(${this.bind(slot, `array<${slot.dtype === "int32" ? "i32" : "f32"}>`, "read", base)}[${at}])`;
    const where = (from: string) => place(view.axes, offset, from, from === index ? this.known : undefined);
    if (width === 1) return scaled(element(where(index)));
    const last = view.axes[view.axes.length - 1];
    if (!last || view.axes.every(({ stride }) => stride === 0) || (last.stride === 0 && last.extent % 4 === 0)) {
      return scaled(`vec4f(${element(where(index))})`);
    }
    if (isVector(view) && cast === "") {
      return scaled(`${this.bind(slot, "array<vec4f>", "read", base)}[(${where(index)}) / 4u]`);
    }
    return scaled(`vec4f(${[0, 1, 2, 3].map((k) => element(where(this.index(`${index} + ${k}u`)))).join(", ")})`);
  }

  #local(local: Local, view: View, index: string, width: Width): string {
    const scaled = (value: string) => (view.scale === 1 ? value : this.variable(`${value} * ${literal(view.scale)}`));
    if ("variable" in local) {
      if (view.offset !== 0 || place(view.axes, 0, index, this.known) !== "r") throw new NotLocal();
      return scaled(width === 4 ? `vec4f(${local.variable})` : local.variable);
    }
    const value = this.values.get(local.name)!;
    if (!("node" in value)) throw new NotLocal();
    const { shape, node } = value;
    if (isWhole({ ...view, scale: 1 })) {
      if (index !== "i" && index !== "r") throw new NotLocal();
      return scaled(this.#node(local.name, node, shape, index, width));
    }
    // One value of each row, repeated over the row.
    if (view.offset !== 0 || place(view.axes, 0, index, this.known) !== "r") throw new NotLocal();
    const one = this.#node(local.name, node, shape, "r", 1);
    return scaled(width === 4 ? `vec4f(${one})` : one);
  }

  #node(name: string, node: OnnxNode, shape: readonly number[], index: string, width: Width): string {
    return this.#once(`${name} ${index} ${width}`, () => {
      if (node.op === "Concat") return this.#concat(node, shape, index, width);
      if (node.op === "Pad") return this.#pad(node, shape, index, width);
      if (node.op === "Gather") return this.#gather(node, shape, index, width);
      const args = node.inputs.map((input) => this.at(input, shape, index, width));
      return FORMULAS[node.op].spell(args, typeOfWidth(width));
    });
  }

  #shape(name: string): readonly number[] {
    return this.values.get(name)!.shape;
  }

  #view(name: string): View {
    const value = this.values.get(name)!;
    if (!("view" in value)) throw new Error(`${name} is not in memory`);
    if (this.local.has(value.view.slot)) throw new NotLocal();
    return value.view;
  }

  /** Statements that give a new variable its value, one of several, each written by a function. */
  #choose(width: Width, otherwise: string, cases: readonly { condition: string; write: () => string }[]): string {
    const result = `v${this.#count++}`;
    this.lines.push(`var ${result} = ${typeOfWidth(width)}(${otherwise});`);
    cases.forEach(({ condition, write }, i) => {
      const [lines, memo] = [this.lines, this.#memo];
      [this.lines, this.#memo] = [[], new Map(memo)];
      const value = write();
      const inner = this.lines;
      [this.lines, this.#memo] = [lines, memo];
      this.lines.push(`${i > 0 ? "else " : ""}if (${condition}) { ${inner.join(" ")} ${result} = ${value}; }`);
    });
    return result;
  }

  /** One vector is four numbers that each have an index of their own. */
  #four(index: string, one: (index: string) => string): string {
    return `vec4f(${[0, 1, 2, 3].map((k) => one(this.index(`${index} + ${k}u`))).join(", ")})`;
  }

  #concat(node: OnnxNode, shape: readonly number[], index: string, width: Width): string {
    const axis = node.attributes.axis as number;
    const inner = sizeOf(shape.slice(axis + 1));
    const extents = node.inputs.map((input) => this.#shape(input)[axis]);
    if (width === 4 && extents.some((extent) => (extent * inner) % 4 !== 0))
      return this.#four(index, (one) => this.#concat(node, shape, one, 1));
    const outer = this.index(
      place(
        [
          { extent: sizeOf(shape.slice(0, axis)), stride: 1 },
          { extent: shape[axis] * inner, stride: 0 },
        ],
        0,
        index,
        this.known,
      ),
    );
    const within = this.index(`${index} - ${outer} * ${shape[axis] * inner}u`);
    let start = 0;
    const cases = node.inputs.map((input, j) => {
      const [from, size] = [start * inner, extents[j] * inner];
      start += extents[j];
      return {
        condition: `${within} < ${from + size}u`,
        write: () => this.load(this.#view(input), this.index(`${outer} * ${size}u + ${within} - ${from}u`), width),
      };
    });
    return this.#choose(width, "0f", cases);
  }

  #pad(node: OnnxNode, shape: readonly number[], index: string, width: Width): string {
    const [input] = node.inputs;
    const from = this.#shape(input);
    const before = node.attributes.before as number[];
    const last = shape.length - 1;
    if (width === 4 && [from[last], shape[last], before[last]].some((extent) => extent % 4 !== 0))
      return this.#four(index, (one) => this.#pad(node, shape, one, 1));
    const [conditions, terms]: [string[], string[]] = [[], []];
    let [below, belowFrom] = [1, 1];
    for (let axis = last; axis >= 0; axis--) {
      const digit = this.index(`(${index} / ${below}u) % ${shape[axis]}u`);
      const [low, high] = [before[axis], before[axis] + from[axis]];
      if (low > 0) conditions.push(`${digit} >= ${low}u`);
      if (high < shape[axis]) conditions.push(`${digit} < ${high}u`);
      terms.push(`(${digit} - ${low}u) * ${belowFrom}u`);
      below *= shape[axis];
      belowFrom *= from[axis];
    }
    const write = () => this.load(this.#view(input), this.index(terms.join(" + ")), width);
    const filling = literal((node.attributes.value as { float: number }).float);
    return this.#choose(width, filling, [{ condition: conditions.join(" && ") || "true", write }]);
  }

  #gather(node: OnnxNode, shape: readonly number[], index: string, width: Width): string {
    const axis = node.attributes.axis as number;
    const [data, indices] = node.inputs;
    const from = this.#shape(data);
    const inner = sizeOf(from.slice(axis + 1));
    if (width === 4 && inner % 4 !== 0) return this.#four(index, (one) => this.#gather(node, shape, one, 1));
    const count = sizeOf(this.#shape(indices));
    const which = this.load(this.#view(indices), this.index(`(${index} / ${inner}u) % ${count}u`), 1);
    const row = this.index(`u32(${which} + ${literal(from[axis])} * f32(${which} < 0f))`);
    const outer = axis === 0 ? "" : `(${index} / ${inner * count}u) * ${from[axis]}u + `;
    return this.load(this.#view(data), this.index(`(${outer}${row}) * ${inner}u + ${index} % ${inner}u`), width);
  }
}

const PRETENDED: Slot = { name: "", size: 0, dtype: "float32", kind: "temporary" };
