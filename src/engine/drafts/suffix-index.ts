/**
 * Where the end of a sequence of tokens stood before: the longest of its suffixes that occurs earlier. Positions with
 * the same last tokens hang in chains, as in LZ77 (RFC 1951, section 4), so that a token costs a few comparisons.
 */

/** The first length is tried first. A chain of the second is asked only where the first has nothing. */
const lengths = [4, 2] as const;
/** Candidates of a chain that are looked at, the newest first. */
const mostCandidates = [48, 16] as const;
/** A longer match is no better. */
const longestMatch = 64;
const headBits = 14;

interface Chain {
  /** The newest position by the hash of the tokens before it, plus one [2^headBits]. */
  readonly heads: Int32Array;
  /** The position before with the same hash, plus one [capacity]. */
  older: Int32Array;
}

/** Bytes of an index that has room for so many tokens, a power of two from 256 on. */
export function suffixIndexBytes(tokens: number): number {
  return 4 * (tokens + lengths.length * (tokens + (1 << headBits)));
}

export interface SuffixMatch {
  /** Behind the earlier occurrence: the token there came next. */
  readonly at: number;
  /** Tokens that agree, at most 64. */
  readonly length: number;
}

export class SuffixIndex {
  length = 0;
  private tokens = new Int32Array(256);
  private readonly chains: readonly Chain[] = lengths.map(() => ({
    heads: new Int32Array(1 << headBits),
    older: new Int32Array(256),
  }));

  push(token: number): void {
    if (this.length === this.tokens.length) this.grow();
    this.tokens[this.length++] = token;
    // The suffix that ended with the token before is found from now on: it has something behind it.
    const end = this.length - 1;
    for (const [c, { heads, older }] of this.chains.entries()) {
      if (end < lengths[c]!) continue;
      const slot = this.hash(end, lengths[c]!);
      older[end] = heads[slot]!;
      heads[slot] = end + 1;
    }
  }

  at(position: number): number {
    return this.tokens[position]!;
  }

  /** The tokens from a position on; a copy. */
  slice(from: number): Int32Array {
    return this.tokens.slice(from, this.length);
  }

  /**
   * The longest suffix of a text that stood here before, of equal ones the newest; undefined below two tokens.
   * @param text default: this one
   */
  longest(text: SuffixIndex = this): SuffixMatch | undefined {
    for (const [c, chain] of this.chains.entries()) {
      const found = this.longestOf(text, chain, lengths[c]!, mostCandidates[c]!);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  private longestOf(
    text: SuffixIndex,
    { heads, older }: Chain,
    least: number,
    candidates: number,
  ): SuffixMatch | undefined {
    if (text.length < least) return undefined;
    let best: SuffixMatch | undefined;
    let next = heads[text.hash(text.length, least)]!;
    for (let tried = 0; next > 0 && tried < candidates; tried++) {
      const at = next - 1;
      const length = this.agreeing(at, text);
      if (length >= least && length > (best?.length ?? 0)) best = { at, length };
      if (length === longestMatch) break;
      next = older[at]!;
    }
    return best;
  }

  /** How many tokens before `at` are those at the end of the text. */
  private agreeing(at: number, text: SuffixIndex): number {
    const most = Math.min(longestMatch, at, text.length);
    let length = 0;
    while (length < most && this.tokens[at - 1 - length] === text.tokens[text.length - 1 - length]) length++;
    return length;
  }

  /** The hash of the `count` tokens before `end`. */
  private hash(end: number, count: number): number {
    let hash = 0;
    for (let i = end - count; i < end; i++) hash = Math.imul(hash ^ this.tokens[i]!, 0x9e3779b1) + (hash >>> 15);
    return hash >>> (32 - headBits);
  }

  private grow(): void {
    const twice = (array: Int32Array): Int32Array<ArrayBuffer> => {
      const larger = new Int32Array(2 * array.length);
      larger.set(array);
      return larger;
    };
    this.tokens = twice(this.tokens);
    for (const chain of this.chains) chain.older = twice(chain.older);
  }
}
