/**
 * Finds special tokens in raw text before it is tokenized. Longer texts go first, each from left to right in what is
 * still free, as llama.cpp does; but in one pass over the text whatever the number of special tokens (gemma has 6,000).
 */
import { attributes, tokenText, type Vocabulary } from "./vocab.js";

/** Alternately raw text and tokens: `[from, to)` is text, or a token when `id` >= 0. */
export interface Fragment {
  readonly from: number;
  readonly to: number;
  readonly id: number;
}

/** Where control tokens may be recognised: nowhere, everywhere, or outside these sorted byte ranges (pairs). */
export type ParseSpecial = boolean | { readonly exceptIn: readonly number[] };

interface TrieNode {
  readonly next: Map<number, TrieNode>;
  /** The special token that ends here. */
  special: Special | undefined;
  /** Nearest special token that ends on the way here: the next shorter candidate. */
  shorter: Special | undefined;
}

interface Special {
  readonly id: number;
  readonly length: number;
  /** Never recognised in what a user wrote. */
  readonly guarded: boolean;
  readonly strip: number;
  shorter: Special | undefined;
}

export class Partitioner {
  readonly #root: TrieNode = { next: new Map(), special: undefined, shorter: undefined };
  readonly #first = new Uint8Array(256);
  #guardedOnly = true;

  constructor(vocabulary: Vocabulary) {
    const guardedBits = attributes.control | attributes.unknown;
    for (let id = 0; id < vocabulary.size; id++) {
      const bits = vocabulary.attributes[id]!;
      if ((bits & (guardedBits | attributes.user)) === 0) continue;
      const guarded = (bits & guardedBits) !== 0;
      if (!guarded) this.#guardedOnly = false;
      const text = Buffer.from(tokenText(vocabulary, id), "utf8");
      const strip = bits & (attributes.stripLeft | attributes.stripRight);
      this.#add(text, { id, length: text.length, guarded, strip, shorter: undefined });
    }
    this.#link();
  }

  #add(text: Uint8Array, special: Special): void {
    this.#first[text[0]!] = 1;
    let node = this.#root;
    for (const byte of text) {
      let next = node.next.get(byte);
      if (next === undefined) {
        next = { next: new Map(), special: undefined, shorter: undefined };
        node.next.set(byte, next);
      }
      node = next;
    }
    node.special ??= special;
  }

  #link(): void {
    const pending: TrieNode[] = [this.#root];
    for (let node = pending.pop(); node !== undefined; node = pending.pop()) {
      if (node.special !== undefined) node.special.shorter = node.shorter;
      for (const next of node.next.values()) {
        next.shorter = node.special ?? node.shorter;
        pending.push(next);
      }
    }
  }

  /** Cuts UTF-8 text; fragments come in order and cover everything but stripped white space. */
  partition(text: Uint8Array, parse: ParseSpecial): Fragment[] {
    if (text.length === 0) return [];
    const all: Fragment[] = [{ from: 0, to: text.length, id: -1 }];
    if (parse === false && this.#guardedOnly) return all;
    const guard = new UserRanges(parse);

    // Longest special at each position where one begins, and which lengths occur at all.
    const starts: number[] = [];
    const deepest: Special[] = [];
    const lengths = new Set<number>();
    for (let at = 0; at < text.length; at++) {
      if (this.#first[text[at]!] === 0) continue;
      const longest = this.#longestAt(text, at);
      if (longest === undefined) continue;
      starts.push(at);
      deepest.push(longest);
      for (let s: Special | undefined = longest; s !== undefined; s = s.shorter) lengths.add(s.length);
    }
    if (starts.length === 0) return all;

    const claimed = new Uint8Array(text.length);
    const found: Fragment[] = [];
    for (const length of [...lengths].sort((a, b) => b - a)) {
      const candidates: { at: number; special: Special }[] = [];
      for (let i = 0; i < starts.length; i++) {
        const at = starts[i]!;
        if (claimed[at] === 1) continue;
        let s: Special | undefined = deepest[i];
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
    let node: TrieNode | undefined = this.#root;
    let longest: Special | undefined;
    for (let i = at; i < text.length; i++) {
      node = node.next.get(text[i]!);
      if (node === undefined) break;
      if (node.special !== undefined) longest = node.special;
    }
    return longest;
  }
}

/** Answers in rising order of position are not needed: ranges are few (one a message). */
class UserRanges {
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
