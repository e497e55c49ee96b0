/**
 * Tensor bytes at memory speed: a few megabytes of random blocks are made once for each type and deviation, and tensors
 * are short runs from random places of that pool, shorter than a row where rows have to differ.
 */
import type { Dtype } from "../formats/index.js";
import type { Fill } from "../models/flow/tensors.js";
import { fillNormal, randomBlocks } from "./blocks.js";
import { seededWords } from "./random.js";

const poolBytes = 2 << 20;
const chunkBytes = 2 << 20;

interface Pool {
  /** The pool, then room for one chunk: copies within one buffer cost no view. */
  readonly memory: Uint8Array;
  readonly blocks: number;
  /** Makes blocks `from` to `to` where they are not there yet. */
  readonly need: (from: number, to: number) => void;
}

/**
 * Floats are normal numbers, which take long: they are made so many at a time when a tensor wants them, and the last
 * few pools of them are kept for the next model.
 */
const floatsAtOnce = 2048;
const floatsKept = 12;

interface Floats {
  readonly bytes: Uint8Array;
  /** Which runs of `floatsAtOnce` are there. */
  readonly made: Uint8Array;
}
const kept = new Map<string, Floats>();

function floatsFor(key: string, dtype: Dtype): Floats {
  const count = Math.floor(poolBytes / dtype.blockBytes);
  const floats = kept.get(key) ?? {
    bytes: new Uint8Array(count * dtype.blockBytes),
    made: new Uint8Array(Math.ceil(count / floatsAtOnce)),
  };
  kept.delete(key);
  kept.set(key, floats);
  if (kept.size > floatsKept) kept.delete(kept.keys().next().value!);
  return floats;
}

export class RandomTensors {
  readonly #seed: number;
  readonly #pools = new Map<string, Pool>();

  constructor(seed: number) {
    this.#seed = seed;
  }

  #pool(dtype: Dtype, fill: Fill): Pool {
    const { mean, deviation, negative = false } = fill;
    const key = [dtype.name, mean, deviation, negative].join(" ");
    const known = this.#pools.get(key);
    if (known !== undefined) return known;
    const blocks = Math.floor(poolBytes / dtype.blockBytes);
    const memory = new Uint8Array(blocks * dtype.blockBytes + chunkBytes);
    const floats = dtype.blockValues === 1;
    const need = floats ? this.#floats(dtype, memory, fill, key) : () => {};
    if (!floats) memory.set(randomBlocks(dtype, poolBytes, mean, deviation, this.#seed));
    const pool: Pool = { memory, blocks, need };
    this.#pools.set(key, pool);
    return pool;
  }

  #floats(dtype: Dtype, memory: Uint8Array, fill: Fill, key: string): Pool["need"] {
    const { bytes, made } = floatsFor(`${this.#seed} ${key}`, dtype);
    const here = new Uint8Array(made.length);
    return (from, to) => {
      for (let part = Math.floor(from / floatsAtOnce); part * floatsAtOnce < to; part++) {
        if (here[part] !== 0) continue;
        here[part] = 1;
        const at = part * floatsAtOnce * dtype.blockBytes;
        const some = bytes.subarray(at, at + floatsAtOnce * dtype.blockBytes);
        if (made[part] === 0) fillNormal(dtype, some, part * floatsAtOnce, fill, this.#seed);
        made[part] = 1;
        memory.set(some, at);
      }
    };
  }

  /**
   * The bytes of a tensor in chunks, each valid until the next is asked for.
   * @param rowBytes runs are a third of a row, or a kilobyte unless `distinctRows`
   */
  *bytes(
    name: string,
    dtype: Dtype,
    fill: Fill,
    total: number,
    rowBytes: number,
    distinctRows: boolean,
  ): Generator<Uint8Array> {
    const { memory, blocks, need } = this.#pool(dtype, fill);
    const { blockBytes } = dtype;
    const words = seededWords(this.#seed, name);
    const third = Math.max(1, Math.floor(rowBytes / 3 / blockBytes));
    const kilobyte = Math.max(1, Math.round(1024 / blockBytes));
    const run = distinctRows ? Math.min(third, kilobyte) : kilobyte;
    const runBytes = run * blockBytes;
    const starts = blocks - run + 1;
    const base = blocks * blockBytes;
    const whole = Math.floor(chunkBytes / runBytes) * runBytes;
    for (let done = 0; done < total; done += whole) {
      const size = Math.min(whole, total - done);
      for (let at = 0; at < size; at += runBytes) {
        const start = words() % starts;
        need(start, start + run);
        const from = start * blockBytes;
        memory.copyWithin(base + at, from, from + Math.min(runBytes, size - at));
      }
      yield memory.subarray(base, base + size);
    }
  }

  /** An F32 matrix whose rows are scaled each by its factor.  @shape factors [rows] */
  scaledRows(name: string, dtype: Dtype, deviation: number, cols: number, factors: Float64Array): Uint8Array {
    const out = new Float32Array(cols * factors.length);
    const bytes = new Uint8Array(out.buffer);
    let at = 0;
    for (const chunk of this.bytes(name, dtype, { mean: 0, deviation }, bytes.length, cols * 4, true)) {
      bytes.set(chunk, at);
      at += chunk.length;
    }
    for (let i = 0; i < out.length; i++) out[i] = out[i]! * factors[Math.floor(i / cols)]!;
    return bytes;
  }
}
