/**
 * Tensor bytes at memory speed: a few megabytes of random blocks are made once for each type and deviation, and tensors
 * are short runs from random places of that pool, shorter than a row where rows have to differ.
 */
import type { Dtype } from "../formats/index.js";
import { randomBlocks } from "./blocks.js";
import { seededWords } from "./random.js";

const poolBytes = 2 << 20;
const chunkBytes = 2 << 20;

export interface Fill {
  readonly mean: number;
  readonly deviation: number;
}

interface Pool {
  /** The pool, then room for one chunk: copies within one buffer cost no view. */
  readonly memory: Uint8Array;
  readonly blocks: number;
}

export class RandomTensors {
  readonly #seed: number;
  readonly #pools = new Map<string, Pool>();

  constructor(seed: number) {
    this.#seed = seed;
  }

  #pool(dtype: Dtype, { mean, deviation }: Fill): Pool {
    const key = `${dtype.name} ${mean} ${deviation}`;
    const known = this.#pools.get(key);
    if (known !== undefined) return known;
    const blocks = randomBlocks(dtype, poolBytes, mean, deviation, this.#seed);
    const memory = new Uint8Array(blocks.length + chunkBytes);
    memory.set(blocks);
    const pool = { memory, blocks: blocks.length / dtype.blockBytes };
    this.#pools.set(key, pool);
    return pool;
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
    const { memory, blocks } = this.#pool(dtype, fill);
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
        const from = (words() % starts) * blockBytes;
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
