/** The files below a folder, in one order on every machine, and patterns of their paths. */
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { systemError } from "../files.js";

/**
 * Paths of files below `root`, relative, with `/`, in the order of their names within each folder. Names that start with
 * a dot are passed over, and so are links to folders: a link upwards would never end.
 *
 * @throws InputError that names a folder that cannot be read
 */
export function* walk(root: string, below = ""): Generator<string> {
  let entries;
  try {
    entries = readdirSync(join(root, below), { withFileTypes: true });
  } catch (error) {
    throw systemError(join(root, below), error);
  }
  entries.sort((a, b) => (a.name < b.name ? -1 : 1));
  for (const entry of entries) {
    if (entry.name.startsWith(".")) continue;
    const path = below === "" ? entry.name : `${below}/${entry.name}`;
    if (entry.isDirectory()) yield* walk(root, path);
    else if (entry.isFile() || (entry.isSymbolicLink() && isFile(join(root, path)))) yield path;
  }
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;
}

/**
 * A pattern of paths: `*` is anything within one folder, `?` one character of it, and `**` any number of folders.
 * `images*\/**\/*.png` matches `images_001/images/a.png` and `images/a.png`, not `masks/a.png`.
 */
export function globToRegExp(pattern: string): RegExp {
  const source = pattern.replace(/\*\*\/|\*\*|[*?]|[^\w/*?]/g, (found) => {
    if (found === "**/") return "(?:[^/]+/)*";
    if (found === "**") return ".*";
    if (found === "*") return "[^/]*";
    return found === "?" ? "[^/]" : `\\${found}`;
  });
  return new RegExp(`^${source}$`);
}
