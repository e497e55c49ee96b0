/**
 * Sequence breakers of DRY as tokens: a breaker is found where a token contains its text, or ends with the beginning of
 * it and is followed by the tokens of the rest.
 */
import { maxBreakers } from "./settings.js";

/** The part of a tokenizer that is needed here. */
export interface BreakerVocabulary {
  readonly size: number;
  readonly addSpacePrefix: boolean;
  pieceBytes(id: number, special?: boolean): Uint8Array;
  tokenKind(id: number): string;
  encode(text: string, options: { readonly addSpecial: boolean; readonly parseSpecial: boolean }): Int32Array;
}

/** llama.cpp's limits: the search for breakers stays linear in the history. */
const mostBytes = 40;
const maxTail = 20;

export class Breakers {
  /** 1 = the token is or contains a breaker, 2 = it begins one that goes on [vocab]. */
  private readonly marks: Uint8Array;
  /** Tokens that begin a breaker, ascending, and the index of what follows; a token may stand there several times. */
  private readonly heads: Int32Array;
  private readonly tailOf: Int32Array;
  private readonly tails: readonly Int32Array[];

  private constructor(marks: Uint8Array, heads: Int32Array, tailOf: Int32Array, tails: readonly Int32Array[]) {
    this.marks = marks;
    this.heads = heads;
    this.tailOf = tailOf;
    this.tails = tails;
  }

  static readonly none = new Breakers(new Uint8Array(0), new Int32Array(0), new Int32Array(0), []);

  /** Breakers given as tokens. */
  static ofTokens(sequences: readonly (readonly number[])[]): Breakers {
    const sorted = sequences.filter((s) => s.length > 0).sort((a, b) => a[0]! - b[0]!);
    const marks = new Uint8Array(Math.max(0, ...sorted.map((s) => s[0]! + 1)));
    const longer = sorted.filter((s) => s.length > 1);
    for (const [head] of sorted.filter((s) => s.length === 1)) marks[head!]! |= 1;
    for (const [head] of longer) marks[head!]! |= 2;
    return new Breakers(
      marks,
      Int32Array.from(longer, (s) => s[0]!),
      Int32Array.from(longer, (_, i) => i),
      longer.map((s) => Int32Array.from(s.slice(1))),
    );
  }

  /**
   * Breakers given as texts. The first time a vocabulary is asked this takes tens of milliseconds, later a few; the
   * last answers are kept.
   */
  static ofTexts(vocabulary: BreakerVocabulary, texts: readonly string[]): Breakers {
    const prefixes = texts.map((text) => Buffer.from(text, "utf8").subarray(0, mostBytes)).filter((b) => b.length > 0);
    if (prefixes.length === 0) return Breakers.none;
    let known = cache.get(vocabulary);
    if (known === undefined) {
      known = { texts: new VocabularyTexts(vocabulary), answers: new Map() };
      cache.set(vocabulary, known);
    }
    const key = prefixes.map((b) => b.toString("hex")).join();
    let breakers = known.answers.get(key);
    if (breakers === undefined) {
      breakers = Breakers.translate(vocabulary, known.texts, prefixes);
      if (known.answers.size >= maxAnswers) known.answers.delete(known.answers.keys().next().value!);
      known.answers.set(key, breakers);
    }
    return breakers;
  }

  private static translate(
    vocabulary: BreakerVocabulary,
    texts: VocabularyTexts,
    breakers: readonly Uint8Array[],
  ): Breakers {
    const { marks, heads, which, overlaps } = findOverlaps(texts, breakers);
    const tails: Int32Array[] = [];
    /** [breaker][bytes of it that are in the head] */
    const tailAfter: number[][] = breakers.map(() => []);
    const tailOf = new Int32Array(heads.length);
    for (const [i, head] of heads.entries()) {
      const known = tailAfter[which[i]!]!;
      const overlap = overlaps[i]!;
      known[overlap] ??= tails.push(tailOfText(vocabulary, breakers[which[i]!]!.subarray(overlap))) - 1;
      tailOf[i] = known[overlap];
      if (tails[tailOf[i]!]!.length === 0) marks[head]! |= 1;
    }
    return new Breakers(marks, heads, tailOf, tails);
  }

  /** Whether the token alone is, or contains, a breaker. */
  isSingle(id: number): boolean {
    return ((this.marks[id] ?? 0) & 1) !== 0;
  }

  /** Length of the longest rest of a breaker that begins at `at` and ends before `end`; -1 when none does. */
  tailAt(history: Int32Array, at: number, end: number): number {
    const id = history[at]!;
    const mark = this.marks[id] ?? 0;
    if (mark === 0) return -1;
    let longest = (mark & 1) !== 0 ? 0 : -1;
    if ((mark & 2) === 0) return longest;
    for (let i = this.firstOf(id); i < this.heads.length && this.heads[i] === id; i++) {
      const tail = this.tails[this.tailOf[i]!]!;
      if (tail.length <= longest || at + tail.length >= end) continue;
      let k = 0;
      while (k < tail.length && history[at + 1 + k] === tail[k]) k++;
      if (k === tail.length) longest = k;
    }
    return longest;
  }

  private firstOf(id: number): number {
    let low = 0;
    let high = this.heads.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.heads[middle]! < id) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

// A token may end inside a character: what is left of it counts as U+FFFD, as in llama.cpp.
const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });

function tailOfText(vocabulary: BreakerVocabulary, text: Uint8Array): Int32Array {
  return vocabulary.encode(utf8.decode(text), { addSpecial: false, parseSpecial: false }).slice(0, maxTail);
}

const maxAnswers = 8;
const cache = new WeakMap<BreakerVocabulary, { texts: VocabularyTexts; answers: Map<string, Breakers> }>();

/** The text that every token adds, in one piece: scanning a vocabulary takes milliseconds then. */
class VocabularyTexts {
  readonly bytes: Uint8Array;
  /** [size + 1] */
  readonly offsets: Int32Array;

  constructor(vocabulary: BreakerVocabulary) {
    const { size } = vocabulary;
    let bytes = new Uint8Array(8 * size);
    this.offsets = new Int32Array(size + 1);
    let end = 0;
    for (let id = 0; id < size; id++) {
      let piece = vocabulary.pieceBytes(id, true);
      // A word at the beginning of a text does not show its space.
      if (vocabulary.addSpacePrefix && piece[0] === 0x20 && vocabulary.tokenKind(id) !== "control") {
        piece = piece.subarray(1);
      }
      if (end + piece.length > bytes.length) {
        const grown = new Uint8Array(2 * (end + piece.length));
        grown.set(bytes);
        bytes = grown;
      }
      bytes.set(piece, end);
      end += piece.length;
      this.offsets[id + 1] = end;
    }
    this.bytes = bytes.slice(0, end);
  }
}

interface Overlaps {
  readonly marks: Uint8Array;
  /** Tokens that end with the beginning of a breaker, which one, and how many bytes of it; tokens ascend. */
  readonly heads: Int32Array;
  readonly which: Uint8Array;
  readonly overlaps: Uint8Array;
}

function findOverlaps({ bytes, offsets }: VocabularyTexts, texts: readonly Uint8Array[]): Overlaps {
  const size = offsets.length - 1;
  const marks = new Uint8Array(size);
  const beginning: (number[] | undefined)[] = new Array(256).fill(undefined);
  for (const [b, text] of texts.entries()) {
    beginning[text[0]!] ??= [];
    beginning[text[0]!]!.push(b);
  }
  const heads: number[] = [];
  const which: number[] = [];
  const overlaps: number[] = [];
  /** The last token that contains the breaker whole: its endings do not count then. */
  const whole = new Int32Array(maxBreakers).fill(-1);
  for (let id = 0; id < size; id++) {
    const to = offsets[id + 1]!;
    const first = heads.length;
    for (let at = offsets[id]!; at < to; at++) {
      const possible = beginning[bytes[at]!];
      if (possible === undefined) continue;
      for (const b of possible) {
        const text = texts[b]!;
        const length = Math.min(text.length, to - at);
        let k = 1;
        while (k < length && bytes[at + k] === text[k]) k++;
        if (k < length) continue;
        if (length === text.length) {
          whole[b] = id;
          marks[id]! |= 1;
          continue;
        }
        heads.push(id);
        which.push(b);
        overlaps.push(length);
      }
    }
    let kept = first;
    for (let i = first; i < heads.length; i++) {
      if (whole[which[i]!] === id) continue;
      which[kept] = which[i]!;
      overlaps[kept++] = overlaps[i]!;
    }
    heads.length = which.length = overlaps.length = kept;
    if (kept > first) marks[id]! |= 2;
  }
  return {
    marks,
    heads: Int32Array.from(heads),
    which: Uint8Array.from(which),
    overlaps: Uint8Array.from(overlaps),
  };
}
