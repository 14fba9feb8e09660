/** A vitest reporter that ends a run with one plain line: "suite: 120 passed, 0 failed, 3 skipped". */
import type { Reporter, TestModule } from "vitest/node";

export default class ClosingLine implements Reporter {
  constructor(private readonly options: { suite?: string } = {}) {}

  onTestRunEnd(modules: readonly TestModule[]): void {
    const counts = { passed: 0, failed: 0, skipped: 0, pending: 0 };
    for (const module of modules) {
      for (const test of module.children.allTests()) counts[test.result().state]++;
      counts.failed += module.errors().length;
    }
    const { suite = "m3ret" } = this.options;
    const skipped = counts.skipped + counts.pending;
    console.log(`${suite}: ${counts.passed} passed, ${counts.failed} failed, ${skipped} skipped`);
  }
}
