/**
 * Dot products of many vectors with many vectors, four numbers at a time. JavaScript has no vector instructions and
 * WebAssembly has, so the inner loop is a WebAssembly function of some 300 bytes, put together here. It uses IEEE
 * float32 additions and multiplications in a fixed order: the same bits on every machine.
 *
 * Measured on one core of a shared 2-core machine: about 10 thousand million multiply-adds a second at d = 384, where
 * blocked loops in JavaScript reach 2.
 */

const QUERY_ROWS = 2; // rows of a and b that one pass handles: 2 × 4 running sums stay in 16 vector registers
const GALLERY_ROWS = 4;
const LANES = 4; // float32 numbers in a vector register
const BYTES = 16; // … and their bytes

// Node has it; its type otherwise comes with the browser's library only, which this project does not load.
declare const WebAssembly: {
  readonly Memory: new (size: { initial: number }) => { readonly buffer: ArrayBuffer };
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object, imports: object) => { readonly exports: Readonly<Record<string, unknown>> };
};

/** A module with one function over an imported memory; see `body` for what it does. */
function assemble(): Uint8Array {
  // Opcodes: WebAssembly core specification 2.0, binary format, instructions.
  const [I32, V128] = [0x7f, 0x7b];
  const get = (local: number) => [0x20, local];
  const set = (local: number) => [0x21, local];
  const i32 = (value: number) => [0x41, value]; // −64 … 63 in one byte
  const [add, multiply, less, float32Add] = [[0x6a], [0x6c], [0x49], [0x92]];
  const [loop, repeatIf, end] = [[0x03, 0x40], [0x0d, 0x00], [0x0b]];
  const loadVector = [0xfd, 0x00, 4, 0]; // aligned to 2⁴, offset 0
  const zeroVector = [0xfd, 0x0c, ...new Array<number>(BYTES).fill(0)];
  const lane = (i: number) => [0xfd, 0x1f, i];
  const [addVectors, multiplyVectors] = [
    [0xfd, 0xe4, 0x01],
    [0xfd, 0xe6, 0x01],
  ];
  const storeFloat = (offset: number) => [0x38, 2, offset];

  // Parameters, all byte addresses or lengths: two rows a, the rows b up to `stop`, the length of a row, and where the
  // results of the first row go and how far below them those of the second.
  const [a, b, stop, rowBytes, out, outBytes] = [0, 1, 2, 3, 4, 5];
  const queries = [6, 7]; // pointers into the two rows of a
  const galleries = [8, 9, 10, 11]; // … and into four rows of b
  const rowEnd = 12;
  const x = [13, 14]; // vectors
  const y = 15;
  const sum = (r: number, c: number) => 16 + r * GALLERY_ROWS + c;

  const range = (n: number) => Array.from({ length: n }, (_, i) => i);
  const advance = (pointer: number) => [...get(pointer), ...i32(BYTES), ...add, ...set(pointer)];
  const body = [
    ...loop, // over four rows of b at a time
    ...queries.flatMap((p, r) => [...get(a), ...i32(r), ...get(rowBytes), ...multiply, ...add, ...set(p)]),
    ...galleries.flatMap((p, c) => [...get(b), ...i32(c), ...get(rowBytes), ...multiply, ...add, ...set(p)]),
    ...get(a),
    ...get(rowBytes),
    ...add,
    ...set(rowEnd),
    ...range(QUERY_ROWS * GALLERY_ROWS).flatMap((i) => [...zeroVector, ...set(sum(0, i))]),
    ...loop, // over the row, four numbers at a time
    ...queries.flatMap((p, r) => [...get(p), ...loadVector, ...set(x[r]), ...advance(p)]),
    ...galleries.flatMap((p, c) => [
      ...[...get(p), ...loadVector, ...set(y), ...advance(p)],
      ...x.flatMap((row, r) => [
        ...[...get(sum(r, c)), ...get(row), ...get(y)],
        ...[...multiplyVectors, ...addVectors, ...set(sum(r, c))],
      ]),
    ]),
    ...[...get(queries[0]), ...get(rowEnd), ...less, ...repeatIf],
    ...end,
    ...range(QUERY_ROWS).flatMap((r) =>
      range(GALLERY_ROWS).flatMap((c) => [
        ...[...get(out), ...get(outBytes), ...i32(r), ...multiply, ...add],
        ...range(LANES).flatMap((i) => [...get(sum(r, c)), ...lane(i), ...(i > 0 ? float32Add : [])]),
        ...storeFloat(4 * c),
      ]),
    ),
    ...[...get(galleries[3]), ...set(b)], // the fourth pointer has come to the next four rows
    ...advance(out),
    ...[...get(b), ...get(stop), ...less, ...repeatIf],
    ...end,
    ...end,
  ];

  const count = (n: number) => (n < 128 ? [n] : [(n & 127) | 128, n >> 7]); // LEB128 up to 16,383
  const section = (id: number, content: number[]) => [id, ...count(content.length), ...content];
  const text = (name: string) => [name.length, ...Buffer.from(name)];
  const locals = [2, 7, I32, 11, V128];
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0], // magic and version
    ...section(1, [1, 0x60, 6, I32, I32, I32, I32, I32, I32, 0]), // type: six integers to nothing
    ...section(2, [1, ...text("m"), ...text("memory"), 0x02, 0x00, 1]), // import a memory of at least one page
    ...section(3, [1, 0]), // one function of that type
    ...section(7, [1, ...text("dot"), 0x00, 0]), // export it
    ...section(10, [1, ...count(locals.length + body.length), ...locals, ...body]),
  ]);
}

const up = (n: number, multiple: number): number => Math.ceil(n / multiple) * multiple;

/** Computes blocks of dot products; made once for given sizes. */
export interface DotBlocks {
  /**
   * out[i · width + j] = a[i] · b[j] for the rows a[i] of `queries` and b[j] of `gallery`.
   *
   * @param queries [up to queryRows, d]
   * @param gallery [any, d]
   * @param out     [queries, width]  width at least the rows of the gallery
   */
  readonly multiply: (queries: Float32Array, gallery: Float32Array, out: Float32Array, width: number) => void;
}

/** Room for `queryRows` vectors of width d at once; the gallery passes through in tiles that fit the cache. */
export function dotBlocks(d: number, queryRows: number): DotBlocks {
  const row = up(d, LANES); // padded with zeros, which add nothing
  const tile = up(Math.min(1024, Math.max(GALLERY_ROWS, Math.floor(65536 / row))), GALLERY_ROWS);
  const height = up(queryRows, QUERY_ROWS);
  const at = { queries: 0, gallery: 4 * height * row, out: 4 * (height + tile) * row };
  const memory = new WebAssembly.Memory({ initial: Math.ceil((at.out + 4 * height * tile) / 65536) });
  const instance = new WebAssembly.Instance(new WebAssembly.Module(assemble()), { m: { memory } });
  const dot = instance.exports.dot as (...addresses: number[]) => void;
  const floats = new Float32Array(memory.buffer);

  const put = (address: number, from: Float32Array, first: number, rows: number, room: number): void => {
    floats.fill(0, address / 4, address / 4 + room * row);
    for (let i = 0; i < rows; i++)
      floats.set(from.subarray((first + i) * d, (first + i + 1) * d), address / 4 + i * row);
  };

  const multiply = (queries: Float32Array, gallery: Float32Array, out: Float32Array, width: number): void => {
    const q = queries.length / d;
    const n = gallery.length / d;
    put(at.queries, queries, 0, q, height);
    for (let first = 0; first < n; first += tile) {
      const rows = Math.min(tile, n - first);
      const stop = at.gallery + 4 * up(rows, GALLERY_ROWS) * row;
      put(at.gallery, gallery, first, rows, up(rows, GALLERY_ROWS));
      for (let i = 0; i < q; i += QUERY_ROWS) {
        dot(at.queries + 4 * i * row, at.gallery, stop, 4 * row, at.out + 4 * i * tile, 4 * tile);
      }
      for (let i = 0; i < q; i++) {
        const from = at.out / 4 + i * tile;
        out.set(floats.subarray(from, from + rows), i * width + first);
      }
    }
  };
  return { multiply };
}
