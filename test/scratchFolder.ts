/** Every temporary folder of a test run lies in one, which is removed at the end. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export default function setup(): () => void {
  const folder = mkdtempSync(join(tmpdir(), "m3ret-tests-"));
  process.env.TMPDIR = folder; // test processes inherit it
  return () => rmSync(folder, { recursive: true, force: true });
}
