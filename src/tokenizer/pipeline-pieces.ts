/** Models of tokenizer.json: a piece becomes ids. */
import type { Metadata } from "../formats/types.js";
import { unmapText } from "./byte-map.js";
import type { IdList } from "./id-list.js";
import { type Merger, maxKept, roomFor, SymbolList } from "./merge-heap.js";
import { MergeTable } from "./merge-table.js";
import { PieceTrie } from "./piece-trie.js";
import { type Step, unsupported } from "./pipeline-steps.js";
import { encodedLength, utf8Length } from "./unicode.js";
import { UnigramEncoder } from "./unigram.js";
import { findToken, isHidden, type Vocabulary } from "./vocab.js";
import { WordCache } from "./word-cache.js";

export type PieceEncoder = (piece: string, out: IdList) => void;

export interface ModelParts {
  readonly metadata: Metadata;
  readonly vocabulary: Vocabulary;
  readonly settings: Step;
  readonly unknown: number | undefined;
  /** Pieces come as text where they are bytes in the end; false: as the letters that stand for bytes. */
  readonly asText: boolean;
}

/** @throws TOKENIZER_UNSUPPORTED, TOKENIZER_INVALID */
export function pieceEncoder(kind: string, parts: ModelParts): PieceEncoder {
  switch (kind) {
    case "BPE":
      return bytePairs(parts);
    case "WordPiece":
      return wordPieces(parts);
    case "Unigram":
      return unigrams(parts);
    case "WordLevel":
      return words(parts);
    default:
      throw unsupported("the model", kind);
  }
}

/** Which of the tokens a text may become. */
const used =
  ({ vocabulary }: ModelParts) =>
  (id: number) =>
    id >= 0 && id < vocabulary.size && !isHidden(vocabulary.attributes[id]!);

function bytePairs(parts: ModelParts): PieceEncoder {
  const { metadata, vocabulary, settings, asText } = parts;
  for (const key of ["continuing_subword_prefix", "end_of_word_suffix"])
    if (settings[key] !== undefined && settings[key] !== null && settings[key] !== "")
      throw unsupported("BPE with", key);
  const merges = new MergeTable(metadata, vocabulary);
  vocabulary.pieces.trim();
  const byBytes = vocabulary.form === "bytes";
  const isUsed = used(parts);
  const cache = new WordCache();
  const list = new SymbolList();
  const bytesOf = fallbackOf(parts);
  let symbols = new Int32Array(64);
  const merger: Merger = {
    rank: (left, right) => merges.rank(symbols[left]!, symbols[right]!),
    merge: (left, right) => {
      symbols[left] = merges.joined(merges.rank(symbols[left]!, symbols[right]!));
    },
  };
  /** Tokens of single characters, of bytes or none; runs of unknown ones are one where the file says so. */
  const load = (text: Uint8Array): number => {
    let [n, unknown] = [0, false];
    for (let at = 0; at < text.length; ) {
      const length = byBytes ? 1 : utf8Length(text[at]!);
      const id = vocabulary.pieces.find(text, at, Math.min(at + length, text.length));
      if (id >= 0 && id < vocabulary.size) {
        symbols[n++] = id;
        unknown = false;
      } else if (bytesOf !== undefined) for (let i = at; i < at + length; i++) symbols[n++] = bytesOf[text[i]!]!;
      else if (parts.unknown !== undefined) {
        if (!(unknown && settings.fuse_unk === true)) symbols[n++] = parts.unknown;
        unknown = true;
      }
      at += length;
    }
    return n;
  };
  return (piece, out) => {
    const text = (!asText && byBytes ? unmapText(Buffer.from(piece)) : undefined) ?? Buffer.from(piece);
    if (text.length === 0) return;
    if (settings.ignore_merges === true) {
      const id = vocabulary.pieces.find(text, 0, text.length);
      if (isUsed(id)) {
        out.push(id);
        return;
      }
    }
    if (cache.lookup(text, 0, text.length, out)) return;
    const first = out.length;
    if (symbols.length < text.length) symbols = new Int32Array(roomFor(text.length));
    const count = load(text);
    if (count > 0) {
      list.run(count, merger);
      for (let i = 0; i >= 0; i = list.next[i]!) out.push(symbols[i]!);
      list.release();
    }
    if (symbols.length > 2 * maxKept) symbols = new Int32Array(64);
    cache.store(text, 0, text.length, out, first);
  };
}

/** Tokens of the 256 bytes; undefined unless the model falls back on them and has all. */
function fallbackOf({ vocabulary, settings }: ModelParts): Int32Array | undefined {
  if (settings.byte_fallback !== true) return undefined;
  const ids = new Int32Array(256);
  for (let byte = 0; byte < 256; byte++) {
    const id = findToken(vocabulary, `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`);
    if (id === undefined) return undefined;
    ids[byte] = id;
  }
  return ids;
}

/** The longest pieces from the left; a word of which a part is no piece is unknown as a whole. */
function wordPieces(parts: ModelParts): PieceEncoder {
  const { vocabulary, settings, unknown } = parts;
  const most = typeof settings.max_input_chars_per_word === "number" ? settings.max_input_chars_per_word : 100;
  const trie = new PieceTrie(vocabulary.pieces, vocabulary.size, used(parts));
  return (piece, out) => {
    const first = out.length;
    const word = Buffer.from(`\u2581${piece}`);
    let whole = characters(piece) <= most;
    for (let at = 0; at < word.length && whole; ) {
      let [end, longest] = [at, -1];
      // Within a word the character that marks beginnings is itself, which no such vocabulary writes.
      const marked = at > 0 && word[at] === 0xe2 && word[at + 1] === 0x96 && word[at + 2] === 0x81;
      for (let i = at, node = marked ? 0 : trie.next(0, word[i]!); node !== 0; ) {
        i++;
        if (trie.piece(node) >= 0) [end, longest] = [i, trie.piece(node)];
        node = i < word.length ? trie.next(node, word[i]!) : 0;
      }
      whole = longest >= 0;
      if (whole) out.push(longest);
      at = end;
    }
    if (whole) return;
    out.length = first;
    if (unknown !== undefined) out.push(unknown);
  };
}

function characters(text: string): number {
  let count = 0;
  for (let at = 0; at < text.length; count++) at += encodedUnits(text, at);
  return count;
}

const encodedUnits = (text: string, at: number): number => (encodedLength(text.codePointAt(at)!) > 3 ? 2 : 1);

/** Each piece is a token, or unknown. */
function words({ vocabulary, unknown }: ModelParts): PieceEncoder {
  return (piece, out) => {
    const id = findToken(vocabulary, piece) ?? unknown;
    if (id !== undefined) out.push(id);
  };
}

function unigrams({ metadata, vocabulary, unknown }: ModelParts): PieceEncoder {
  const text = {
    bytes: new Uint8Array(0) as Uint8Array,
    length: 0,
    run: (raw: Uint8Array) => {
      text.bytes = raw;
      text.length = raw.length;
    },
    release: () => {},
  };
  const encoder = new UnigramEncoder(metadata, vocabulary, unknown, text);
  vocabulary.pieces.trim();
  return (piece, out) => encoder.encode(Buffer.from(piece), out);
}
