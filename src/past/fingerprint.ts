/**
 * Tells what a past follows from besides tokens: the program with all its numbers (rope factors, scales, adapters), the
 * types and places of the weights and samples of their bytes, KV types, numeric version, implementation. Two models
 * that differ in any of it have different fingerprints. Whole files are not read: of every tensor a few hundred bytes
 * are, and the times of the files count where a store lies beside other models' pasts.
 */
import { createHash, type Hash } from "node:crypto";
import { closeSync, openSync, readSync, statSync } from "node:fs";
import type { Extent } from "../formats/layouts.js";
import type { ModelDescription } from "../models/index.js";
import { numericVersion } from "../ops/numeric-version.js";

export interface Fingerprint {
  /** The same for a copy of the model elsewhere. */
  readonly content: string;
  /** Another one also when a file was written again. */
  readonly strict: string;
}

export interface Fingerprinted {
  readonly description: ModelDescription;
  /** The files of the model. */
  readonly files: readonly { readonly path: string; readonly bytes: number }[];
  /** Where adapters' numbers lie. */
  readonly adapterExtents: readonly Extent[];
  readonly kvType: string;
  /** `native` or `reference`: instruction sets have the same bits. */
  readonly ops: string;
}

/** Bytes of a tensor that are looked at, in its middle. */
const sampleBytes = 512;

/** @throws FILE_IO and what node:fs throws when a file is gone */
export function fingerprintOf(asked: Fingerprinted): Fingerprint {
  const { description, files, adapterExtents, kvType, ops } = asked;
  const hash = createHash("sha256");
  hash.update(`past 2, numbers ${numericVersion}, ${ops}, ${kvType}, ${description.arch}\n`);
  // Programs bound beside the trunk change no bit of what it keeps.
  const { config, program, states, slotLayers, tensors } = description;
  new Structure(hash).add([config, program, states, slotLayers]);
  for (const { bytes } of files) hash.update(`${bytes} `);
  const samples = new Samples(hash);
  try {
    for (const { name, info } of tensors) {
      hash.update(`\n${name} ${info.layout.name} ${info.shape.join("x")} `);
      for (const plane of Object.values(info.planes)) samples.add(plane);
    }
    samples.add(adapterExtents, true);
  } finally {
    samples.close();
  }
  const content = hash.copy().digest("hex");
  for (const { path } of files) hash.update(`${statSync(path, { bigint: true }).mtimeNs} `);
  return { content, strict: hash.digest("hex") };
}

/** Reads a little of every tensor. */
class Samples {
  private readonly hash: Hash;
  private readonly files = new Map<string, number>();
  private readonly buffer = Buffer.alloc(sampleBytes);

  constructor(hash: Hash) {
    this.hash = hash;
  }

  /** @param each of all extents; else of the middle one */
  add(extents: readonly Extent[], each = false): void {
    const chosen = each ? extents : extents.slice(extents.length >> 1, (extents.length >> 1) + 1);
    for (const { file, offset, bytes } of chosen) {
      let descriptor = this.files.get(file);
      if (descriptor === undefined) {
        descriptor = openSync(file, "r");
        this.files.set(file, descriptor);
      }
      const length = Math.min(sampleBytes, bytes);
      const read = readSync(descriptor, this.buffer, 0, length, offset + Math.floor((bytes - length) / 2));
      this.hash.update(this.buffer.subarray(0, read)).update(`${bytes} `);
    }
  }

  close(): void {
    for (const descriptor of this.files.values()) closeSync(descriptor);
  }
}

/** Hashes values of any shape; an object that comes again is its number. Paths are left out: files may be moved. */
class Structure {
  private readonly hash: Hash;
  private readonly seen = new Map<object, number>();

  constructor(hash: Hash) {
    this.hash = hash;
  }

  add(value: unknown): void {
    if (typeof value !== "object" || value === null) {
      this.hash.update(typeof value === "function" ? "f;" : `${typeof value} ${String(value)};`);
      return;
    }
    const known = this.seen.get(value);
    if (known !== undefined) {
      this.hash.update(`#${known};`);
      return;
    }
    this.seen.set(value, this.seen.size);
    if (ArrayBuffer.isView(value)) {
      this.hash.update(new Uint8Array(value.buffer, value.byteOffset, value.byteLength));
      return;
    }
    const entries = value instanceof Map || value instanceof Set ? [...value] : Object.entries(value);
    this.hash.update(`${entries.length}{`);
    for (const entry of entries)
      if (Array.isArray(entry) && typeof entry[0] === "string") {
        if (entry[0] === "file" || entry[0] === "path") continue;
        this.hash.update(`${entry[0]}:`);
        this.add(entry[1]);
      } else this.add(entry);
    this.hash.update("}");
  }
}
