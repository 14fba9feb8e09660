import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { zipSync } from "fflate";
import { afterEach, expect, test } from "vitest";
import { parseCatalog } from "../src/datasets/catalog.js";
import { fetchFile } from "../src/datasets/fetchFile.js";
import { fetchSet, LOCK, type Lock } from "../src/datasets/fetchSet.js";
import { Random } from "../src/random.js";
import { InputError } from "../src/types.js";

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

const closers: (() => void)[] = [];
afterEach(() => closers.splice(0).forEach((close) => close()));

/** A server on this machine, for one test. */
async function serve(handler: Handler): Promise<string> {
  const server = createServer(handler);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  closers.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const random = new Random(7);
const bytes = Uint8Array.from({ length: 300_000 }, () => random.int(256));
const sha256 = createHash("sha256").update(bytes).digest("hex");
const newFolder = () => mkdtempSync(join(tmpdir(), "m3ret-fetch-"));
const quick = { stallMs: 2000, retries: 3 };

/** Answers as a file server with ranges; `upTo` cuts the connection after so many bytes of this answer. */
function sendRange(request: IncomingMessage, response: ServerResponse, body: Uint8Array, etag: string, upTo?: number) {
  const asked = /^bytes=(\d+)-$/.exec(request.headers.range ?? "");
  const same = request.headers["if-range"] === undefined || request.headers["if-range"] === etag;
  const start = asked && same ? Number(asked[1]) : 0;
  const headers: Record<string, string | number> = { etag, "content-length": body.length - start };
  if (start > 0) headers["content-range"] = `bytes ${start}-${body.length - 1}/${body.length}`;
  response.writeHead(start > 0 ? 206 : 200, headers);
  const rest = body.subarray(start);
  if (upTo === undefined || upTo >= rest.length) return void response.end(rest);
  response.write(rest.subarray(0, upTo), () => setTimeout(() => response.destroy(), 30));
}

async function refusal(work: Promise<unknown>): Promise<string> {
  const error = await work.then(
    () => new Error("nothing was refused"),
    (reason: Error) => reason,
  );
  expect(error, error.stack).toBeInstanceOf(InputError);
  expect(error.message).not.toContain("\n");
  return error.message;
}

test("a download that is cut at random bytes 20 times is resumed each time, and is the file in the end", async () => {
  const starts: number[] = [];
  const url = await serve((request, response) => {
    starts.push(Number(/\d+/.exec(request.headers.range ?? "0")?.[0]));
    sendRange(request, response, bytes, '"a"', starts.length <= 20 ? 1 + random.int(12_000) : undefined);
  });
  const path = join(newFolder(), "file.bin");
  const fetched = await fetchFile({ url, sha256 }, path, { ...quick, retries: 10 });
  expect(fetched).toMatchObject({ bytes: bytes.length, sha256 });
  expect(readFileSync(path).equals(bytes)).toBe(true);
  expect(starts).toHaveLength(21);
  expect(starts).toEqual([...starts].sort((a, b) => a - b)); // each went on where the one before ended
  expect(starts.at(-1)).toBeGreaterThan(0);
  expect(existsSync(`${path}.part`) || existsSync(`${path}.part.json`)).toBe(false);
});

test("a process that was killed leaves a part, and the next one goes on from it", async () => {
  let cut = true;
  const ranges: (string | undefined)[] = [];
  const url = await serve((request, response) => {
    ranges.push(request.headers.range);
    sendRange(request, response, bytes, '"a"', cut ? 100_000 : undefined);
  });
  const path = join(newFolder(), "file.bin");
  const stopper = new AbortController();
  const stopped = fetchFile({ url }, path, { ...quick, signal: stopper.signal, onNote: () => stopper.abort() });
  await expect(stopped).rejects.toThrow(/abort/i);
  expect(existsSync(path)).toBe(false);
  cut = false;
  await fetchFile({ url, sha256 }, path, quick);
  expect(ranges).toEqual([undefined, "bytes=100000-"]);
});

test("a wrong checksum is refused, and leaves nothing", async () => {
  const url = await serve((request, response) => sendRange(request, response, bytes, '"a"'));
  const path = join(newFolder(), "file.bin");
  const said = await refusal(fetchFile({ url, sha256: "0".repeat(64) }, path, quick));
  expect(said).toBe(`${url}: expected sha256 ${"0".repeat(64)}, got ${sha256}; what came was removed`);
  expect(await refusal(fetchFile({ url, md5: "0".repeat(32) }, path, quick))).toContain("expected md5 000");
  expect(existsSync(path) || existsSync(`${path}.part`)).toBe(false);
});

test("redirects are followed to http, not to files, and not for ever", async () => {
  const url = await serve((request, response) => {
    const to: Record<string, string> = { "/file": "file:///etc/hostname", "/round": "/round", "/good": "/bytes" };
    const location = to[request.url ?? ""];
    if (location === undefined) sendRange(request, response, bytes, '"a"');
    else response.writeHead(302, { location }).end();
  });
  const path = join(newFolder(), "file.bin");
  expect(await refusal(fetchFile({ url: `${url}/file` }, path, quick))).toContain("redirected to file:; expected http");
  expect(await refusal(fetchFile({ url: `${url}/round` }, path, quick))).toContain("redirected more than 10 times");
  expect((await fetchFile({ url: `${url}/good` }, path, quick)).sha256).toBe(sha256);
});

test("a server that stalls is asked again where it stopped, and given up when it stalls for good", async () => {
  let answers = 0;
  const url = await serve((request, response) => {
    if (request.url === "/dead") return void response.writeHead(200, { "content-length": 10 }).flushHeaders();
    if (++answers > 1) return sendRange(request, response, bytes, '"a"');
    response.writeHead(200, { etag: '"a"', "content-length": bytes.length });
    response.write(bytes.subarray(0, 50_000));
  });
  const notes: string[] = [];
  const path = join(newFolder(), "file.bin");
  const options = { stallMs: 300, retries: 2, onNote: (note: string) => notes.push(note) };
  expect((await fetchFile({ url }, path, options)).sha256).toBe(sha256);
  expect(notes).toEqual([`${url}: nothing came for 0.3 s; trying again at byte 50000`]);
  expect(await refusal(fetchFile({ url: `${url}/dead` }, path, options))).toContain("given up after 2 tries");
});

test("a file that changes midway is fetched afresh, never stitched together", async () => {
  const changed = bytes.map((byte) => 255 - byte);
  for (const honoursIfRange of [true, false]) {
    let answers = 0;
    const url = await serve((request, response) => {
      if (++answers === 1) return sendRange(request, response, bytes, '"old"', 90_000);
      if (!honoursIfRange) delete request.headers["if-range"];
      sendRange(request, response, changed, '"new"');
    });
    const path = join(newFolder(), "file.bin");
    await fetchFile({ url }, path, quick);
    expect(readFileSync(path).equals(changed)).toBe(true);
  }
});

test("a server without ranges, or without a validator, is asked for everything again", async () => {
  for (const headers of [{ etag: '"a"' }, {}] as Record<string, string>[]) {
    const ranges: (string | undefined)[] = [];
    const url = await serve((request, response) => {
      ranges.push(request.headers.range);
      response.writeHead(200, { ...headers, "content-length": bytes.length });
      if (ranges.length > 1) response.end(bytes);
      else response.write(bytes.subarray(0, 70_000), () => setTimeout(() => response.destroy(), 5));
    });
    const path = join(newFolder(), "file.bin");
    expect((await fetchFile({ url, sha256 }, path, quick)).bytes).toBe(bytes.length);
    expect(ranges).toEqual([undefined, headers.etag ? "bytes=70000-" : undefined]);
  }
});

test("too many bytes are refused, by what the server says and by what it sends", async () => {
  const url = await serve((request, response) => {
    if (request.url === "/said") sendRange(request, response, bytes, '"a"');
    else response.writeHead(200).end(bytes); // chunked: no length
  });
  const path = join(newFolder(), "file.bin");
  for (const how of ["said", "sent"]) {
    const said = await refusal(fetchFile({ url: `${url}/${how}` }, path, { ...quick, maxBytes: 1000 }));
    expect(said).toContain("expected 1000 bytes at most");
  }
});

/** The set of a catalogue whose files lie on a server of this machine. */
function setOf(url: string, files: string, more = "licence: CC BY 4.0, layout: []") {
  const entry = `title: t, home: https://a.b/, access: open, modalities: [ct], region: chest, ${more}`;
  return parseCatalog(`datasets: {}\npublic:\n  x: { ${entry}, files: ${files.replaceAll("URL", url)} }\n`, "d.yaml")
    .public.x;
}

test("a set is fetched with several files at a time, locked, unpacked and checked; the second time nothing is asked", async () => {
  const archive = zipSync({ "inside/a.txt": new Uint8Array([1, 2, 3]) });
  let [asked, open, most] = [0, 0, 0];
  const url = await serve((request, response) => {
    [asked, open] = [asked + 1, open + 1];
    most = Math.max(most, open);
    response.on("close", () => open--);
    setTimeout(() => sendRange(request, response, request.url === "/z.zip" ? archive : bytes, '"a"'), 50);
  });
  const set = setOf(
    url,
    `[{ url: "URL/z.zip", unpack: true }, { url: "URL/1.bin" }, { url: "URL/2?download=1", name: 2.bin }]`,
    'licence: CC BY 4.0, layout: ["**/inside/*.txt", 1.bin]',
  );
  const folder = newFolder();
  const first = await fetchSet("x", set, folder, { ...quick, jobs: 3 });
  expect(first.files.map(({ name, status }) => `${name} ${status}`)).toEqual(
    ["z.zip", "1.bin", "2.bin"].map((name) => `${name} fetched`),
  );
  expect(first.missing).toEqual([]);
  expect([...readFileSync(join(folder, "z/inside/a.txt"))]).toEqual([1, 2, 3]);
  expect(most).toBe(3);
  const lock = JSON.parse(readFileSync(join(folder, LOCK), "utf8")) as Lock;
  expect(lock.files["1.bin"]).toMatchObject({ url: `${url}/1.bin`, bytes: bytes.length, sha256 });

  asked = 0;
  const again = await fetchSet("x", set, folder, quick);
  expect(asked).toBe(0);
  expect(again.files.every(({ status }) => status === "present")).toBe(true);

  writeFileSync(join(folder, "1.bin"), "damaged");
  expect(await refusal(fetchSet("x", set, folder, quick))).toContain(`expected bytes ${bytes.length}, got 7`);
});

test("a file that is not what the lock recorded at first sight is refused when it is fetched anew", async () => {
  let body = bytes;
  const url = await serve((request, response) => sendRange(request, response, body, '"a"'));
  const set = setOf(url, `[{ url: "URL/1.bin" }]`);
  const folder = newFolder();
  await fetchSet("x", set, folder, quick);
  const lock = readFileSync(join(folder, LOCK));
  const other = newFolder();
  writeFileSync(join(other, LOCK), lock);
  body = bytes.map((byte) => 255 - byte);
  expect(await refusal(fetchSet("x", set, other, quick))).toContain(`expected sha256 ${sha256}`);
  expect(existsSync(join(other, "1.bin"))).toBe(false);
  writeFileSync(join(other, LOCK), "{");
  expect(await refusal(fetchSet("x", set, other, quick))).toContain("expected a lock file of version 1");
});

test("a licence that asks for consent is not passed over, and sets that need a person say what to do", async () => {
  const set = setOf("http://127.0.0.1:1", `[{ url: "URL/1.bin" }]`, "licence: CC BY-NC 4.0, layout: []");
  expect(await refusal(fetchSet("x", set, newFolder()))).toContain("then add --accept-licence");
  const accepted = fetchSet("x", set, newFolder(), { acceptLicence: true, retries: 1 });
  expect(await refusal(accepted)).toContain("given up after 1 tries"); // nobody listens there
  const person = setOf("", "[]", "licence: theirs, steps: ask them");
  expect(await refusal(fetchSet("x", person, newFolder()))).toBe(
    "x: access is open, licence: theirs; https://a.b/: ask them, then check it with m3ret fetch x --check FOLDER",
  );
});
