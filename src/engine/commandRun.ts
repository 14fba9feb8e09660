/** Runs another program to its end, and says in one line what came of it. */
import { spawn } from "node:child_process";

export interface Ran {
  readonly ok: boolean;
  readonly stdout: string;
  /** Standard error, or why the program did not run. */
  readonly stderr: string;
  /** False where there is no such program. */
  readonly found: boolean;
}

export function run(program: string, args: readonly string[], cwd?: string): Promise<Ran> {
  return new Promise((resolve) => {
    const child = spawn(program, args, { cwd, stdio: ["ignore", "pipe", "pipe"] });
    let [stdout, stderr] = ["", ""];
    child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
    child.on("error", (error: NodeJS.ErrnoException) => {
      const found = error.code !== "ENOENT" && error.code !== "EACCES";
      resolve({ ok: false, stdout, stderr: error.message, found });
    });
    child.on("close", (code, signal) => {
      resolve({ ok: code === 0, stdout, stderr: signal ? `${stderr}\nended by ${signal}` : stderr, found: true });
    });
  });
}

/** The line that says most: the first that matches, else the last that is not empty. */
export function telling(text: string, pattern: RegExp): string {
  const lines = text.split("\n").map((line) => line.trim());
  return lines.find((line) => pattern.test(line)) ?? lines.filter(Boolean).at(-1) ?? "no reason given";
}
