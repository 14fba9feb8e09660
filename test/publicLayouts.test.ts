/** Small folders with the names, tables and lists that publishers give, opened by the rules of the catalogue. */
import { cpSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, describe, expect, test, vi } from "vitest";
import { entryOf, labelSetsOf, loadCatalog } from "../src/datasets/catalog.js";
import type { DataRecord } from "../src/datasets/dataset.js";
import { openDataset } from "../src/datasets/open.js";
import { missingFrom } from "../src/datasets/publicSets.js";
import { prepareAll } from "../src/transforms/prepare.js";
import { fixture } from "./readersFixture.js";
import { film, nifti, picture, put } from "./standIns.js";

const data = mkdtempSync(join(tmpdir(), "m3ret-layouts-"));
const catalog = loadCatalog(new URL("../datasets.yaml", import.meta.url).pathname);
vi.stubEnv("M3RET_PUBLIC", data);
afterAll(() => {
  vi.unstubAllEnvs();
  rmSync(data, { recursive: true });
});

const dicom = readFileSync(fixture("mono1.dcm"));
const volume = (seed: string) => gzipSync(nifti(seed));

/** A NIfTI file of several volumes, or of one slice: the third and fourth size in the header, and as many voxels. */
function shaped(depth: number, times = 1): Uint8Array {
  const one = nifti("shaped", [1, 1, 2.5], [24, 24, depth]);
  const bytes = Buffer.concat([one, ...Array.from({ length: times - 1 }, () => one.subarray(352))]);
  bytes.writeInt16LE(depth === 1 ? 2 : times > 1 ? 4 : 3, 40);
  bytes.writeInt16LE(times, 48);
  return gzipSync(bytes);
}

/** The folder is as the catalogue expects, every file becomes a record that can be read, and its records come back. */
async function opened(name: string): Promise<readonly DataRecord[]> {
  expect(missingFrom(join(data, name), catalog.public[name].layout), `layout of ${name}`).toEqual([]);
  const dataset = await openDataset(name, { catalog, cacheDir: data });
  expect(dataset.skipped, name).toEqual([]);
  const size = { image: [1, 16, 16], video: [4, 16, 16], volume: [4, 16, 16] } as const;
  const { samples, skipped } = await prepareAll(dataset, { ...dataset.entry.preprocessing, size });
  expect(skipped, name).toEqual([]);
  expect(samples.map(({ kind }) => kind), name).toEqual(dataset.records.map(({ kind }) => kind)); // prettier-ignore
  return dataset.records;
}

const facts = (records: readonly DataRecord[], ...columns: string[]) =>
  records.map(({ split, group, labels }) => [split, group.split("/").slice(1).join("/"), ...columns.map((c) => labels[c])]); // prettier-ignore
const side = (split: string) => (split === "train" ? "train" : "judged");

describe("chest X-rays with the label columns of their publishers", () => {
  test("CheXpert: a finding is what is positive; what is uncertain stands apart, what is negative or blank nowhere", async () => {
    const root = join(data, "chexpert");
    const head = "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,Lung Lesion,Edema,Consolidation,Pneumonia,Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,Support Devices"; // prettier-ignore
    const at = "CheXpert-v1.0-small";
    const one = `${at}/train/patient00001/study1/view1_frontal.jpg`;
    const two = `${at}/train/patient00001/study2/view1_frontal.jpg`; // the same file name as in study1
    const three = `${at}/valid/patient64541/study1/view2_lateral.jpg`;
    for (const path of [one, two, three]) await picture(root, path, 1, 0);
    put(root, `${at}/train.csv`, [head, `${one},Female,68,Frontal,AP,1.0,,,,,,,,,0.0,,,,1.0`, `${two},Female,87,Frontal,AP,,,-1.0,1.0,,-1.0,-1.0,,-1.0,,1.0,,,`].join("\n")); // prettier-ignore
    put(root, `${at}/valid.csv`, `${head}\n${three},Male,73,Lateral,,0.0,1.0,1.0,1.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0\n`); // prettier-ignore
    const records = await opened("chexpert");
    expect(facts(records, "finding", "uncertain", "view").map(([split, ...rest]) => [side(split), ...rest])).toEqual([
      ["train", "patient00001", "No Finding|Support Devices", "", "frontal"],
      [
        "train",
        "patient00001",
        "Lung Opacity|Pleural Effusion",
        "Cardiomegaly|Edema|Consolidation|Atelectasis",
        "frontal",
      ],
      ["judged", "patient64541", "Enlarged Cardiomediastinum|Cardiomegaly|Lung Opacity", "", "lateral"],
    ]);
    const entry = entryOf(catalog, "chexpert");
    expect([labelSetsOf(entry), entry.retrievalLabel]).toEqual([["finding", "uncertain"], "finding"]);
  });

  test("MIMIC-CXR-JPG: two packed tables, one of pictures and one of studies, give split and findings", async () => {
    const root = join(data, "mimic-cxr-jpg");
    const names = ["02aa804e-bde0afdd", "174413ec-4ec4c1f7", "f41b2c5e-0c7d8a11"];
    const studies = ["p10/p10000032/s50414267", "p10/p10000032/s53189527", "p19/p19999987/s58621812"];
    for (const [i, name] of names.entries()) await picture(root, `files/${studies[i]}/${name}.jpg`, 1, 0);
    const split = ["train", "train", "test"].map((said, i) => `${names[i]},${studies[i].slice(-8)},1000,${said}`);
    put(root, "mimic-cxr-2.0.0-split.csv.gz", gzipSync(["dicom_id,study_id,subject_id,split", ...split].join("\n")));
    const chexpert = ["subject_id,study_id,Atelectasis,Cardiomegaly,Consolidation,Edema,Enlarged Cardiomediastinum,Fracture,Lung Lesion,Lung Opacity,No Finding,Pleural Effusion,Pleural Other,Pneumonia,Pneumothorax,Support Devices"]; // prettier-ignore
    chexpert.push("10000032,50414267,,,,,,,,,1.0,,,,,", "10000032,53189527,-1.0,1.0,,,,,,,,0.0,,,,1.0", "19999987,58621812,1.0,,,,,,,,,,,,,"); // prettier-ignore
    put(root, "mimic-cxr-2.0.0-chexpert.csv.gz", gzipSync(chexpert.join("\n")));
    expect(facts(await opened("mimic-cxr-jpg"), "finding", "uncertain", "study")).toEqual([
      ["train", "p10000032", "No Finding", "", "s50414267"],
      ["train", "p10000032", "Cardiomegaly|Support Devices", "Atelectasis", "s53189527"],
      ["query", "p19999987", "Atelectasis", "", "s58621812"],
    ]);
  });

  test("PadChest: the list in the table becomes a label set, without what says nothing of the chest", async () => {
    const root = join(data, "padchest");
    const rows = ["ImageID,ImageDir,StudyID,PatientID,Projection,Labels"];
    const said = [`"['pulmonary fibrosis', 'chronic changes', ' kyphosis']"`, "['normal']", `"['unchanged', ""nodule"", 'nodule']"`, "['exclude']", ""]; // prettier-ignore
    for (const [i, labels] of said.entries()) {
      const name = `21684011136696401228339315483515203314013820862${i}_00-059-037.png`;
      rows.push(`${name},0,s${i},p${i},PA,${labels}`);
      await picture(root, `${i % 2}/${name}`, 1, 0);
    }
    put(root, "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv.gz", gzipSync(rows.join("\n")));
    const records = await opened("padchest");
    const findings = Object.fromEntries(records.map(({ group, labels }) => [group, labels.finding]));
    expect(findings).toEqual({
      "padchest/p0": "pulmonary fibrosis|chronic changes|kyphosis",
      "padchest/p1": "normal",
      "padchest/p2": "nodule",
      "padchest/p3": "",
      "padchest/p4": "",
    });
    expect(labelSetsOf(entryOf(catalog, "padchest"))).toEqual(["finding"]);
  });

  test("VinDr-CXR: two of three radiologists make a finding in train, one row of agreement does in test", async () => {
    const root = join(data, "vindr-cxr");
    const flags = catalog.public["vindr-cxr"].records!.labels.finding.flags!;
    const line = (...set: string[]) => (name: string) => flags.filter((flag) => flag !== name).map((flag) => (set.includes(flag) ? "1" : "0")); // prettier-ignore
    const train = flags.filter((flag) => flag !== "Other disease");
    const inTrain = (rad: string, ...set: string[]) => ["50a418", rad, ...line(...set)("Other disease")].join(",");
    put(root, "annotations/image_labels_train.csv", [["image_id", "rad_id", ...train].join(","), inTrain("R11", "Cardiomegaly", "Aortic enlargement", "Other diseases"), inTrain("R15", "Cardiomegaly", "Other diseases"), inTrain("R10", "No finding")].join("\n")); // prettier-ignore
    const head = ["image_id", ...flags.filter((flag) => flag !== "Other diseases")].join(",");
    put(root, "annotations/image_labels_test.csv", `${head}\n${["fec2b1", ...line("Nodule/Mass", "Other disease")("Other diseases")].join(",")}\n`); // prettier-ignore
    for (const path of ["train/50a418.dicom", "test/fec2b1.dicom"]) put(root, path, dicom);
    const records = await opened("vindr-cxr");
    expect(records.map(({ split, labels }) => [side(split), labels.finding])).toEqual([
      ["judged", "Nodule/Mass|Other disease"],
      ["train", "Cardiomegaly|Other disease"],
    ]);
    expect(flags.length - 1).toBe(28);
  });

  test("a picture that one of the tables lacks is left out; a table that lacks a column is refused", async () => {
    const root = mkdtempSync(join(tmpdir(), "m3ret-mimic-"));
    const open = () => openDataset("mimic-cxr-jpg", { catalog, cacheDir: data });
    vi.stubEnv("M3RET_PUBLIC", root);
    try {
      const set = join(root, "mimic-cxr-jpg");
      for (const name of ["a", "b"]) await picture(set, `files/p10/p10000032/s5041426${name === "a" ? 7 : 8}/${name}.jpg`, 1, 0); // prettier-ignore
      const flags = catalog.public["mimic-cxr-jpg"].records!.labels.finding.flags!;
      put(set, "mimic-cxr-2.0.0-split.csv", "dicom_id,split\na,train\nb,train\n");
      put(set, "mimic-cxr-2.0.0-chexpert.csv", `study_id,${flags.join(",")}\n50414267${",1.0".repeat(14)}\n`);
      const { records, skipped } = await open();
      expect(records.map(({ id }) => id)).toEqual(["files/p10/p10000032/s50414267/a.jpg"]);
      expect(skipped).toEqual([{ path: "files/p10/p10000032/s50414268/b.jpg", reason: "not in the table mimic-cxr-2.0.0-chexpert.csv" }]); // prettier-ignore
      put(set, "mimic-cxr-2.0.0-chexpert.csv", `study_id,Edema\n50414267,1.0\n`);
      await expect(open()).rejects.toThrow(/^[^\n]*mimic-cxr-2.0.0-chexpert.csv: expected a column "[\w ]+", got dicom_id, split, study_id, Edema$/); // prettier-ignore
    } finally {
      vi.stubEnv("M3RET_PUBLIC", data);
      rmSync(root, { recursive: true });
    }
  });
});

describe("folders with the names of their publishers open", () => {
  test("pictures: RSNA pneumonia, MURA, HC18, GastroVision, Kvasir, Kvasir-SEG, Kvasir-Capsule, DeepLesion", async () => {
    const rsna = join(data, "rsna-pneumonia", "rsna-pneumonia-detection-challenge");
    put(rsna, "stage_2_train_images/0004cfab.dcm", dicom);
    put(rsna, "stage_2_detailed_class_info.csv", "patientId,class\n0004cfab,No Lung Opacity / Not Normal\n0004cfab,No Lung Opacity / Not Normal\n"); // prettier-ignore
    expect((await opened("rsna-pneumonia"))[0].labels.finding).toBe("No Lung Opacity / Not Normal");

    await picture(data, "mura/MURA-v1.1/train/XR_ELBOW/patient00011/study1_negative/image1.png", 1, 0);
    await picture(data, "mura/MURA-v1.1/valid/XR_HUMERUS/patient11186/study1_positive/image1.png", 1, 0);
    put(data, "mura/MURA-v1.1/train_image_paths.csv", "MURA-v1.1/train/XR_ELBOW/patient00011/study1_negative/image1.png\n"); // prettier-ignore
    expect((await opened("mura")).map(({ labels }) => labels.finding)).toEqual(["normal", "abnormal"]);

    await picture(data, "kvasir-v2/kvasir-dataset-v2/polyps/0a.jpg", 3, 0);
    await picture(data, "kvasir-v2/kvasir-dataset-v2/normal-cecum/0b.jpg", 3, 0);
    expect((await opened("kvasir-v2")).map(({ labels }) => labels.class)).toEqual(["normal-cecum", "polyps"]);

    for (const folder of ["images", "masks"]) await picture(data, `kvasir-seg/Kvasir-SEG/${folder}/cju0.jpg`, 3, 0);
    expect(await opened("kvasir-seg")).toHaveLength(1);

    await picture(data, "gastrovision/Gastrovision/Colon polyps/0c.jpg", 3, 0);
    expect((await opened("gastrovision"))[0].labels.class).toBe("Colon polyps");
    await picture(data, "kvasir-capsule/labelled_images/Angiectasia/04a78ef00c5245e0_893.jpg", 3, 0);
    expect((await opened("kvasir-capsule"))[0].group).toBe("kvasir-capsule/04a78ef00c5245e0");

    for (const name of ["training_set/000_HC", "training_set/000_HC_Annotation", "training_set/010_HC", "training_set/010_2HC", "test_set/000_HC"]) await picture(data, `hc18/${name}.png`, 1, 0); // prettier-ignore
    const hc18 = await opened("hc18");
    expect(hc18.map(({ id }) => id)).toEqual(["test_set/000_HC.png", "training_set/000_HC.png", "training_set/010_2HC.png", "training_set/010_HC.png"]); // prettier-ignore
    expect(new Set(hc18.map(({ group }) => group)).size).toBe(3); // number 000 of either set is another fetus
    expect(hc18.map(({ split }) => side(split))).toEqual(["judged", "train", "train", "train"]);

    for (const name of ["ct/Images_png/000001_01_01/103.png", "ct/Images_png/000002_01_01/109.png"]) await picture(data, `deeplesion/${name}`, 1, 0); // prettier-ignore
    put(data, "deeplesion/DL_info.csv", "File_name,Patient_index,Train_Val_Test\n000001_01_01_109.png,1,3\n000002_01_01_109.png,2,1\n"); // prettier-ignore
    expect(facts(await opened("deeplesion"))).toEqual([["query", "000001"], ["train", "000002"]]); // prettier-ignore
    expect(entryOf(catalog, "deeplesion").preprocessing.size.image).toEqual([1, 224, 224]); // its own intensity takes nothing else away
  });

  test("ultrasound: CAMUS frames are pictures split by lists of patients; EchoNet-Dynamic films by their table", async () => {
    const root = join(data, "camus", "CAMUS_public");
    for (const [i, patient] of ["patient0001", "patient0002", "patient0003"].entries()) {
      for (const name of ["2CH_ED", "4CH_ES", "2CH_ED_gt", "2CH_half_sequence"]) {
        put(root, `database_nifti/${patient}/${patient}_${name}.nii.gz`, shaped(name.includes("half") ? 8 : 1));
      }
      put(root, `database_split/subgroup_${["training", "validation", "testing"][i]}.txt`, `${patient}\n`);
    }
    expect(facts(await opened("camus"), "view", "phase")).toEqual([
      ["train", "patient0001", "2CH", "ED"],
      ["train", "patient0001", "4CH", "ES"],
      ["gallery", "patient0002", "2CH", "ED"],
      ["gallery", "patient0002", "4CH", "ES"],
      ["query", "patient0003", "2CH", "ED"],
      ["query", "patient0003", "4CH", "ES"],
    ]);

    film(data, "echonet-dynamic/EchoNet-Dynamic/Videos/0X100009310A3BD7FC.avi");
    put(data, "echonet-dynamic/EchoNet-Dynamic/FileList.csv", "FileName,EF,ESV,EDV,FrameHeight,FrameWidth,FPS,NumberOfFrames,Split\n0X100009310A3BD7FC,78.5,14.9,69.2,112,112,50,174,VAL\n"); // prettier-ignore
    expect((await opened("echonet-dynamic")).map(({ kind, split }) => [kind, split])).toEqual([["video", "gallery"]]);
  });

  test("endoscopy: HyperKvasir with its films, Cholec80 in its two halves, CholecT45", async () => {
    const root = join(data, "hyperkvasir");
    await picture(root, "labeled-images/upper-gi-tract/pathological-findings/esophagitis-a/0a.jpg", 3, 0);
    await picture(root, "unlabeled-images/images/0b.jpg", 3, 0);
    film(root, "labeled-videos/lower-gi-tract/anatomical-landmarks/cecum/0c.avi");
    expect((await opened("hyperkvasir")).map(({ kind, labels }) => [kind, labels.class, labels.tract])).toEqual([
      ["image", "esophagitis-a", "upper"],
      ["video", "cecum", "lower"],
      ["image", "images", ""],
    ]);

    for (const number of ["01", "40", "41", "80"]) {
      film(data, `cholec80/cholec80/videos/video${number}.mp4`);
      put(data, `cholec80/cholec80/phase_annotations/video${number}-phase.txt`, "Frame\tPhase\n0\tPreparation\n");
    }
    expect((await opened("cholec80")).map(({ split }) => side(split))).toEqual(["train", "train", "judged", "judged"]);

    await picture(data, "cholect45/CholecT45/data/VID01/000000.png", 3, 0);
    expect((await opened("cholect45"))[0].group).toBe("cholect45/VID01");
  });

  test("volumes: KiTS23, MSD in three and four dimensions, TotalSegmentator, AMOS22, CT-RATE, VerSe, CQ500", async () => {
    for (const name of ["imaging", "segmentation"]) put(data, `kits23/dataset/case_00000/${name}.nii.gz`, volume(name));
    expect(await opened("kits23")).toHaveLength(1);

    for (const [set, task, name] of [
      ["msd-liver", "Task03_Liver", "liver"],
      ["msd-brain", "Task01_BrainTumour", "BRATS"],
    ]) {
      const file = set === "msd-brain" ? shaped(12, 4) : volume(name);
      for (const part of ["imagesTr", "imagesTs", "labelsTr"]) {
        put(data, `${set}/${task}/${part}/${name}_${part === "imagesTs" ? 2 : 1}.nii.gz`, file);
        put(data, `${set}/${task}/${part}/._${name}_1.nii.gz`, "resource fork"); // as the published archives have them
      }
      put(data, `${set}/${task}/dataset.json`, "{}");
      const records = await opened(set);
      expect(records.map(({ labels }) => labels.part).sort()).toEqual(["test", "training"]);
    }

    put(data, "totalsegmentator/Totalsegmentator_dataset_v201/meta.csv", "image_id;age;gender;institute;study_type;split\ns0000;58;m;J;ct thorax;test\n"); // prettier-ignore
    for (const name of ["ct", "segmentations/aorta"]) put(data, `totalsegmentator/Totalsegmentator_dataset_v201/s0000/${name}.nii.gz`, volume(name)); // prettier-ignore
    expect(facts(await opened("totalsegmentator"))).toEqual([["query", "s0000"]]);

    for (const path of ["imagesTr/amos_0001", "imagesVa/amos_0008", "imagesTs/amos_0600", "labelsTr/amos_0001"]) put(data, `amos22/amos22/${path}.nii.gz`, volume(path)); // prettier-ignore
    put(data, "amos22/amos22/dataset.json", "{}");
    expect((await opened("amos22")).map(({ modality }) => modality)).toEqual(["ct", "mri", "ct"]);

    for (const part of ["train", "valid"]) put(data, `ct-rate/dataset/${part}/${part}_1/${part}_1_a/${part}_1_a_1.nii.gz`, volume(part)); // prettier-ignore
    expect(facts(await opened("ct-rate")).map(([split, group]) => [side(split), group])).toEqual([["train", "train_1"], ["judged", "valid_1"]]); // prettier-ignore

    put(data, "verse/dataset-verse19training/rawdata/sub-verse004/sub-verse004_ct.nii.gz", volume("verse"));
    expect((await opened("verse"))[0].group).toBe("verse/sub-verse004");

    for (const series of ["CT Plain", "CT PLAIN THIN"]) cpSync(fixture("series"), join(data, `cq500/CQ500CT0 CQ500CT0/Unknown Study/${series}`), { recursive: true }); // prettier-ignore
    expect((await opened("cq500")).map(({ group, kind }) => [group, kind])).toEqual([["cq500/CQ500CT0", "volume"], ["cq500/CQ500CT0", "volume"]]); // prettier-ignore
  });

  test("MRI, never trained on: IXI, BraTS of three years, OASIS-1 in Analyze pairs, ACDC, MRNet", async () => {
    put(data, "ixi/IXI002-Guys-0828-T1.nii.gz", volume("ixi"));
    expect((await opened("ixi"))[0].labels.hospital).toBe("Guys");

    const cases = [
      ["BraTS20_Training_001/BraTS20_Training_001_flair", "BraTS20_Training_001", "flair"],
      ["BraTS2021_00000/BraTS2021_00000_t1ce", "BraTS2021_00000", "t1ce"],
      ["BraTS-GLI-00000-001/BraTS-GLI-00000-001-t1c", "BraTS-GLI-00000", "t1ce"],
      ["BraTS-GLI-00000-001/BraTS-GLI-00000-001-t2w", "BraTS-GLI-00000", "t2"],
    ];
    for (const [path] of cases) put(data, `brats/TrainingData/${path}.nii.gz`, volume(path));
    put(data, "brats/TrainingData/BraTS2021_00000/BraTS2021_00000_seg.nii.gz", volume("seg"));
    put(data, "brats/TrainingData/BraTS-GLI-00000-001/BraTS-GLI-00000-001-seg.nii.gz", volume("seg"));
    const brats = facts(await opened("brats"), "sequence").map(([, ...rest]) => rest);
    expect(brats.sort()).toEqual(cases.map(([, group, sequence]) => [group, sequence]).sort());

    const bytes = Buffer.from(nifti("oasis"));
    const analyze = Buffer.from(bytes.subarray(0, 348));
    analyze.fill(0, 252, 348); // neither qform, sform nor magic: Analyze
    analyze.writeFloatLE(0, 108);
    for (const session of ["MR1", "MR2"]) {
      const path = `oasis-1/disc1/OAS1_0061_${session}/RAW/OAS1_0061_${session}_mpr-1_anon`;
      put(data, `${path}.hdr`, analyze);
      put(data, `${path}.img`, bytes.subarray(352));
    }
    expect((await opened("oasis-1")).map(({ group, labels }) => [group, labels.session])).toEqual([["oasis-1/OAS1_0061", "MR1"], ["oasis-1/OAS1_0061", "MR2"]]); // prettier-ignore

    for (const part of ["training/patient001", "testing/patient101"]) {
      const at = `acdc/database/${part}/${part.split("/")[1]}`;
      put(data, `${at}_4d.nii.gz`, shaped(6, 3));
      for (const name of ["frame01", "frame01_gt"]) put(data, `${at}_${name}.nii.gz`, volume(name));
    }
    const acdc = await opened("acdc");
    expect(acdc.map(({ labels }) => labels.part)).toEqual(["testing", "training"]);
    expect(acdc.some(({ split }) => split === "train")).toBe(false);

    const header = `{'descr': '|u1', 'fortran_order': False, 'shape': (20, 24, 24), }`.padEnd(117) + "\n";
    const npy = Buffer.concat([Buffer.from("\x93NUMPY\x01\x00\x76\x00", "latin1"), Buffer.from(header), Buffer.alloc(20 * 576, 7)]); // prettier-ignore
    for (const plane of ["axial", "coronal", "sagittal"]) put(data, `mrnet/MRNet-v1.0/train/${plane}/0000.npy`, npy);
    put(data, "mrnet/MRNet-v1.0/train-acl.csv", "0000,0\n");
    expect((await opened("mrnet")).map(({ labels }) => labels.plane)).toEqual(["axial", "coronal", "sagittal"]);
  });
});
