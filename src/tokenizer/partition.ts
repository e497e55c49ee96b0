/**
 * Finds special tokens in raw text before it is tokenized. Longer texts go first, each from left to right in what is
 * still free, as llama.cpp does; but in one pass over the text whatever the number of special tokens (gemma has 6,000).
 */
import { attributes, invalid, isGuarded, tokenText, type Vocabulary } from "./vocab.js";

/** Alternately raw text and tokens: `[from, to)` is text, or a token when `id` >= 0. */
export interface Fragment {
  readonly from: number;
  readonly to: number;
  readonly id: number;
}

/** Where control tokens may be recognised: nowhere, everywhere, or outside these sorted byte ranges (pairs). */
export type ParseSpecial = boolean | { readonly exceptIn: readonly number[] };

interface Special {
  readonly id: number;
  readonly length: number;
  /** Never recognised in what a user wrote. */
  readonly guarded: boolean;
  readonly strip: number;
  /** The longest other special that this one begins with. */
  shorter: Special | undefined;
}

/** Special tokens together: gemma's 6,000 take 70 KB; more than this is a hostile file. */
const maxSpecialBytes = 1 << 24;

/** Prefix tree over bytes in typed arrays (13 bytes a node): children are linked lists of siblings. */
class ByteTrie {
  #child = new Int32Array(256);
  #sibling = new Int32Array(256);
  /** Number of the special that ends here + 1. */
  #special = new Int32Array(256);
  #byte = new Uint8Array(256);
  #count = 1;

  /** Child of `node` by `byte`, or 0. The root is node 0. */
  next(node: number, byte: number): number {
    let at = this.#child[node]!;
    while (at !== 0 && this.#byte[at] !== byte) at = this.#sibling[at]!;
    return at;
  }

  /** Number of the special that ends at `node`, or -1. */
  special(node: number): number {
    return this.#special[node]! - 1;
  }

  /** The first of equal texts stays. */
  add(text: Uint8Array, special: number): void {
    let node = 0;
    for (const byte of text) {
      let next = this.next(node, byte);
      if (next === 0) {
        next = this.#count++;
        if (next === this.#byte.length) this.#grow();
        this.#byte[next] = byte;
        this.#sibling[next] = this.#child[node]!;
        this.#child[node] = next;
      }
      node = next;
    }
    if (this.#special[node] === 0) this.#special[node] = special + 1;
  }

  #grow(): void {
    const wider = (old: Int32Array) => {
      const grown = new Int32Array(2 * old.length);
      grown.set(old);
      return grown;
    };
    this.#child = wider(this.#child);
    this.#sibling = wider(this.#sibling);
    this.#special = wider(this.#special);
    const bytes = new Uint8Array(2 * this.#byte.length);
    bytes.set(this.#byte);
    this.#byte = bytes;
  }
}

export class Partitioner {
  readonly #trie = new ByteTrie();
  readonly #specials: Special[] = [];
  /** Node of the trie for each first byte, 0 when no special begins with it. */
  readonly #first: Int32Array;
  #guardedOnly = true;

  /** @throws TOKENIZER_INVALID when the special tokens are absurdly long */
  constructor(vocabulary: Vocabulary) {
    const texts: Uint8Array[] = [];
    let total = 0;
    for (let id = 0; id < vocabulary.size; id++) {
      const bits = vocabulary.attributes[id]!;
      const guarded = isGuarded(bits);
      if (!guarded && (bits & attributes.user) === 0) continue;
      if (!guarded) this.#guardedOnly = false;
      total += vocabulary.pieces.end(id) - vocabulary.pieces.start(id);
      if (total > maxSpecialBytes) throw invalid(`special tokens have more than ${maxSpecialBytes} bytes of text`);
      const text = Buffer.from(tokenText(vocabulary, id), "utf8");
      const strip = bits & (attributes.stripLeft | attributes.stripRight);
      this.#trie.add(text, this.#specials.length);
      this.#specials.push({ id, length: text.length, guarded, strip, shorter: undefined });
      texts.push(text);
    }
    texts.forEach((text, i) => {
      this.#specials[i]!.shorter = this.#longestAt(text.subarray(0, -1), 0);
    });
    this.#first = Int32Array.from({ length: 256 }, (_, byte) => this.#trie.next(0, byte));
  }

  /** Cuts UTF-8 text; fragments come in order and cover everything but stripped white space. */
  partition(text: Uint8Array, parse: ParseSpecial): Fragment[] {
    if (text.length === 0) return [];
    const all: Fragment[] = [{ from: 0, to: text.length, id: -1 }];
    if (parse === false && this.#guardedOnly) return all;
    const guard = new UserRanges(parse);

    // Longest special at each position where one begins, and which lengths occur at all.
    let starts: { readonly at: number; readonly longest: Special }[] = [];
    const seen = new Set<Special>();
    const lengths = new Set<number>();
    for (let at = 0; at < text.length; at++) {
      if (this.#first[text[at]!] === 0) continue;
      const longest = this.#longestAt(text, at);
      if (longest === undefined) continue;
      starts.push({ at, longest });
      for (let s: Special | undefined = longest; s !== undefined && !seen.has(s); s = s.shorter) {
        seen.add(s);
        lengths.add(s.length);
      }
    }
    if (starts.length === 0) return all;

    const claimed = new Uint8Array(text.length);
    const found: Fragment[] = [];
    for (const length of [...lengths].sort((a, b) => b - a)) {
      const candidates: { at: number; special: Special }[] = [];
      starts = starts.filter(({ at }) => claimed[at] === 0);
      for (const { at, longest } of starts) {
        let s: Special | undefined = longest;
        while (s !== undefined && s.length > length) s = s.shorter;
        if (s?.length !== length || (s.guarded && !guard.allows(at, at + length))) continue;
        candidates.push({ at, special: s });
      }
      // Equal lengths: one token after the other, by id.
      candidates.sort((a, b) => a.special.id - b.special.id || a.at - b.at);
      for (const { at, special } of candidates) {
        // What is claimed is at least this long or touches such a region, so the two ends tell.
        if (claimed[at] === 1 || claimed[at + length - 1] === 1) continue;
        let [from, to] = [at, at + length];
        if (special.strip & attributes.stripLeft) while (from > 0 && isFreeSpace(text, claimed, from - 1)) from--;
        if (special.strip & attributes.stripRight) while (to < text.length && isFreeSpace(text, claimed, to)) to++;
        claimed.fill(1, from, to);
        found.push({ from, to, id: special.id });
      }
    }
    return withText(found, text.length);
  }

  #longestAt(text: Uint8Array, at: number): Special | undefined {
    let longest = -1;
    let node = 0;
    for (let i = at; i < text.length; i++) {
      node = this.#trie.next(node, text[i]!);
      if (node === 0) break;
      const special = this.#trie.special(node);
      if (special >= 0) longest = special;
    }
    return this.#specials[longest];
  }
}

/** Where a user wrote: sorted ranges, searched by halving. */
export class UserRanges {
  readonly #ranges: readonly number[];
  readonly #always: boolean;

  constructor(parse: ParseSpecial) {
    this.#always = parse === true;
    this.#ranges = typeof parse === "object" ? parse.exceptIn : [0, Number.POSITIVE_INFINITY];
  }

  /** True when `[from, to)` has no byte of a user's. */
  allows(from: number, to: number): boolean {
    if (this.#always) return true;
    // First range that ends after `from`.
    let [low, high] = [0, this.#ranges.length / 2];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#ranges[2 * middle + 1]! > from) high = middle;
      else low = middle + 1;
    }
    return 2 * low >= this.#ranges.length || this.#ranges[2 * low]! >= to;
  }
}

function isFreeSpace(text: Uint8Array, claimed: Uint8Array, at: number): boolean {
  const byte = text[at]!;
  return claimed[at] === 0 && (byte === 0x20 || (byte >= 9 && byte <= 13));
}

function withText(found: Fragment[], length: number): Fragment[] {
  found.sort((a, b) => a.from - b.from);
  const out: Fragment[] = [];
  let at = 0;
  for (const token of found) {
    if (token.from > at) out.push({ from: at, to: token.from, id: -1 });
    out.push(token);
    at = token.to;
  }
  if (at < length) out.push({ from: at, to: length, id: -1 });
  return out;
}
