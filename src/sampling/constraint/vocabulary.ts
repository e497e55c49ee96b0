/**
 * The part of a tokenizer that constraints need, made once for each model: the tree of its tokens, and slices that
 * string states allow whole.
 */
import { type FreeStrings, freeStrings } from "./free-strings.js";
import { type CodePoints, complement } from "./regex/code-points.js";
import { buildTrie, packTokens, type TokenTrie } from "./token-trie.js";

/** The part of a tokenizer that is looked at. */
export interface ConstraintTokenizer {
  readonly size: number;
  pieceBytes(id: number): Uint8Array;
  tokenKind(id: number): string;
  /** A token's text as the vocabulary writes it. */
  piece(id: number): string;
  readonly endOfGeneration: ReadonlySet<number>;
  encode(text: string, options?: { readonly parseSpecial?: boolean; readonly addSpecial?: boolean }): Int32Array;
}

/** Characters that stand for themselves in a JSON string, and are no control characters. */
export const plainCharacters: CodePoints = complement([0, 0x1f, 0x22, 0x22, 0x5c, 0x5c, 0x7f, 0x7f]);

export interface ConstraintVocabulary {
  readonly size: number;
  readonly trie: TokenTrie;
  /**
   * Tokens of whole plain characters: entry k, those of at most k characters, as bits; the last entry holds all.
   * @shape [longestPlain + 1][ceil(size / 32)]
   */
  readonly plain: readonly Uint32Array[];
  /** Characters of the longest of them. */
  readonly longestPlain: number;
  /** All other tokens. */
  readonly rest: TokenTrie;
  /** Inside of strings of any characters. */
  readonly free: FreeStrings;
  readonly endOfGeneration: Int32Array;
  /** Whether a token stands for text: control tokens do not. */
  isText(id: number): boolean;
  readonly tokenizer: ConstraintTokenizer;
  /** Bytes held. */
  readonly bytes: number;
}

/** Longer tokens of plain characters are rare, and counted as not plain. */
const mostPlain = 64;

export function makeVocabulary(tokenizer: ConstraintTokenizer): ConstraintVocabulary {
  const { size } = tokenizer;
  const none = new Uint8Array(0);
  const isText = (id: number): boolean => ["normal", "user", "byte"].includes(tokenizer.tokenKind(id));
  const tokens = packTokens(size, (id) => (isText(id) ? tokenizer.pieceBytes(id) : none));
  const lengths = new Int8Array(tokens.ids.length);
  let longestPlain = 0;
  for (let place = 0; place < lengths.length; place++) {
    const [from, to] = [tokens.offsets[place]!, tokens.offsets[place + 1]!];
    const length = plainLength(tokens.bytes, from, to);
    lengths[place] = length <= mostPlain ? length : -1;
    longestPlain = Math.max(longestPlain, lengths[place]!);
  }
  const words = Math.ceil(size / 32);
  const plain = [new Uint32Array(words)];
  for (let k = 1; k <= longestPlain; k++) {
    const bits = plain[k - 1]!.slice();
    for (let place = 0; place < lengths.length; place++) {
      if (lengths[place] === k) bits[tokens.ids[place]! >> 5]! |= 1 << (tokens.ids[place]! & 31);
    }
    plain.push(bits);
  }
  const trie = buildTrie(tokens);
  const rest = buildTrie(tokens, (place) => lengths[place]! < 0);
  const free = freeStrings(rest);
  const endOfGeneration = Int32Array.from(tokenizer.endOfGeneration);
  const bytes = trie.size + rest.size + plain.length * 4 * words + 6 * (free.ids.length + free.exits.length);
  return { size, trie, plain, longestPlain, rest, free, endOfGeneration, isText, tokenizer, bytes };
}

/** Characters of a piece of plain text; -1 when something else is inside, or a character is not whole. */
function plainLength(bytes: Uint8Array, from: number, to: number): number {
  let characters = 0;
  for (let i = from; i < to; characters++) {
    const byte = bytes[i]!;
    const length = byte < 0x80 ? 1 : byte < 0xc2 ? 0 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : byte < 0xf5 ? 4 : 0;
    if (length === 0 || i + length > to) return -1;
    if (length === 1 && (byte < 0x20 || byte === 0x22 || byte === 0x5c || byte === 0x7f)) return -1;
    for (let k = 1; k < length; k++) if ((bytes[i + k]! & 0xc0) !== 0x80) return -1;
    // Overlong forms, surrogates and what lies beyond the last character.
    const second = bytes[i + 1]!;
    if ((byte === 0xe0 && second < 0xa0) || (byte === 0xed && second > 0x9f)) return -1;
    if ((byte === 0xf0 && second < 0x90) || (byte === 0xf4 && second > 0x8f)) return -1;
    i += length;
  }
  return characters;
}
