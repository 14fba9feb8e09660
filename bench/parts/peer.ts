/** The other side of a benchmark: a Python process that takes commands, one JSON line each. */
import { spawn, type ChildProcessWithoutNullStreams } from "node:child_process";
import { availableParallelism } from "node:os";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

export interface Peer {
  /** "PyTorch 2.13.0 eager, fp32, 2 threads" */
  readonly description: string;
  ask(command: Readonly<Record<string, unknown>>): Promise<Record<string, number>>;
  stop(): void;
}

/** Why there is no peer. */
export interface Absent {
  readonly absent: string;
}

/** Which Python has the peers: `M3RET_PYTHON`, or `python3` of the PATH. */
function pythonCommand(): string {
  return process.env.M3RET_PYTHON || "python3";
}

/** Starts a script of bench/peers, or says in one line why it does not run. */
export async function startPeer(
  name: string,
  { device = "cpu", threads = availableParallelism() }: { device?: "cpu" | "cuda"; threads?: number } = {},
): Promise<Peer | Absent> {
  // Compiled code stands in dist/bench/parts, the script in bench/peers.
  const script = fileURLToPath(new URL(`../../../bench/peers/${name}`, import.meta.url));
  const child = spawn(pythonCommand(), ["-u", script], { stdio: "pipe" });
  let said = "";
  child.stderr.on("data", (chunk: Buffer) => (said += chunk));
  const ask = asker(child);
  try {
    const { peer } = await ask({ do: "machine", threads, device });
    return { description: String(peer), ask, stop: () => child.kill() };
  } catch (error) {
    const reason = said.trim().split("\n").at(-1) || (error as Error).message;
    return { absent: `nothing to compare with: ${pythonCommand()}: ${reason} (M3RET_PYTHON names another Python)` };
  }
}

function asker(child: ChildProcessWithoutNullStreams): Peer["ask"] {
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const failed = new Promise<never>((_, reject) => {
    child.once("error", reject);
    child.stdin.once("error", reject);
    child.once("exit", () => reject(new Error("the peer ended")));
  });
  failed.catch(() => undefined);
  return async (command) => {
    child.stdin.write(JSON.stringify(command) + "\n");
    const { value, done } = await Promise.race([lines.next(), failed]);
    if (done) throw new Error("the peer ended");
    return JSON.parse(value as string) as Record<string, number>;
  };
}
