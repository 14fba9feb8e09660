/** The tests that need a GPU's adapter, where `npm run test:gpu` found one. */
import { configDefaults, defineConfig } from "vitest/config";
import usual from "./vitest.config.js";

export default defineConfig({
  test: {
    ...usual.test,
    include: ["test/gpu*.test.ts"],
    exclude: configDefaults.exclude,
    reporters: ["default", ["./test/closingLine.ts", { suite: "m3ret on dawn" }]],
  },
});
