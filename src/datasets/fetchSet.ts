/** A public set from the web to a folder: its files side by side, checked against a lock, unpacked, its layout looked at. */
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { readBytes, systemError, writeAtomic } from "../files.js";
import { InputError, type OnProgress } from "../types.js";
import { unpack } from "./archive.js";
import type { ArchiveLimits } from "./archiveRules.js";
import { checksums, difference, fetchFile, type FetchedFile, type FetchFileOptions } from "./fetchFile.js";
import { missingFrom, whatToDo, type PublicSet, type RemoteFile } from "./publicSets.js";

export const LOCK = "datasets.lock.json";

/** What was fetched, by name: kept in the target folder, and compared with whatever comes later. */
export interface Lock {
  readonly version: 1;
  readonly files: Readonly<Record<string, FetchedFile & { readonly url: string }>>;
}

export interface FetchSetOptions extends Omit<FetchFileOptions, "onBytes"> {
  /** Files at a time. */
  readonly jobs?: number;
  /** The user has read the licence, and says so. */
  readonly acceptLicence?: boolean;
  /** What its archives may hold. */
  readonly unpackLimits?: ArchiveLimits;
  readonly onProgress?: OnProgress;
}

export interface FetchedSet {
  readonly folder: string;
  readonly files: readonly { name: string; bytes: number; sha256: string; status: "fetched" | "present" }[];
  readonly unpacked: readonly string[];
  /** Patterns of the layout that no file matches. */
  readonly missing: readonly string[];
}

/** Licences under which data may be used by anyone for anything, at most with a name: they need no consent. */
const FREE = /^(CC0|CC BY \d|public domain|MIT|Apache)/i;

/** The name of a remote file in the target folder. Throws where the address has none. */
export function nameOf({ name, url }: RemoteFile): string {
  const last = name ?? decodeURIComponent(new URL(url).pathname.split("/").at(-1) ?? "");
  if (!/^[\w+-][\w.+-]*$/.test(last))
    throw new InputError(`${url}: has no name for a file; say it with name: in the catalogue`);
  return last;
}

/**
 * Fetches every file of a set to a folder, `jobs` at a time, and unpacks archives into folders of their own names. What
 * is there already and agrees with the lock is not fetched again; what was unpacked is not unpacked again.
 *
 * @throws InputError where the set needs a person (saying what to do), the licence asks for consent, a file is not what
 *   the catalogue or the lock says, or an archive is refused
 */
export async function fetchSet(
  name: string,
  set: PublicSet,
  folder: string,
  options: FetchSetOptions = {},
): Promise<FetchedSet> {
  const { jobs = 3, acceptLicence = false, onProgress } = options;
  if (set.files.length === 0) throw new InputError(whatToDo(name, set));
  if (!acceptLicence && !FREE.test(set.licence)) {
    throw new InputError(`${name}: licence: ${set.licence}; read it at ${set.home}, then add --accept-licence`);
  }
  try {
    mkdirSync(folder, { recursive: true });
  } catch (error) {
    throw systemError(folder, error);
  }
  let lock = readLock(folder);
  const report = progressOf(name, set, onProgress);
  const files = new Array<FetchedSet["files"][number]>(set.files.length);
  const failed = new AbortController();
  options.signal?.addEventListener("abort", () => failed.abort());
  let next = 0;

  const work = async () => {
    for (let i = next++; i < set.files.length && !failed.signal.aborted; i = next++) {
      const remote = set.files[i];
      const file = nameOf(remote);
      const path = join(folder, file);
      const known = lock.files[file]?.url === remote.url ? lock.files[file] : undefined;
      const present = existsSync(path);
      const expected = { bytes: remote.bytes ?? known?.bytes, sha256: remote.sha256 ?? known?.sha256, md5: remote.md5 };
      const got = present
        ? await checksums(path)
        : await fetchFile({ ...remote, ...expected }, path, {
            ...options,
            signal: failed.signal,
            onBytes: (done, total) => report(i, done, total),
          });
      const wrong = difference(expected, got);
      if (wrong !== undefined) {
        throw new InputError(`${path}: ${wrong}; it changed since it was fetched: remove it to fetch it again`);
      }
      lock = { version: 1, files: { ...lock.files, [file]: { url: remote.url, ...got } } };
      writeAtomic(join(folder, LOCK), JSON.stringify(lock, null, 2) + "\n");
      report(i, got.bytes, got.bytes);
      files[i] = { name: file, bytes: got.bytes, sha256: got.sha256, status: present ? "present" : "fetched" };
    }
  };
  const workers = Array.from({ length: Math.min(jobs, set.files.length) }, () =>
    work().catch((error: unknown) => {
      failed.abort(); // the others stop; what they have stays, to be resumed
      throw error;
    }),
  );
  const outcomes = await Promise.allSettled(workers);
  const errors = outcomes.flatMap((outcome) => (outcome.status === "rejected" ? [outcome.reason as unknown] : []));
  if (errors.length > 0) throw errors.find((error) => error instanceof InputError) ?? errors[0];

  const unpacked: string[] = [];
  for (const remote of set.files.filter((file) => file.unpack)) {
    const archive = nameOf(remote);
    const into = join(folder, archive.replace(/\.(zip|tar|tgz|tar\.gz|gz)$/i, ""));
    if (existsSync(into)) continue; // an unpacked folder is whole, or not there
    onProgress?.({ label: `unpacking ${archive}`, done: 0, total: 1 });
    await unpack(join(folder, archive), into, { ...UNPACK_LIMITS, ...options.unpackLimits });
    unpacked.push(into);
  }
  return { folder, files, unpacked, missing: missingFrom(folder, set.layout) };
}

/** Sets are large, and have many files; a ratio above deflate's own is still no picture. */
const UNPACK_LIMITS = { maxEntries: 2_000_000, maxBytes: 2 ** 41 };

function readLock(folder: string): Lock {
  const path = join(folder, LOCK);
  if (!existsSync(path)) return { version: 1, files: {} };
  readBytes(path); // one line where it cannot be read
  try {
    const lock = JSON.parse(readFileSync(path, "utf8")) as Lock;
    if (lock.version === 1 && typeof lock.files === "object") return lock;
  } catch {
    // Said below: a lock that cannot be read must not count as no lock.
  }
  throw new InputError(`${path}: expected a lock file of version 1; remove it to record the files anew`);
}

/** One bar for all files, in megabytes; a file whose size nobody says counts as what has come of it. */
function progressOf(name: string, set: PublicSet, onProgress: OnProgress | undefined) {
  const [done, totals] = [set.files.map(() => 0), set.files.map((file) => file.bytes ?? 0)];
  const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);
  const megabytes = (bytes: number) => Math.round(bytes / 1e5) / 10;
  let saidAt = 0;
  return (i: number, bytes: number, total: number | undefined) => {
    done[i] = bytes;
    totals[i] = Math.max(total ?? 0, totals[i], bytes);
    if (performance.now() - saidAt < 100 && bytes < totals[i]) return; // thousands of chunks come each second
    saidAt = performance.now();
    const whole = Math.max(sum(totals), set.files.length === 1 ? 0 : (set.bytes ?? 0));
    onProgress?.({ label: `fetching ${name}`, done: megabytes(sum(done)), total: megabytes(whole), note: "MB" });
  };
}
