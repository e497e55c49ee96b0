/** Random bytes at memory speed: a pool of each kind is made once, and tensors are runs from random places of it. */
import { seededWords } from "../random.js";

/** Runs begin at multiples of it: of every size of elements there is, codes of three bits in three words included. */
const step = 192;
const poolBytes = 512 * step;

export class Pools {
  readonly #seed: number;
  readonly #made = new Map<string, Uint8Array>();

  constructor(seed: number) {
    this.#seed = seed;
  }

  /** A pool by its name, filled when it is first asked for. */
  of(name: string, fill: (out: Uint8Array, words: () => number) => void): Uint8Array {
    let pool = this.#made.get(name);
    if (pool === undefined) {
      pool = new Uint8Array(poolBytes);
      fill(pool, seededWords(this.#seed, name));
      this.#made.set(name, pool);
    }
    return pool;
  }

  /** So many bytes of a pool, the same for the same tensor. */
  *run(pool: Uint8Array, tensor: string, bytes: number): Generator<Uint8Array> {
    const words = seededWords(this.#seed, tensor);
    for (let done = 0; done < bytes; ) {
      const from = (words() % (poolBytes / 2 / step)) * step;
      const count = Math.min(bytes - done, poolBytes / 2);
      yield pool.subarray(from, from + count);
      done += count;
    }
  }
}
