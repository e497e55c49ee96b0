/**
 * A text of any length becomes ids piece by piece, the same ids as of the whole. It is cut between a letter or digit
 * and white space, where
 *
 * - every pre-tokenizer ends a piece or merges go on (each reads from left to right and looks ahead of white space only
 *   for white space),
 * - and no token of the vocabulary has these two bytes next to each other, so that no merge crosses the cut.
 *
 * SentencePiece puts a space before a text: there the cut is at a space, which is left out because that one stands for
 * it.
 */
import { HundredweightError } from "../errors.js";
import type { EncodeOptions, Tokenizer } from "./types.js";

/** UTF-16 units from which on a text is cut. */
const usualLength = 1 << 18;
/** Without any end of a word. */
const maxLength = 1 << 25;

/** Digits, and the letters that are letters to every pre-tokenizer. */
const letter =
  "[0-9A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u03b1-\u03c1\u0410-\u044f\u05d0-\u05ea\u0621-\u063a\u0905-\u0939\u0e01-\u0e2e\u3041-\u3096" +
  "\u30a1-\u30fa\u4e00-\u9fa5\uac00-\ud7a3]";
const [space, lineFeed] = [0x20, 0x0a];

export class LongTextEncoder {
  readonly #tokenizer: Tokenizer;
  readonly #options: Required<EncodeOptions>;
  readonly #length: number;
  /** From how many units on a cut is looked for. */
  #wanted: number;
  /** A person's words that are special tokens by themselves: never cut at. */
  #words: readonly string[] = [];
  /** [byte]: 1 when a token has a space behind it, 2 a line feed, 3 both. */
  #crossed: Uint8Array | undefined;
  #held = "";
  #begun = false;

  /** @param length for tests: from how many UTF-16 units on a text is cut */
  constructor(tokenizer: Tokenizer, options: EncodeOptions = {}, length = usualLength) {
    this.#tokenizer = tokenizer;
    this.#options = { parseSpecial: options.parseSpecial ?? false, addSpecial: options.addSpecial ?? true };
    this.#length = length;
    this.#wanted = length;
  }

  /**
   * The next part of the text.
   * @returns the next ids, often none
   * @throws TEXT_INVALID when there is no end of a word for too long
   */
  push(part: string): Int32Array {
    this.#held += part;
    if (this.#held.length < this.#wanted || !this.#isCut) return new Int32Array(0);
    const at = this.#lastCut();
    if (at > 0) {
      const ids = this.#encode(this.#held.slice(0, at), false);
      this.#held = this.#held.slice(this.#tokenizer.kind === "spm" && this.#tokenizer.addSpacePrefix ? at + 1 : at);
      this.#begun = true;
      this.#wanted = this.#length;
      return ids;
    }
    // Not again for every part: looking is linear.
    this.#wanted = Math.min(2 * this.#held.length, maxLength + 1);
    if (this.#held.length <= maxLength) return new Int32Array(0);
    throw new HundredweightError("TEXT_INVALID", `the text has no end of a word in ${maxLength} characters`);
  }

  /** @returns the last ids */
  end(): Int32Array {
    const rest = this.#held;
    this.#held = "";
    return this.#encode(rest, true);
  }

  /** Other kinds look at a text as a whole. */
  get #isCut(): boolean {
    return this.#tokenizer.kind === "bpe" || this.#tokenizer.kind === "spm";
  }

  #encode(text: string, last: boolean): Int32Array {
    const { addSpecial, parseSpecial } = this.#options;
    if (last && !this.#begun) return this.#tokenizer.encode(text, this.#options);
    const ids = this.#tokenizer.encode(text, { addSpecial: false, parseSpecial });
    const { addBos, addEos, special } = this.#tokenizer;
    const before = addSpecial && addBos && !this.#begun && special.bos !== undefined ? [special.bos] : [];
    const after = addSpecial && addEos && last && special.eos !== undefined ? [special.eos] : [];
    if (before.length + after.length === 0) return ids;
    const all = new Int32Array(before.length + ids.length + after.length);
    all.set(before);
    all.set(ids, before.length);
    all.set(after, before.length + ids.length);
    return all;
  }

  /** @returns where the white space of the last place to cut is; 0 when there is none */
  #lastCut(): number {
    this.#crossed ??= this.#look();
    const text = this.#held;
    const atSpace = this.#tokenizer.kind === "spm" && this.#tokenizer.addSpacePrefix;
    const place = new RegExp(atSpace ? `${letter} (?=${letter})` : `${letter}[ \\n]`, "g");
    // From the end, in windows: a line of a table has its words at its beginning.
    for (let to = text.length; to > 0; to -= 4096) {
      const from = Math.max(0, to - 4096 - 2);
      let best = 0;
      const window = text.slice(from, to);
      for (const { index } of window.matchAll(place)) if (this.#isSafe(from + index + 1)) best = from + index + 1;
      if (best > 0) return best;
    }
    return 0;
  }

  #isSafe(at: number): boolean {
    const text = this.#held;
    const bit = text.charCodeAt(at) === lineFeed ? 2 : 1;
    const bytes = Buffer.from(text[at - 1]!);
    if (this.#crossed![bytes[bytes.length - 1]!]! & bit) return false;
    return !this.#words.some((word) => text.endsWith(word, at) || text.startsWith(word, at + 1));
  }

  #look(): Uint8Array {
    const crossed = new Uint8Array(256);
    const words: string[] = [];
    const edge = new RegExp(`^${letter}|${letter}$`);
    for (let id = 0; id < this.#tokenizer.size; id++) {
      const bytes = this.#tokenizer.pieceBytes(id, true);
      for (let i = 1; i < bytes.length; i++) {
        if (bytes[i] === space) crossed[bytes[i - 1]!]! |= 1;
        else if (bytes[i] === lineFeed) crossed[bytes[i - 1]!]! |= 2;
      }
      const kind = this.#tokenizer.tokenKind(id);
      if (kind !== "normal" && kind !== "byte" && edge.test(this.#tokenizer.piece(id)))
        words.push(this.#tokenizer.piece(id));
    }
    this.#words = words;
    return crossed;
  }
}
