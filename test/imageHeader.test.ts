import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import sharp, { type Sharp } from "sharp";
import { expect, test } from "vitest";
import { decodeImage } from "../src/datasets/image.js";
import { pictureHeader } from "../src/datasets/imageHeader.js";
import { decodeSmallJpeg } from "../src/datasets/imageSmallJpeg.js";
import { contentOf } from "../src/datasets/sniff.js";
import { Random } from "../src/random.js";
import { realdata } from "./readersFixture.js";

/** A picture of smooth blobs and some noise. */
function picture(channels: 1 | 3 | 4, width: number, height: number, seed = 1): Sharp {
  const random = new Random(seed);
  const wave = Array.from({ length: channels }, () => [random.uniform(0.02, 0.3), random.uniform(0.02, 0.3)]);
  const data = Uint8Array.from({ length: width * height * channels }, (_, i) => {
    const [x, y] = [Math.floor(i / channels) % width, Math.floor(i / channels / width)];
    const [fx, fy] = wave[i % channels];
    return 127 + 90 * Math.sin(fx * x + fy * y) + random.uniform(-20, 20);
  });
  return sharp(data, { raw: { width, height, channels } });
}

const made = async (): Promise<Uint8Array[]> => {
  const grey = (image: Sharp) => image.toColourspace("b-w");
  return Promise.all(
    [
      grey(picture(1, 40, 30)).png(),
      picture(3, 40, 30).png(),
      picture(4, 40, 30).png(),
      picture(3, 40, 30).png({ palette: true }),
      picture(3, 40, 30).toColourspace("rgb16").png(),
      grey(picture(1, 40, 30))
        .toColourspace("grey16")
        .png(),
      picture(3, 40, 30).withMetadata({ orientation: 6 }).png(),
      grey(picture(1, 40, 30)).jpeg(),
      picture(3, 41, 31).jpeg(),
      picture(3, 40, 30).jpeg({ progressive: true }),
      picture(3, 40, 30).withMetadata({ orientation: 3 }).jpeg(),
      picture(3, 40, 30).toColourspace("cmyk").jpeg(),
      picture(3, 40, 30).webp(),
    ].map((image) => image.toBuffer()),
  );
};

function real(): Uint8Array[] {
  if (!existsSync(realdata)) return [];
  const names = readdirSync(realdata, { recursive: true, encoding: "utf8" }).filter((name) =>
    /\.(png|jpe?g)$/i.test(name),
  );
  return names.sort().filter((_, i) => i % 40 === 0).map((name) => readFileSync(join(realdata, name))); // prettier-ignore
}

const fixtures = (): Uint8Array[] => {
  const folder = fileURLToPath(new URL("./fixtures/media/", import.meta.url));
  return readdirSync(folder)
    .filter((name) => /\.(png|jpe?g)$/i.test(name))
    .map((name) => readFileSync(join(folder, name)));
};

test("a header of PNG or JPEG says what libvips says, or leaves it to libvips", async () => {
  let read = 0;
  for (const bytes of [...(await made()), ...fixtures(), ...real()]) {
    const header = pictureHeader(bytes, contentOf(bytes).format);
    if (header === null) continue;
    read++;
    const { width, height, depth, space, hasAlpha } = header;
    const found = await sharp(bytes).metadata();
    expect(found).toMatchObject({ width, height, depth, space, hasAlpha });
    expect(found.orientation ?? 1).toBe(1);
    expect(found.pages ?? 1).toBe(1);
  }
  expect(read).toBeGreaterThan(8);
});

test("a picture that an EXIF tag may turn, a palette, CMYK and another format are left to libvips", async () => {
  const [, , , palette, , , turnedPng, , , , turnedJpeg, cmyk, webp] = await made();
  for (const bytes of [palette, turnedPng, turnedJpeg, cmyk, webp])
    expect(pictureHeader(bytes, contentOf(bytes).format)).toBeNull();
});

test("a small JPEG has the same values whether libvips decodes it or the codec in this thread", async () => {
  const whole: Uint8Array[] = [];
  for (const seed of [1, 2, 3]) {
    whole.push(await picture(1, 64, 64, seed).toColourspace("b-w").jpeg().toBuffer());
    whole.push(await picture(3, 63, 50, seed).jpeg({ quality: 60 }).toBuffer()); // 4:2:0
    whole.push(await picture(3, 64, 64, seed).jpeg({ chromaSubsampling: "4:4:4", quality: 95 }).toBuffer());
  }
  const headers = whole.map((bytes) => pictureHeader(bytes, "jpeg")!);
  const first = await Promise.all(whole.map((bytes) => decodeImage(bytes, "first.jpg"))); // by libvips
  for (let i = 0; i < 200; i++) await decodeSmallJpeg(whole[0], headers[0], "many.jpg"); // until the codec is worth loading
  for (const [i, bytes] of whole.entries()) {
    expect(await decodeSmallJpeg(bytes, headers[i], "small.jpg"), `${i} ${JSON.stringify(headers[i])}`).not.toBeNull();
    expect(await decodeImage(bytes, "small.jpg")).toEqual(first[i]);
  }
});

test("a small JPEG that is cut, progressive or damaged is left to libvips", async () => {
  const bytes = await picture(1, 64, 64).toColourspace("b-w").jpeg().toBuffer();
  for (let i = 0; i < 200; i++) await decodeSmallJpeg(bytes, pictureHeader(bytes, "jpeg")!, "many.jpg");
  for (let end = 0; end < bytes.length - 1; end += 7) {
    const header = pictureHeader(bytes.subarray(0, end), "jpeg");
    expect(header && (await decodeSmallJpeg(bytes.subarray(0, end), header, "cut.jpg"))).toBeNull();
    await expect(decodeImage(bytes.subarray(0, end), "cut.jpg")).rejects.toThrow(/^cut\.jpg: [^\n]+$/);
  }
  const progressive = await picture(1, 64, 64).jpeg({ progressive: true }).toBuffer();
  expect(await decodeSmallJpeg(progressive, pictureHeader(progressive, "jpeg")!, "scans.jpg")).toBeNull();
});
