/** Sets of tokens as a sampler takes them. */
import type { AllowedTokens } from "../allowed.js";
import type { ConstraintVocabulary } from "./vocabulary.js";

/** Up to so many tokens are a list: whoever samples gathers them and looks at no other. */
const fewTokens = 1024;

/** Few tokens, by their number. */
class TokenList implements AllowedTokens {
  /** Ascending. */
  readonly ids: Int32Array;
  private readonly size: number;
  private made: Uint32Array | undefined;

  constructor(ids: Int32Array, size: number) {
    this.ids = ids;
    this.size = size;
  }

  get count(): number {
    return this.ids.length;
  }

  get bytes(): number {
    return this.ids.byteLength + 300;
  }

  has(id: number): boolean {
    const { ids } = this;
    let low = 0;
    let high = ids.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (ids[middle]! < id) low = middle + 1;
      else high = middle;
    }
    return ids[low] === id;
  }

  get bits(): Uint32Array {
    if (this.made === undefined) {
      this.made = new Uint32Array(Math.ceil(this.size / 32));
      for (const id of this.ids) setBit(this.made, id);
    }
    return this.made;
  }
}

class TokenBits implements AllowedTokens {
  readonly bits: Uint32Array;
  readonly count: number;
  readonly ids = undefined;
  banned?: Uint8Array;

  constructor(bits: Uint32Array, count: number) {
    this.bits = bits;
    this.count = count;
  }

  /** Memory held, with the byte a token that a scan makes of it. */
  get bytes(): number {
    return this.bits.byteLength + 32 * this.bits.length + 200;
  }

  has(id: number): boolean {
    return ((this.bits[id >> 5]! >>> (id & 31)) & 1) === 1;
  }
}

/** @param bits another's: a copy is kept  @param size of the vocabulary */
export function tokensOf(bits: Uint32Array, size: number): AllowedTokens {
  const count = countBits(bits);
  return count <= fewTokens ? new TokenList(listBits(bits, count), size) : new TokenBits(bits.slice(), count);
}

/** All tokens but these. */
export function banTokens({ size }: ConstraintVocabulary, banned: readonly number[]): AllowedTokens {
  const bits = new Uint32Array(Math.ceil(size / 32)).fill(0xffffffff);
  if (size % 32 !== 0) bits[bits.length - 1] = 2 ** (size % 32) - 1;
  for (const id of banned) bits[id >> 5]! &= ~(1 << (id & 31));
  return new TokenBits(bits, countBits(bits));
}

/** The ends of generation and nothing else. */
export function onlyEnds({ size, endOfGeneration }: ConstraintVocabulary): AllowedTokens {
  return new TokenList(endOfGeneration.slice().sort(), size);
}

export function setBit(bits: Uint32Array, id: number): void {
  bits[id >> 5]! |= 1 << (id & 31);
}

function countBits(bits: Uint32Array): number {
  let count = 0;
  for (let i = 0; i < bits.length; i++) {
    let word = bits[i]!;
    if (word === 0) continue;
    word -= (word >>> 1) & 0x55555555;
    word = (word & 0x33333333) + ((word >>> 2) & 0x33333333);
    count += Math.imul((word + (word >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
  }
  return count;
}

function listBits(bits: Uint32Array, count: number): Int32Array {
  const out = new Int32Array(count);
  let n = 0;
  for (let w = 0; n < count; w++) {
    for (let word = bits[w]!; word !== 0; word &= word - 1) {
      out[n++] = 32 * w + (31 - Math.clz32(word & -word));
    }
  }
  return out;
}
