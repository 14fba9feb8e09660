/** Element-wise operations in WGSL: the same text for one number and for a vector of four. */

/** `V` stands for the type of a value, `f32` or `vec4f`. */
interface Formula {
  /** In additions, or so. */
  readonly cost: number;
  spell(args: readonly string[], V: string): string;
}

const infix = (operator: string): Formula => ({ cost: 1, spell: ([a, b]) => `(${a} ${operator} ${b})` });
const call = (name: string, cost = 1): Formula => ({ cost, spell: (args) => `${name}(${args.join(", ")})` });
/** Truth is 1, and anything else is 0. */
const compare = (operator: string): Formula => ({
  cost: 1,
  spell: ([a, b], V) => `select(${V}(0f), ${V}(1f), ${a} ${operator} ${b})`,
});

export const FORMULAS: Readonly<Record<string, Formula>> = {
  Add: infix("+"),
  Sub: infix("-"),
  Mul: infix("*"),
  Div: infix("/"),
  Max: call("max"),
  Min: call("min"),
  // WGSL leaves negative bases open; ours are not.
  Pow: call("pow", 8),
  Abs: call("abs"),
  Cos: call("cos", 4),
  Sin: call("sin", 4),
  Exp: call("exp", 4),
  Log: call("log", 4),
  Sqrt: call("sqrt", 2),
  Sign: call("sign"),
  Tanh: { cost: 8, spell: ([x], V) => `tanh(clamp(${x}, ${V}(-20f), ${V}(20f)))` },
  Erf: { cost: 20, spell: ([x], V) => `erf_${V}(${x})` },
  Neg: { cost: 1, spell: ([x]) => `(-${x})` },
  Reciprocal: { cost: 1, spell: ([x]) => `(1f / ${x})` },
  Relu: { cost: 1, spell: ([x], V) => `max(${x}, ${V}(0f))` },
  Sigmoid: { cost: 6, spell: ([x]) => `(1f / (1f + exp(-${x})))` },
  Softplus: { cost: 10, spell: ([x], V) => `(max(${x}, ${V}(0f)) + log(1f + exp(-abs(${x}))))` },
  Clip: { cost: 2, spell: ([x, low, high]) => `clamp(${x}, ${low}, ${high})` },
  Truncate: call("trunc"),
  Truth: { cost: 1, spell: ([x], V) => `select(${V}(0f), ${V}(1f), ${x} != ${V}(0f))` },
  Identity: { cost: 0, spell: ([x]) => x },
  Equal: compare("=="),
  Greater: compare(">"),
  GreaterOrEqual: compare(">="),
  Less: compare("<"),
  LessOrEqual: compare("<="),
  Not: { cost: 1, spell: ([x]) => `(1f - ${x})` },
  And: infix("*"),
  Or: call("max"),
  Where: { cost: 1, spell: ([condition, yes, no], V) => `select(${no}, ${yes}, ${condition} != ${V}(0f))` },
};

/**
 * erf to 2e-7: the Maclaurin series below 1/2, and above it 1 − erfc with the rational Chebyshev fit of Numerical
 * Recipes (Press et al., section 6.2, fractional error below 1.2e-7).
 */
const erf = (V: string): string => `
fn erf_${V}(x: ${V}) -> ${V} {
  let a = abs(x);
  let q = x * x;
  let near = 1.1283791671f * x * (1f + q * (-0.3333333333f + q * (0.1f + q * (-0.0238095238f
    + q * (0.0046296296f + q * (-0.0007575758f + q * 0.0001068376f))))));
  let t = 1f / (1f + 0.5f * a);
  let p = -1.26551223f + t * (1.00002368f + t * (0.37409196f + t * (0.09678418f + t * (-0.18628806f
    + t * (0.27886807f + t * (-1.13520398f + t * (1.48851587f + t * (-0.82215223f + t * 0.17087277f))))))));
  let far = sign(x) * (1f - t * exp(p - q));
  return select(far, near, a < ${V}(0.5f));
}`;

/** What a shader's text needs besides itself. */
export const helpers = (code: string): string =>
  ["f32", "vec4f"].map((V) => (code.includes(`erf_${V}(`) ? erf(V) : "")).join("");

/** A number in WGSL. */
export function literal(value: number): string {
  const rounded = Math.fround(value);
  if (!Number.isFinite(rounded)) throw new Error(`a graph with the constant ${value} is not covered`);
  const text = String(rounded);
  return `${/[.e]/.test(text) ? text : `${text}.0`}f`;
}
