/** `m3ret engines`. */
import type { Command } from "commander";
import { availableEngines, type Availability, type AvailableEngines } from "../engine/available.js";
import { answer, jsonOption } from "./shared.js";

export function addEngines(m3ret: Command): void {
  m3ret
    .command("engines")
    .description("try every engine on this machine, and say why the others can not run")
    .addOption(jsonOption())
    .action(async ({ json }: { json?: boolean }) => answer(json, await availableEngines(), report));
}

/** One line each: the name, whether it runs, and what it is or why not. */
function report({ engines, backends }: AvailableEngines): string {
  const line = ({ name, ok, description, reason }: Availability<string>) =>
    `${name.padEnd(12)}${ok ? "yes" : "no "}  ${description ?? reason}`;
  const first = engines.find(({ ok }) => ok);
  return [
    "--engine",
    ...engines.map(line),
    "",
    "tfjs backends of --engine eager",
    ...backends.map(line),
    "",
    `without --engine: ${first ? (first.name === "compiled" ? "compiled" : "eager") : "nothing runs"}`,
  ].join("\n");
}
