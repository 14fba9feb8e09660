/**
 * The 18 sets of MedMNIST v2 (Yang et al., Scientific Data 2023, doi:10.1038/s41597-022-01721-8): names of labels in the
 * order of their numbers, and what made the pictures, as published with the data.
 */
import type { Modality } from "../types.js";

export interface MedmnistSet {
  /** What made the pictures, in the paper's words. */
  readonly published: string;
  /** The same in ours, or null where it is none of the five: then an entry of the catalogue says what to take it for. */
  readonly modality: Modality | null;
  /** 2: pictures [H, W] or [H, W, 3]; 3: volumes [D, H, W]. */
  readonly dimensions: 2 | 3;
  readonly channels: 1 | 3;
  /** A picture may have several labels at once, or none. */
  readonly multiLabel?: true;
  readonly classes: readonly string[];
}

const ORGANS = [
  "bladder",
  "femur-left",
  "femur-right",
  "heart",
  "kidney-left",
  "kidney-right",
  "liver",
  "lung-left",
  "lung-right",
  "pancreas",
  "spleen",
];

const organs2d: MedmnistSet = {
  published: "abdominal CT",
  modality: "ct",
  dimensions: 2,
  channels: 1,
  classes: ORGANS,
};

export const MEDMNIST: Readonly<Record<string, MedmnistSet>> = {
  pathmnist: {
    published: "colon pathology",
    modality: null,
    dimensions: 2,
    channels: 3,
    classes: [
      "adipose",
      "background",
      "debris",
      "lymphocytes",
      "mucus",
      "smooth muscle",
      "normal colon mucosa",
      "cancer-associated stroma",
      "colorectal adenocarcinoma epithelium",
    ],
  },
  chestmnist: {
    published: "chest X-ray",
    modality: "xray",
    dimensions: 2,
    channels: 1,
    multiLabel: true,
    classes: [
      "atelectasis",
      "cardiomegaly",
      "effusion",
      "infiltration",
      "mass",
      "nodule",
      "pneumonia",
      "pneumothorax",
      "consolidation",
      "edema",
      "emphysema",
      "fibrosis",
      "pleural",
      "hernia",
    ],
  },
  dermamnist: {
    published: "dermatoscope",
    modality: null,
    dimensions: 2,
    channels: 3,
    classes: [
      "actinic keratoses and intraepithelial carcinoma",
      "basal cell carcinoma",
      "benign keratosis-like lesions",
      "dermatofibroma",
      "melanoma",
      "melanocytic nevi",
      "vascular lesions",
    ],
  },
  octmnist: {
    published: "retinal OCT",
    modality: null,
    dimensions: 2,
    channels: 1,
    classes: ["choroidal neovascularization", "diabetic macular edema", "drusen", "normal"],
  },
  pneumoniamnist: {
    published: "chest X-ray",
    modality: "xray",
    dimensions: 2,
    channels: 1,
    classes: ["normal", "pneumonia"],
  },
  retinamnist: {
    published: "fundus camera",
    modality: null,
    dimensions: 2,
    channels: 3,
    classes: ["0", "1", "2", "3", "4"], // grades of diabetic retinopathy
  },
  breastmnist: {
    published: "breast ultrasound",
    modality: "ultrasound",
    dimensions: 2,
    channels: 1,
    classes: ["malignant", "normal, benign"],
  },
  bloodmnist: {
    published: "blood cell microscope",
    modality: null,
    dimensions: 2,
    channels: 3,
    classes: [
      "basophil",
      "eosinophil",
      "erythroblast",
      "immature granulocytes(myelocytes, metamyelocytes and promyelocytes)",
      "lymphocyte",
      "monocyte",
      "neutrophil",
      "platelet",
    ],
  },
  tissuemnist: {
    published: "kidney cortex microscope",
    modality: null,
    dimensions: 2,
    channels: 1,
    classes: [
      "Collecting Duct, Connecting Tubule",
      "Distal Convoluted Tubule",
      "Glomerular endothelial cells",
      "Interstitial endothelial cells",
      "Leukocytes",
      "Podocytes",
      "Proximal Tubule Segments",
      "Thick Ascending Limb",
    ],
  },
  organamnist: organs2d,
  organcmnist: organs2d,
  organsmnist: organs2d,
  organmnist3d: {
    published: "abdominal CT",
    modality: "ct",
    dimensions: 3,
    channels: 1,
    classes: [
      "liver",
      "kidney-right",
      "kidney-left",
      "femur-right",
      "femur-left",
      "bladder",
      "heart",
      "lung-right",
      "lung-left",
      "spleen",
      "pancreas",
    ],
  },
  nodulemnist3d: {
    published: "chest CT",
    modality: "ct",
    dimensions: 3,
    channels: 1,
    classes: ["benign", "malignant"],
  },
  adrenalmnist3d: {
    published: "shape from abdominal CT",
    modality: "ct",
    dimensions: 3,
    channels: 1,
    classes: ["normal", "hyperplasia"],
  },
  fracturemnist3d: {
    published: "chest CT",
    modality: "ct",
    dimensions: 3,
    channels: 1,
    classes: ["buckle rib fracture", "nondisplaced rib fracture", "displaced rib fracture"],
  },
  vesselmnist3d: {
    published: "shape from brain MRA",
    modality: "mri",
    dimensions: 3,
    channels: 1,
    classes: ["vessel", "aneurysm"],
  },
  synapsemnist3d: {
    published: "electron microscope",
    modality: null,
    dimensions: 3,
    channels: 1,
    classes: ["inhibitory synapse", "excitatory synapse"],
  },
};

/**
 * The set that a file holds, by its name: `chestmnist_224.npz` is chestmnist. Undefined where no set's name begins it; a
 * name such as `organmnist3d_64` is taken whole before `organmnist`.
 */
export function setOfFile(file: string): string | undefined {
  const known = Object.keys(MEDMNIST).sort((a, b) => b.length - a.length);
  return known.find((set) => file.toLowerCase().startsWith(set));
}
