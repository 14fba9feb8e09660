/** What an archive may hold: names that stay inside the folder and apart from each other, and sizes within limits. */
import { InputError } from "../types.js";

export interface ArchiveLimits {
  /** Files and folders; 100,000 where it is left out. */
  readonly maxEntries?: number;
  /** Bytes of all files together; 16 GiB where it is left out. */
  readonly maxBytes?: number;
  /** Unpacked over packed bytes, of whatever unpacks to more than 1 MiB; 1,000 where it is left out (deflate ends at 1,032). */
  readonly maxRatio?: number;
}

const MEBIBYTE = 2 ** 20;

/** Watches over the unpacking of one archive; every refusal is an `InputError` that names the entry and the rule. */
export class ArchiveRules {
  readonly #limits: Required<ArchiveLimits>;
  /** What every path is called on a file system that ignores case and composition, to its spelling and kind. */
  readonly #taken = new Map<string, { readonly spelled: string; readonly kind: "file" | "folder" }>();
  #entries = 0;
  #bytes = 0;

  constructor(
    readonly archive: string,
    limits: ArchiveLimits,
  ) {
    this.#limits = { maxEntries: 100_000, maxBytes: 2 ** 34, maxRatio: 1000, ...limits };
  }

  refuse(name: string, reason: string): InputError {
    return new InputError(`${this.archive}: entry ${JSON.stringify(name)}: ${reason}`);
  }

  /**
   * The relative path, with `/` between its parts, under which an entry may be written: `./a//b` is `a/b`.
   *
   * Refused: an absolute path or a drive, a part `..`, a control character, an empty name, and a name that another entry has
   * taken, be it in other letters of case, in another Unicode composition, or as a folder where this is a file.
   */
  admit(name: string, kind: "file" | "folder"): string {
    this.#entries++;
    const { maxEntries } = this.#limits;
    if (this.#entries > maxEntries) {
      throw this.refuse(name, `more entries than the limit of ${maxEntries} (option maxEntries)`);
    }
    const slashed = name.replaceAll("\\", "/");
    if (slashed.startsWith("/") || /^[a-z]:/i.test(slashed)) throw this.refuse(name, "an absolute path is refused");
    // eslint-disable-next-line no-control-regex -- that is what is looked for
    if (/[\0-\x1f\x7f]/.test(name)) throw this.refuse(name, "a control character in a name is refused");
    const parts = slashed.split("/").filter((part) => part !== "" && part !== ".");
    if (parts.includes("..")) throw this.refuse(name, 'a path with ".." is refused');
    if (parts.length === 0) {
      if (kind === "folder") return "";
      throw this.refuse(name, "expected a name");
    }
    parts.forEach((_, i) => {
      const last = i === parts.length - 1;
      this.#take(parts.slice(0, i + 1).join("/"), last ? kind : "folder", name);
    });
    return parts.join("/");
  }

  #take(path: string, kind: "file" | "folder", name: string): void {
    const key = path.normalize("NFC").toLowerCase();
    const taken = this.#taken.get(key);
    if (taken === undefined) this.#taken.set(key, { spelled: path, kind });
    else if (kind === "file" || taken.kind === "file" || taken.spelled !== path) {
      throw this.refuse(name, `its name collides with that of the ${taken.kind} ${JSON.stringify(taken.spelled)}`);
    }
  }

  /** Counts bytes about to be written for an entry. */
  count(name: string, bytes: number): void {
    this.#bytes += bytes;
    const { maxBytes } = this.#limits;
    if (this.#bytes > maxBytes) {
      throw this.refuse(name, `the archive unpacks to more than the limit of ${maxBytes} bytes (option maxBytes)`);
    }
  }

  /** Looks at how far something has expanded. */
  expand(name: string, unpacked: number, packed: number): void {
    const { maxRatio, maxBytes, maxEntries } = this.#limits;
    if (unpacked > MEBIBYTE && unpacked > maxRatio * packed) {
      throw this.refuse(name, `it expands beyond the limit of ${maxRatio} times its packed size (option maxRatio)`);
    }
    // The blocks of a tar that are no file's: two for an entry, and an allowance for long names.
    if (unpacked > maxBytes + 1024 * Math.min(maxEntries, this.#entries + 1) + MEBIBYTE) {
      throw this.refuse(name, `the archive unpacks to more than the limit of ${maxBytes} bytes (option maxBytes)`);
    }
  }
}
