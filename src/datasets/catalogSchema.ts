/** The form of `datasets.yaml`, and what stands where an entry says nothing. */
import { z } from "zod";
import { MODALITIES } from "../types.js";
import type { IntensityRule, SplitFractions } from "./catalogTypes.js";
import { encoderEntry, FITS } from "./encoderEntry.js";
import { MEDMNIST } from "./medmnistSets.js";
import { publicSetSchema } from "./publicSets.js";

const positive = z.int().positive();
const millimetres = z.number().positive();
const limits = z
  .tuple([z.number(), z.number()])
  .refine(([low, high]) => low < high, "expected [low, high] with low < high");
const percents = limits.refine(([low, high]) => low >= 0 && high <= 100, "expected percentiles between 0 and 100");

const ruleNames = ["windowHu", "percentiles", "range", "voi"] as const;
const intensityRule = z
  .strictObject({
    windowHu: limits.optional(),
    percentiles: percents.optional(),
    range: limits.optional(),
    voi: percents.optional(),
    source: z.string().min(1).optional(),
  })
  .refine(
    (rule) => ruleNames.filter((name) => rule[name] !== undefined).length === 1,
    `expected exactly one of ${ruleNames.join(", ")}`,
  )
  .transform((rule) => rule as IntensityRule);

const robust = (source: string) => ({ percentiles: [0.5, 99.5] as [number, number], source });

/** The rules of entries that have none of their own, each with its source. */
const INTENSITY = {
  xray: robust("nnU-Net's percentiles for CT (Isensee et al. 2021); for radiographs ours: detector units mean nothing"),
  ultrasound: robust("ours, as for X-ray; most files hold 8 bits, and then the rule uint8 applies"),
  endoscopy: robust("ours, as for X-ray; most files hold 8 bits, and then the rule uint8 applies"),
  ct: {
    windowHu: [-1000, 1000] as [number, number],
    source: "ours: from air, -1000 HU by definition, to dense bone, for every region; DINOv2-3D-Med has -1024 to 2048",
  },
  mri: robust("ours: the scale of MRI is arbitrary; 3DINO scales by percentiles too, 0.05 and 99.95"),
  uint8: {
    range: [0, 255] as [number, number],
    source: "as torchvision's ToTensor: what holds 8 bits has been windowed already, whatever made it",
  },
};

const size3 = z.tuple([positive, positive, positive]);

/** [D, H, W] for each kind. */
export const sizes = z.strictObject({
  image: size3.refine(([depth]) => depth === 1, "an image has depth 1"),
  video: size3,
  volume: size3,
});

const preprocessing = z.strictObject({
  intensity: z
    .strictObject({
      xray: intensityRule.prefault(INTENSITY.xray),
      ultrasound: intensityRule.prefault(INTENSITY.ultrasound),
      endoscopy: intensityRule.prefault(INTENSITY.endoscopy),
      ct: intensityRule.prefault(INTENSITY.ct),
      mri: intensityRule.prefault(INTENSITY.mri),
      uint8: intensityRule.prefault(INTENSITY.uint8),
    })
    .prefault({}),
  size: sizes.prefault({ image: [1, 64, 64], video: [16, 64, 64], volume: [16, 64, 64] }),
  fit: z.enum(FITS).default("pad"),
  orientation: z
    .string()
    .refine(isOrientation, "expected three letters, one of R/L, one of A/P and one of S/I, such as LPS")
    .optional(),
  straighten: z.boolean().optional(),
  spacingMm: z.tuple([millimetres, millimetres, millimetres]).optional(),
  foreground: z.strictObject({ above: z.number().min(0).max(1), margin: z.int().min(0).default(0) }).optional(),
  clip: z.strictObject({ stride: positive }).optional(),
});

const fraction = z.number().min(0).max(1);
const fractions = z.strictObject({
  train: fraction.default(0.6),
  gallery: fraction.default(0.2),
  query: fraction.default(0.2),
});
const sumToOne = (s: SplitFractions): boolean => Math.abs(s.train + s.gallery + s.query - 1) < 1e-6;
const mustSumToOne = "train + gallery + query must be 1";

const text = z.string().min(1);
const common = {
  title: text,
  source: text,
  licence: text,
  modalities: z.array(z.enum(MODALITIES)).min(1),
  group: text,
  labels: z.record(z.string(), text).refine((columns) => Object.keys(columns).length > 0, "expected a label column"),
  retrievalLabel: text,
  crossModalLabel: text.optional(),
  labelSets: z.array(text).optional(),
  traps: z
    .array(
      z.strictObject({
        says: text,
        modalities: z.array(z.enum(MODALITIES)).min(1).optional(),
        label: text.optional(),
      }),
    )
    .optional(),
  preprocessing: preprocessing.prefault({}),
};

/** One entry of the section `datasets`. */
export const entry = z
  .discriminatedUnion("kind", [
    z.strictObject({
      kind: z.literal("phantom"),
      ...common,
      split: fractions.refine(sumToOne, mustSumToOne).prefault({}),
      patients: positive,
      seed: z.int(),
      size: positive,
      depth: positive,
      ctPlane: z.enum(["axial", "coronal"]).optional(),
    }),
    z.strictObject({
      kind: z.literal("folder"),
      ...common,
      split: fractions
        .extend({ seed: z.int().default(7) })
        .refine(sumToOne, mustSumToOne)
        .prefault({}),
      path: text,
      limitPerClass: positive.optional(),
      include: z.array(text).optional(),
      exclude: z.array(text).optional(),
      derive: z.record(text, z.strictObject({ from: text, values: z.record(text, text) })).optional(),
    }),
    z.strictObject({
      kind: z.literal("medmnist"),
      ...common,
      modalities: z.tuple([z.enum(MODALITIES)]),
      split: z.literal("official").default("official"),
      path: text,
      set: z.enum(Object.keys(MEDMNIST) as [string, ...string[]]).optional(),
    }),
  ])
  .refine((e) => e.retrievalLabel in e.labels, {
    path: ["retrievalLabel"],
    message: "expected one of the keys of labels",
  })
  .refine((e) => e.crossModalLabel === undefined || e.crossModalLabel in e.labels, {
    path: ["crossModalLabel"],
    message: "expected one of the keys of labels",
  })
  .refine((e) => (e.labelSets ?? []).every((label) => label in e.labels), {
    path: ["labelSets"],
    message: "expected keys of labels",
  })
  .refine((e) => (e.traps ?? []).every(({ label }) => label === undefined || label in e.labels), {
    path: ["traps"],
    message: "expected a label to be one of the keys of labels",
  });

/** Of public sets, where an entry does not say otherwise: 224 pixels are 14 patches of 16, which the preset `paper` has. */
const PUBLIC_PREPROCESSING = {
  size: { image: [1, 224, 224], video: [16, 224, 224], volume: [32, 224, 224] },
  orientation: "LPS", // axial slices as radiologists look at them
} satisfies z.input<typeof preprocessing>;

/** What an entry says takes the place of the same key alone. */
function withPublicDefaults(said: unknown): unknown {
  return typeof said === "object" || said === undefined ? { ...PUBLIC_PREPROCESSING, ...said } : said;
}

/** All of `datasets.yaml`. */
export const schema = z.strictObject({
  // YAML anchors need a home: settings shared by several entries stand here, and are checked where they are used.
  shared: z.unknown().optional(),
  datasets: z.record(text, entry),
  public: z.record(text, publicSetSchema(z.preprocess(withPublicDefaults, preprocessing))).prefault({}),
  encoders: z.record(text, encoderEntry).prefault({}),
});

/** True for one letter of each of the three axes: `isOrientation("LPS")`. */
export function isOrientation(letters: string): boolean {
  return (
    letters.length === 3 && ["RL", "AP", "SI"].every((axis) => [...letters].some((letter) => axis.includes(letter)))
  );
}
