/** The eager part of the suite on the backend `tensorflow`: `npm run test:tensorflow`, after `npm run link:tensorflow`. */
import { configDefaults, defineConfig } from "vitest/config";
import usual from "./vitest.config.js";

const EAGER = ["tensorflow", "compile", "parity", "simdino", "train", "vit"];

export default defineConfig({
  test: {
    ...usual.test,
    include: EAGER.map((name) => `test/${name}.test.ts`),
    exclude: configDefaults.exclude,
    reporters: ["default", ["./test/closingLine.ts", { suite: "m3ret on tensorflow" }]],
    env: { M3RET_BACKEND: "tensorflow" },
  },
});
