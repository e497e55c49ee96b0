/** Small folders with the moments of a calibration, and what files of safetensors hold. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { calibrate } from "../../src/compress/calibrate.js";
import { momentTile, momentValues, openMoments, writeMoments } from "../../src/compress/moments.js";
import { openCheckpoint } from "../../src/containers/index.js";
import { describeModel } from "../../src/models/index.js";
import { logitsOf, openAdapted } from "../adapters/adapted.js";
import { type Fixture, readFixture, type Stored as StoredType } from "../huggingface/folder.js";
import { writeModelFolder } from "./fixture-folder.js";

export interface StoredTensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

/** The tensors of a safetensors file, each of which begins at a multiple of its cells. */
export function readTensors(path: string): Map<string, StoredTensor> {
  const file = readFileSync(path);
  const length = Number(file.readBigUInt64LE());
  const { __metadata__: _, ...header } = JSON.parse(file.subarray(8, 8 + length).toString());
  const cells: Readonly<Record<string, number>> = { I64: 8, I32: 4, F32: 4, F16: 2, BF16: 2 };
  return new Map(
    Object.entries(header as Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }>).map(
      ([
        name,
        {
          dtype,
          shape,
          data_offsets: [from, to],
        },
      ]) => {
        assert.equal((8 + length + from) % (cells[dtype] ?? 1), 0, `${name} is not aligned`);
        return [name, { dtype, shape, bytes: new Uint8Array(file.subarray(8 + length + from, 8 + length + to)) }];
      },
    ),
  );
}

/** Bits [from, from + count) of bytes, low bits first. */
export function field(bytes: Uint8Array, from: number, count: number): number {
  let value = 0;
  for (let i = 0; i < count; i++) value |= ((bytes[(from + i) >> 3]! >> ((from + i) & 7)) & 1) << i;
  return value;
}

export interface CalibratedFolder {
  readonly fixture: Fixture;
  readonly source: string;
  readonly moments: string;
}

/** A fixture as a folder, and the moments of 1,024 tokens. */
export async function calibratedFolder(at: string, name: string, dtype: StoredType): Promise<CalibratedFolder> {
  const fixture = readFixture(name);
  const source = writeModelFolder(join(at, `${name} ${dtype}`), fixture, dtype);
  const ids = Int32Array.from({ length: 1024 }, (_, i) => (i * i * 7 + i) % (fixture.config.vocab_size as number));
  const chunks = Array.from({ length: 16 }, (_, i) => ids.subarray(64 * i, 64 * i + 64));
  const calibration = await calibrate(describeModel(await openCheckpoint(source)), chunks, {
    chunkTokens: 64,
    momentBytes: 2 ** 28,
  });
  const moments = join(at, `${name} ${dtype}.moments.gguf`);
  await writeMoments(moments, calibration.moments!, calibration);
  return { fixture, source, moments };
}

/** X'X of what goes into a matrix, in full. @shape [cols][cols] */
export function fullMoments(path: string, matrix: string): Float64Array {
  const moments = openMoments(path);
  const entry = moments.entries.get(matrix)!;
  const { cols, block } = entry;
  const sums = moments.read(entry, 0);
  const tiles = block / momentTile;
  return Float64Array.from({ length: cols * cols }, (_, at) => {
    const [a, b] = [Math.floor(at / cols), at % cols];
    if (Math.floor(a / block) !== Math.floor(b / block)) return 0;
    const [i, j] = [Math.min(a, b) % block, Math.max(a, b) % block];
    const [p, q] = [Math.floor(i / momentTile), Math.floor(j / momentTile)];
    const tile = p * tiles - (p * (p - 1)) / 2 + q - p;
    const base = Math.floor(a / block) * momentValues(block);
    return sums[base + (tile * momentTile + (i % momentTile)) * momentTile + (j % momentTile)]!;
  });
}

export async function logitsOfFolder(path: string, { ids }: Fixture): Promise<readonly Float32Array[]> {
  const model = await openAdapted(path, []);
  try {
    return (await logitsOf(model, ids, [[]]))[0]!;
  } finally {
    model.close();
  }
}

/** The share of the rows' squares that their differences have. */
export function distance(a: readonly Float32Array[], b: readonly Float32Array[]): number {
  let [lost, all] = [0, 0];
  for (const [t, row] of a.entries())
    for (const [i, v] of row.entries()) {
      lost += (v - b[t]![i]!) ** 2;
      all += v * v;
    }
  return lost / all;
}
