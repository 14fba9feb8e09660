import { configDefaults, defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    exclude: [...configDefaults.exclude, "test/tensorflow.test.ts"], // needs a TensorFlow: vitest.tensorflow.config.ts
    testTimeout: 120_000,
    hookTimeout: 120_000,
    pool: "forks",
    globalSetup: "./test/scratchFolder.ts",
    reporters: ["default", "./test/closingLine.ts"],
  },
});
