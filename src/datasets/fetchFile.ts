/** One file from the web to the disk: resumed where it was cut, checked, and there whole or not at all. */
import { createHash } from "node:crypto";
import { createReadStream, existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync } from "node:fs";
import { open } from "node:fs/promises";
import { dirname } from "node:path";
import { systemError, writeAtomic } from "../files.js";
import { InputError } from "../types.js";
import type { RemoteFile } from "./publicSets.js";

export interface FetchFileOptions {
  /** Refused beyond this many bytes, whatever the server says. Default: 1 TiB. */
  readonly maxBytes?: number;
  /** A server that sends nothing for this long is asked again. Default: 60,000. */
  readonly stallMs?: number;
  /** Tries that bring no byte, one after another, before it is given up. Default: 5. */
  readonly retries?: number;
  /** Bytes on the disk so far, and of the whole file where that is known. */
  readonly onBytes?: (done: number, total: number | undefined) => void;
  /** Why something was done again, in one line. */
  readonly onNote?: (note: string) => void;
  readonly signal?: AbortSignal;
}

export interface FetchedFile {
  readonly bytes: number;
  readonly sha256: string;
  readonly md5: string;
}

/** What is kept beside a part: what the server said of the file that the part is of. */
interface PartFacts {
  readonly url: string;
  /** A strong ETag, or a date: what `If-Range` may ask with (RFC 9110, 13.1.5). */
  readonly validator?: string;
  readonly total?: number;
}

const REDIRECTS = 10;
const TEBIBYTE = 2 ** 40;

/** What another try may mend: a cut, a stall, a busy server. */
class Again extends Error {}

/**
 * Brings `remote.url` to `path`. The bytes go to `path.part`; what the server said of them to `path.part.json`. A later
 * call, or a later try of this one, asks for the rest with `Range`, on the condition (`If-Range`) that the file is still
 * the one that the part is of; where it is not, or the server knows no ranges or gives no validator, it starts afresh.
 * Redirects go to http and https alone. At the end size and checksums are compared, and the part is renamed.
 *
 * @throws InputError in one line, with the address: a refusal, a wrong size or checksum (the part is then removed), too
 *   many bytes, a redirect elsewhere, or too many tries without a byte (the part stays, to be resumed)
 */
export async function fetchFile(
  remote: RemoteFile,
  path: string,
  options: FetchFileOptions = {},
): Promise<FetchedFile> {
  const { retries = 5, onNote, signal } = options;
  const part = `${path}.part`;
  try {
    mkdirSync(dirname(path), { recursive: true });
  } catch (error) {
    throw systemError(dirname(path), error);
  }
  for (let idle = 0; ;) {
    signal?.throwIfAborted();
    const before = sizeOf(part);
    try {
      await fetchRest(remote, part, options);
      break;
    } catch (error) {
      if (!(error instanceof Again)) throw error;
      idle = sizeOf(part) > before ? 0 : idle + 1;
      if (idle >= retries) {
        throw new InputError(`${remote.url}: ${error.message}; given up after ${retries} tries without a byte`);
      }
      onNote?.(`${remote.url}: ${error.message}; trying again at byte ${sizeOf(part)}`);
      if (idle > 0) await new Promise((resolve) => setTimeout(resolve, Math.min(200 * 2 ** idle, 30_000)));
    }
  }
  const fetched = await checksums(part);
  const wrong = difference(remote, fetched);
  if (wrong !== undefined) {
    removePart(part);
    throw new InputError(`${remote.url}: ${wrong}; what came was removed`);
  }
  renameSync(part, path);
  rmSync(`${part}.json`, { force: true });
  return fetched;
}

/** What a file differs in from what is known of it: `expected sha256 …, got …`, or nothing. */
export function difference(known: Pick<RemoteFile, "bytes" | "sha256" | "md5">, got: FetchedFile): string | undefined {
  for (const what of ["bytes", "sha256", "md5"] as const) {
    if (known[what] !== undefined && known[what] !== got[what]) {
      return `expected ${what} ${known[what]}, got ${got[what]}`;
    }
  }
  return undefined;
}

/** Size, SHA-256 and MD5 of a file, read once. */
export async function checksums(path: string): Promise<FetchedFile> {
  const [sha256, md5] = [createHash("sha256"), createHash("md5")];
  let bytes = 0;
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 }) as AsyncIterable<Buffer>) {
      sha256.update(chunk);
      md5.update(chunk);
      bytes += chunk.length;
    }
  } catch (error) {
    throw systemError(path, error);
  }
  return { bytes, sha256: sha256.digest("hex"), md5: md5.digest("hex") };
}

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}

function removePart(part: string): void {
  rmSync(part, { force: true });
  rmSync(`${part}.json`, { force: true });
}

/** What is known of a part, or nothing where it is of another address or cannot be asked for conditionally. */
function factsOf(part: string, url: string): PartFacts | undefined {
  if (!existsSync(part) || !existsSync(`${part}.json`)) return undefined;
  try {
    const facts = JSON.parse(readFileSync(`${part}.json`, "utf8")) as PartFacts;
    return facts.url === url && facts.validator !== undefined ? facts : undefined;
  } catch {
    return undefined; // cut while it was written: the part is fetched again
  }
}

/** One request for what is missing. Returns when the part is whole; throws `Again` where another try may help. */
async function fetchRest(remote: RemoteFile, part: string, options: FetchFileOptions): Promise<void> {
  const { maxBytes = TEBIBYTE, stallMs = 60_000, onBytes, onNote, signal } = options;
  const facts = factsOf(part, remote.url);
  const start = facts ? sizeOf(part) : 0;
  if (facts && facts.total === start) return;
  const stopper = new AbortController();
  const stop = () => stopper.abort();
  signal?.addEventListener("abort", stop);
  let stalled = false;
  let timer: NodeJS.Timeout | undefined;
  const alive = () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      stalled = true;
      stop();
    }, stallMs);
  };
  try {
    alive();
    const headers: Record<string, string> = { "accept-encoding": "identity" };
    if (facts && start > 0) Object.assign(headers, { range: `bytes=${start}-`, "if-range": facts.validator });
    const response = await follow(remote.url, headers, stopper.signal);
    if (response.status === 416) {
      removePart(part);
      throw new Again("the server has fewer bytes than the part");
    }
    if (response.status === 429 || response.status >= 500) throw new Again(`the server answers ${response.status}`);
    if (!response.ok) throw new InputError(`${remote.url}: the server answers ${response.status}`);

    const from = response.status === 206 ? rangeStart(response) : 0;
    const validator = validatorOf(response);
    const same = validator === undefined || validator === facts?.validator;
    if (response.status === 206 && (from !== start || !same)) {
      removePart(part);
      throw new Again("the server answers with another part, or of another file");
    }
    if (from < start) onNote?.(`${remote.url}: changed, or without ranges: starting afresh at byte 0`);
    const length = response.headers.get("content-length");
    const total = length === null ? undefined : from + Number(length);
    const whole = total ?? remote.bytes;
    if (whole !== undefined && whole > maxBytes) throw tooLarge(remote.url, whole, maxBytes);
    writeAtomic(`${part}.json`, JSON.stringify({ url: remote.url, validator: validator ?? facts?.validator, total }));

    const file = await open(part, from > 0 ? "r+" : "w");
    let at = from;
    try {
      onBytes?.(at, whole);
      for await (const chunk of (response.body ?? []) as unknown as AsyncIterable<Uint8Array>) {
        alive();
        if (at + chunk.length > maxBytes) throw tooLarge(remote.url, at + chunk.length, maxBytes);
        for (let done = 0; done < chunk.length;) {
          done += (await file.write(chunk, done, chunk.length - done, at + done)).bytesWritten;
        }
        at += chunk.length;
        onBytes?.(at, whole);
      }
      await file.sync();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).syscall === "write") throw systemError(part, error);
      throw error;
    } finally {
      await file.close();
    }
    if (total !== undefined && at < total) throw new Again(`cut at byte ${at} of ${total}`);
  } catch (error) {
    signal?.throwIfAborted();
    if (stalled) throw new Again(`nothing came for ${stallMs / 1000} s`);
    if (error instanceof InputError || error instanceof Again) throw error;
    // What fetch throws says little: its cause has the reason of the network.
    const cause = (error as { cause?: unknown }).cause ?? error;
    throw new Again(
      cause instanceof Error ? cause.message || String((cause as { code?: string }).code) : String(cause),
    );
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", stop);
    stop(); // lets go of a body that was not read to its end
  }
}

const tooLarge = (url: string, bytes: number, most: number): InputError =>
  new InputError(`${url}: expected ${most} bytes at most, got ${bytes} or more; --max-bytes allows more`);

/** Follows redirects to http and https, and to nothing else. */
async function follow(url: string, headers: Record<string, string>, signal: AbortSignal): Promise<Response> {
  let at = new URL(url);
  for (let hop = 0; hop <= REDIRECTS; hop++) {
    const response = await fetch(at, { headers, signal, redirect: "manual" });
    const location = response.headers.get("location");
    if (response.status < 300 || response.status > 399 || location === null) return response;
    await response.body?.cancel();
    try {
      at = new URL(location, at);
    } catch {
      throw new InputError(`${url}: redirected to "${location}", which is no address`);
    }
    if (at.protocol !== "http:" && at.protocol !== "https:") {
      throw new InputError(`${url}: redirected to ${at.protocol}; expected http: or https:`);
    }
  }
  throw new InputError(`${url}: redirected more than ${REDIRECTS} times`);
}

/** `bytes 100-199/200` starts at 100. */
function rangeStart(response: Response): number {
  const found = /^bytes (\d+)-/.exec(response.headers.get("content-range") ?? "");
  return found ? Number(found[1]) : -1;
}

/** A strong ETag, or else the date of the last change. A weak ETag does not promise the same bytes. */
function validatorOf({ headers }: Response): string | undefined {
  const etag = headers.get("etag");
  return etag !== null && !etag.startsWith("W/") ? etag : (headers.get("last-modified") ?? undefined);
}
