/**
 * A SentencePiece model as its library runs it: its normalizer, then Unigram or byte-pair encoding. User-defined
 * symbols are found first, are not changed, and merge with nothing. Ids are those of PyPI `sentencepiece`.
 * @source google/sentencepiece, normalizer.cc, bpe_model.cc, unigram_model.cc, sentencepiece_processor.cc
 */
import type { Metadata } from "../formats/types.js";
import { Charsmap } from "./charsmap.js";
import type { IdList } from "./id-list.js";
import { PieceTrie, symbolAt } from "./piece-trie.js";
import { AddedPartitioner } from "./pipeline-added.js";
import { SentencePieceBpe } from "./sentencepiece-bpe.js";
import { readSpecials } from "./special-tokens.js";
import { VocabularyTokenizer } from "./tokenizer.js";
import type { Tokenizer } from "./types.js";
import { utf8Length } from "./unicode.js";
import { UnigramEncoder } from "./unigram.js";
import { attributes, isGuarded, readVocabulary, tokenText, type Vocabulary } from "./vocab.js";

/** Metadata under which a container hands over what SentencePiece's file says beside its pieces. */
export const sentencePieceKey = "tokenizer.huggingface.sentencepiece";

interface Settings {
  readonly kind: "unigram" | "bpe";
  readonly byteFallback: boolean;
  readonly spaceBehind: boolean;
  readonly unknown: number;
  readonly addDummyPrefix: boolean;
  readonly removeExtraWhitespaces: boolean;
  readonly escapeWhitespaces: boolean;
  /** Ids of tokens that are the folder's, not the model's. */
  readonly added: readonly number[];
}

/** @throws TOKENIZER_INVALID */
export function createSentencePiece(metadata: Metadata, source: string): Tokenizer {
  const settings = JSON.parse(source) as Settings;
  const vocabulary = readVocabulary(metadata, "utf8");
  const specials = readSpecials(metadata, vocabulary, { unknown: settings.unknown });
  const added = new Set(settings.added);
  const symbols = new PieceTrie(
    vocabulary.pieces,
    vocabulary.size,
    (id) => (vocabulary.attributes[id]! & attributes.user) !== 0 && !added.has(id),
  );
  const normalizer = new SentencePieceNormalizer(metadata, settings, symbols);
  const encode =
    settings.kind === "bpe"
      ? bytePairs(metadata, vocabulary, settings, normalizer, symbols)
      : unigram(metadata, vocabulary, settings, normalizer);
  vocabulary.pieces.trim();
  const found = Array.from({ length: vocabulary.size }, (_, id) => id).filter(
    (id) => added.has(id) || isGuarded(vocabulary.attributes[id]!),
  );
  const raw = found.map((id) => {
    const content = tokenText(vocabulary, id);
    return { id, content, singleWord: false, lstrip: false, rstrip: false };
  });
  return new VocabularyTokenizer({
    kind: settings.kind === "bpe" ? "spm" : "unigram",
    preTokenizer: "tokenizer.model",
    vocabulary,
    specials,
    addBos: metadata.boolean("tokenizer.ggml.add_bos_token") ?? false,
    addEos: metadata.boolean("tokenizer.ggml.add_eos_token") ?? false,
    addSeparator: false,
    addSpacePrefix: settings.addDummyPrefix,
    encodeText: (text, first, out) => encode(text, first, out),
    partitioner: new AddedPartitioner(raw, vocabulary),
  });
}

type Encode = (text: Uint8Array, first: boolean, out: IdList) => void;

function unigram(
  metadata: Metadata,
  vocabulary: Vocabulary,
  { unknown }: Settings,
  normalizer: SentencePieceNormalizer,
): Encode {
  const encoder = new UnigramEncoder(metadata, vocabulary, unknown, normalizer, { singlePrecision: true });
  return (text, first, out) => {
    normalizer.prefixed = first;
    encoder.encode(text, out);
  };
}

function bytePairs(
  metadata: Metadata,
  vocabulary: Vocabulary,
  { unknown, byteFallback }: Settings,
  normalizer: SentencePieceNormalizer,
  symbols: PieceTrie,
): Encode {
  const encoder = new SentencePieceBpe(metadata, vocabulary, { unknown, byteFallback, symbols });
  return (text, first, out) => {
    normalizer.prefixed = first;
    normalizer.run(text);
    encoder.encode(normalizer.bytes.subarray(0, normalizer.length), out);
    normalizer.release();
  };
}

/** A longer buffer is given back when a text is done. */
const maxKept = 1 << 20;

class SentencePieceNormalizer {
  readonly #settings: Settings;
  readonly #symbols: PieceTrie;
  readonly #charsmap: Charsmap | undefined;
  readonly #space: Uint8Array;
  /** Whether the next text begins one, and gets a space where the model adds them. */
  prefixed = true;
  /** The normalized text is `bytes[0, length)`. */
  bytes: Uint8Array = new Uint8Array(1024);
  length = 0;

  constructor(metadata: Metadata, settings: Settings, symbols: PieceTrie) {
    const map = metadata.numbers("tokenizer.ggml.precompiled_charsmap");
    this.#charsmap = map === undefined || map.length === 0 ? undefined : new Charsmap(Uint8Array.from(map));
    this.#settings = settings;
    this.#symbols = symbols;
    this.#space = Buffer.from(settings.escapeWhitespaces ? "\u2581" : " ");
  }

  /** @param text well-formed UTF-8 */
  run(text: Uint8Array): void {
    const { addDummyPrefix, removeExtraWhitespaces: merge, spaceBehind } = this.#settings;
    const dummy = addDummyPrefix && this.prefixed;
    this.length = 0;
    let at = 0;
    const next = { source: text, from: 0, to: 0, used: 0 };
    if (merge)
      while (at < text.length) {
        this.#prefix(text, at, next);
        if (next.to - next.from !== 1 || next.source[next.from] !== 0x20) break;
        at += next.used;
      }
    if (at >= text.length) return;
    if (dummy && !spaceBehind) this.#put(this.#space, 0, this.#space.length);
    let spaceBefore = merge;
    while (at < text.length) {
      this.#prefix(text, at, next);
      const { source, to } = next;
      let { from } = next;
      while (spaceBefore && from < to && source[from] === 0x20) from++;
      if (from < to) {
        for (let i = from, start = from; i <= to; i++) {
          if (i < to && source[i] !== 0x20) continue;
          this.#put(source, start, i);
          if (i < to) this.#put(this.#space, 0, this.#space.length);
          start = i + 1;
        }
        spaceBefore = source[to - 1] === 0x20;
      }
      at += next.used;
      if (!merge) spaceBefore = false;
    }
    if (merge) while (this.#endsInSpace()) this.length -= this.#space.length;
    if (dummy && spaceBehind) this.#put(this.#space, 0, this.#space.length);
  }

  release(): void {
    if (this.bytes.length > maxKept) this.bytes = new Uint8Array(1024);
  }

  /** The shortest beginning of what is left that is replaced as one, and its replacement. */
  #prefix(text: Uint8Array, at: number, into: { source: Uint8Array; from: number; to: number; used: number }): void {
    const symbol = symbolAt(this.#symbols, text, at);
    const map = this.#charsmap;
    const matched = symbol > 0 || map === undefined ? 0 : map.match(text, at);
    if (matched > 0) {
      into.source = map!.replacements;
      into.from = map!.from;
      into.to = map!.to;
      into.used = matched;
      return;
    }
    into.source = text;
    into.from = at;
    into.used = symbol > 0 ? symbol : Math.min(utf8Length(text[at]!), text.length - at);
    into.to = at + into.used;
  }

  #endsInSpace(): boolean {
    const { length } = this.#space;
    if (this.length < length) return false;
    for (let i = 0; i < length; i++) if (this.bytes[this.length - length + i] !== this.#space[i]) return false;
    return true;
  }

  #put(source: Uint8Array, from: number, to: number): void {
    const end = this.length + to - from;
    if (end > this.bytes.length) {
      const grown = new Uint8Array(2 * end);
      grown.set(this.bytes.subarray(0, this.length));
      this.bytes = grown;
    }
    for (let i = from; i < to; i++) this.bytes[this.length++] = source[i]!;
  }
}
