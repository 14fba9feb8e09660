#!/usr/bin/env node
/** The command line: arguments in, the library's functions called, one line per mistake. */
import { Command, CommanderError } from "commander";
import { addBench } from "./commands/bench.js";
import { addDataCommands } from "./commands/data.js";
import { addEngines } from "./commands/engines.js";
import { addExport } from "./commands/export.js";
import { addFetch } from "./commands/fetch.js";
import { addManifest } from "./commands/manifest.js";
import { addModelCommands } from "./commands/model.js";
import { addReproduce } from "./commands/reproduce.js";
import { addRuns } from "./commands/runs.js";
import { addSweep } from "./commands/sweep.js";
import { addRetrievalCommands } from "./commands/retrieval.js";
import { Interrupted } from "./commands/shared.js";
import { packageVersion, systemError } from "./files.js";
import { InputError } from "./types.js";

function program(): Command {
  const m3ret = new Command("m3ret")
    .description(
      "One self-supervised encoder for every modality, judged by image-to-image retrieval (arXiv 2509.01360).",
    )
    .version(packageVersion())
    .showHelpAfterError("(m3ret --help lists the commands)")
    .exitOverride()
    .configureOutput({ writeErr: () => {} });
  for (const add of [
    addDataCommands,
    addFetch,
    addManifest,
    addModelCommands,
    addExport,
    addRetrievalCommands,
    addReproduce,
    addSweep,
    addRuns,
    addEngines,
    addBench,
  ])
    add(m3ret);
  for (const command of m3ret.commands) command.exitOverride().configureOutput({ writeErr: () => {} });
  return m3ret;
}

/** Exit code: 0 done, 2 wrong input, 130 stopped by Ctrl-C, 1 our mistake. */
async function main(argv: readonly string[]): Promise<number> {
  const m3ret = program();
  try {
    await m3ret.parseAsync([...argv]);
    return 0;
  } catch (error) {
    if (error instanceof CommanderError) {
      if (error.exitCode === 0) return 0; // --help and --version
      // Commander's own text starts with "error: ", and has its guess of what was meant in a second line.
      const nothing = error.code === "commander.help";
      console.error(nothing ? "error: expected a command; m3ret --help lists them" : error.message.replace(/\n/g, " "));
      return 2;
    }
    if (error instanceof Interrupted) {
      console.error(error.message);
      return 130;
    }
    if (error instanceof InputError) {
      console.error(`error: ${error.message}`);
      return 2;
    }
    // Not the user's mistake: the stack is what a report of it needs.
    console.error(error);
    return 1;
  }
}

// What reads our answer may have read enough (`m3ret datasets | head -1`), or be a file on a full disk.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit();
  console.error(`error: ${systemError("standard output", error).message}`);
  process.exit(2);
});

// A `then`, not a top-level await: no module of ours has one, so that tslab can `require` them all.
void main(process.argv).then((exitCode) => {
  process.exitCode = exitCode;
});
