/**
 * One colour for one thing in every figure. Modalities wear the Okabe–Ito colours (Okabe & Ito 2008, made for
 * colour-blind readers), regions Tol's muted ones (Tol 2021) in the order of CARTO's "Safe" set, so that a modality and a
 * region never look alike; for encoders, baselines are grey. Shape repeats what colour says for modalities.
 */
import { MODALITIES, type Modality } from "../types.js";

export interface ModalityLook {
  /** As a reader would write it. */
  readonly name: string;
  readonly colour: string;
  /** Plotly's name of the marker. */
  readonly symbol: string;
}

export const MODALITY_LOOKS: Readonly<Record<Modality, ModalityLook>> = {
  xray: { name: "X-ray", colour: "#0072B2", symbol: "circle" },
  ultrasound: { name: "Ultrasound", colour: "#E69F00", symbol: "square" },
  endoscopy: { name: "Endoscopy", colour: "#CC79A7", symbol: "diamond" },
  ct: { name: "CT", colour: "#009E73", symbol: "triangle-up" },
  mri: { name: "MRI", colour: "#D55E00", symbol: "cross" },
};

const REGION_COLOURS: readonly string[] = [
  "#332288",
  "#DDCC77",
  "#117733",
  "#CC6677",
  "#88CCEE",
  "#882255",
  "#44AA99",
  "#999933",
  "#AA4499",
  "#661100",
  "#6699CC",
  "#888888",
];

/** None so dark that a black error bar would drown in it. The first pattern that fits a name decides. */
const ENCODER_COLOURS: readonly { readonly pattern: RegExp; readonly colour: string }[] = [
  { pattern: /ceiling/i, colour: "#C9A227" },
  { pattern: /pixel/i, colour: "#CFCFCF" },
  { pattern: /^HOG/, colour: "#E8DCC0" },
  { pattern: /natural images/i, colour: "#B98B4E" },
  { pattern: /(random|untrained).*mean, whitened/i, colour: "#6A6A6A" },
  { pattern: /(random|untrained).*mean/i, colour: "#8F8F8F" },
  { pattern: /random|untrained/i, colour: "#AFAFAF" },
  { pattern: /simdino/i, colour: "#7B52AB" },
  { pattern: /mae/i, colour: "#56B4E9" },
];

const OTHER_ENCODER_COLOURS: readonly string[] = ["#A6761D", "#B8A200", "#6B8E6B", "#B2475B", "#4F7C82"];

/**
 * Name to colour for a set of regions (or findings, or any other label), by alphabetical order: the same set gives the
 * same colours in every figure. Beyond twelve names colours repeat.
 */
export function regionColours(names: readonly string[]): ReadonlyMap<string, string> {
  const sorted = [...new Set(names)].sort();
  return new Map(sorted.map((name, i) => [name, REGION_COLOURS[i % REGION_COLOURS.length]]));
}

/** Name to colour for encoders: our methods and the baselines have fixed ones, others follow by alphabetical order. */
export function encoderColours(names: readonly string[]): ReadonlyMap<string, string> {
  const known = (name: string) => ENCODER_COLOURS.find(({ pattern }) => pattern.test(name))?.colour;
  const others = [...new Set(names)].filter((name) => known(name) === undefined).sort();
  const other = (name: string) => OTHER_ENCODER_COLOURS[others.indexOf(name) % OTHER_ENCODER_COLOURS.length];
  return new Map(names.map((name) => [name, known(name) ?? other(name)]));
}

/** The modalities among these, each once, in the order that every figure uses. */
export function modalitiesInOrder(of: readonly Modality[]): readonly Modality[] {
  return MODALITIES.filter((modality) => of.includes(modality));
}
