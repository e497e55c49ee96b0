/**
 * WordPiece ("bert" models): each word becomes the longest pieces from the left. Files write the beginning of a word
 * as "▁" and leave out the "##" of what continues one, so both are ordinary prefixes here.
 *
 * A word with a part that is no piece becomes the unknown token as a whole: the models were trained so, and the
 * vocabulary has no other way to write it. Control and unused tokens are never found.
 */
import { BertNormalizer, fateShift, fates, type NormalizerOptions } from "./bert-normalizer.js";
import type { IdList } from "./id-list.js";
import { PieceTrie } from "./piece-trie.js";
import { decodeAt, encodeInto, utf8Length } from "./unicode.js";
import { isHidden, type Vocabulary } from "./vocab.js";
import { WordCache } from "./word-cache.js";

const wordStart = [0xe2, 0x96, 0x81] as const;
/** A longer word's buffer is given back when a text is done. */
const maxKept = 1 << 16;

export class WordPieceEncoder {
  readonly #trie: PieceTrie;
  readonly #normalizer: BertNormalizer;
  readonly #unknown: number | undefined;
  readonly #cache = new WordCache();
  /** The word being collected, behind its "▁". */
  #word = Uint8Array.from({ length: 256 }, (_, i) => wordStart[i] ?? 0);
  #length: number = wordStart.length;

  /** @throws TOKENIZER_INVALID */
  constructor(vocabulary: Vocabulary, unknown: number | undefined, options: NormalizerOptions) {
    const bits = vocabulary.attributes;
    this.#trie = new PieceTrie(vocabulary.pieces, vocabulary.size, (id) => !isHidden(bits[id]!));
    this.#normalizer = new BertNormalizer(options);
    this.#unknown = unknown;
  }

  get memoryBytes(): number {
    return this.#trie.memoryBytes;
  }

  /** Appends the ids of raw UTF-8 text without special tokens. */
  encode(text: Uint8Array, out: IdList): void {
    for (let at = 0; at < text.length; ) {
      const lead = text[at]!;
      const entry = this.#normalizer.entry(lead < 0x80 ? lead : decodeAt(text, at));
      at += utf8Length(lead);
      const fate = entry >> fateShift;
      if (fate === fates.dropped) continue;
      if (fate !== fates.letter) this.#finishWord(out);
      if (fate === fates.space) continue;
      if (this.#length + 4 > this.#word.length) this.#grow();
      const codePoint = entry & ((1 << fateShift) - 1);
      if (codePoint < 0x80) this.#word[this.#length++] = codePoint;
      else this.#length = encodeInto(codePoint, this.#word, this.#length);
      if (fate === fates.alone) this.#finishWord(out);
    }
    this.#finishWord(out);
    if (this.#word.length > 2 * maxKept) this.#word = this.#word.slice(0, 256);
  }

  #finishWord(out: IdList): void {
    const length = this.#length;
    if (length === wordStart.length) return;
    this.#length = wordStart.length;
    if (this.#cache.lookup(this.#word, 0, length, out)) return;
    const first = out.length;
    for (let at = 0; at < length; ) {
      let end = at;
      let longest = -1;
      for (let i = at, node = this.#trie.next(0, this.#word[i]!); node !== 0; ) {
        i++;
        if (this.#trie.piece(node) >= 0) {
          longest = this.#trie.piece(node);
          end = i;
        }
        node = i < length ? this.#trie.next(node, this.#word[i]!) : 0;
      }
      if (longest < 0) {
        out.length = first;
        if (this.#unknown !== undefined) out.push(this.#unknown);
        break;
      }
      out.push(longest);
      at = end;
    }
    this.#cache.store(this.#word, 0, length, out, first);
  }

  #grow(): void {
    const grown = new Uint8Array(2 * this.#word.length);
    grown.set(this.#word);
    this.#word = grown;
  }
}
