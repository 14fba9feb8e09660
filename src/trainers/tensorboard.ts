/**
 * A run's log as TensorBoard reads it: one file of scalars beside log.jsonl. Framing is TFRecord's, the message is the
 * `Event` of TensorFlow's event.proto with the fields that scalars need.
 */
import { appendFileSync } from "node:fs";
import { join } from "node:path";
import protobuf from "protobufjs";
import { systemError, writeAtomic } from "../files.js";
import type { LogLine } from "./pretrain.js";

const SCHEMA = `
  syntax = "proto3";
  message Value { string tag = 1; float simple_value = 2; }
  message Summary { repeated Value value = 1; }
  message Event { double wall_time = 1; int64 step = 2; oneof what { string file_version = 3; Summary summary = 5; } }
`;
const Event = protobuf.parse(SCHEMA, { keepCase: true }).root.lookupType("Event");

/** CRC-32C (Castagnoli, reflected polynomial 0x82F63B78) of each byte. */
const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  return crc;
});

/** CRC-32C (RFC 3720, B.4): 0xE3069283 of the nine bytes "123456789". */
export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (crc >>> 8) ^ TABLE[(crc ^ byte) & 0xff];
  return (crc ^ 0xffffffff) >>> 0;
}

/** What TFRecord stores: the checksum turned right by 15 bits, plus a constant, so that a record may hold checksums itself. */
export function maskedCrc32c(bytes: Uint8Array): number {
  const crc = crc32c(bytes);
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}

/** One record: length (uint64), its masked CRC, the bytes, theirs; all little endian. */
function record(data: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(16 + data.length);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, BigInt(data.length), true);
  view.setUint32(8, maskedCrc32c(bytes.subarray(0, 8)), true);
  bytes.set(data, 12);
  view.setUint32(12 + data.length, maskedCrc32c(data), true);
  return bytes;
}

const event = (fields: object): Uint8Array => record(Event.encode(Event.fromObject(fields)).finish());

/** Numbers of a line that say how fast a step was; the others say what it did. */
const SPEED = ["secondsPerStep", "inputSeconds", "inputShare"];

/** The scalars of a line: loss and its terms as `train/…`, times as `speed/…`. */
function scalars(line: LogLine): { tag: string; simple_value: number }[] {
  return Object.entries(line).flatMap(([name, value]) => {
    if (typeof value !== "number" || name === "step") return [];
    return [{ tag: `${SPEED.includes(name) ? "speed" : "train"}/${name}`, simple_value: value }];
  });
}

/**
 * The records of some lines of a log, one for each step.
 *
 * @param from seconds since 1970 when the first of them began; each line then takes its own `secondsPerStep`
 */
export function encodeEvents(lines: readonly LogLine[], from: number): { bytes: Uint8Array; until: number } {
  let wallTime = from;
  const records = lines.map((line) => {
    wallTime += line.secondsPerStep;
    return event({ wall_time: wallTime, step: line.step, summary: { value: scalars(line) } });
  });
  return { bytes: Buffer.concat(records), until: wallTime };
}

/** The file's name: TensorBoard takes any that contains "tfevents". */
export const EVENTS = "events.out.tfevents.0.m3ret";

/** An event file that follows a log: written afresh when a run starts or goes on, then longer with every saved state. */
export class EventFile {
  readonly #path: string;
  #until: number;
  #written: number;

  /** @param log steps that are done already, when the run goes on at `now` (seconds since 1970) */
  constructor(folder: string, log: readonly LogLine[], now: number) {
    this.#path = join(folder, EVENTS);
    const before = now - log.reduce((sum, { secondsPerStep }) => sum + secondsPerStep, 0);
    const { bytes, until } = encodeEvents(log, before);
    writeAtomic(this.#path, event({ wall_time: before, file_version: "brain.Event:2" }), bytes);
    this.#until = until;
    this.#written = log.length;
  }

  /** Adds the lines that are not in it yet. */
  follow(log: readonly LogLine[]): void {
    const { bytes, until } = encodeEvents(log.slice(this.#written), this.#until);
    try {
      appendFileSync(this.#path, bytes);
    } catch (error) {
      throw systemError(this.#path, error);
    }
    this.#until = until;
    this.#written = log.length;
  }
}
