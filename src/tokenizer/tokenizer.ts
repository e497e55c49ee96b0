/** The one implementation of `Tokenizer`: special tokens, BOS and EOS, pieces; the text in between by an encoder. */

import { IdList } from "./id-list.js";
import { type ParseSpecial, Partitioner } from "./partition.js";
import type { Specials } from "./special-tokens.js";
import { createStreamDecoder } from "./stream-decoder.js";
import type { EncodeOptions, FimTokens, SpecialTokens, Tokenizer, TokenKind } from "./types.js";
import { attributes, findToken, kindOf, tokenText, type Vocabulary } from "./vocab.js";

/**
 * Raw text without special tokens -> ids. `first`: at the beginning of the text or behind a special token; `start`: at
 * the beginning alone.
 */
export type EncodeText = (text: Uint8Array, first: boolean, out: IdList, start: boolean) => void;

export interface TokenizerParts {
  readonly kind: "bpe" | "spm" | "wordpiece" | "unigram";
  readonly preTokenizer: string | undefined;
  readonly vocabulary: Vocabulary;
  readonly specials: Specials;
  readonly addBos: boolean;
  readonly addEos: boolean;
  readonly addSeparator: boolean;
  /** The token that ends a text when `addEos`. Default EOS. */
  readonly ending?: number | undefined;
  readonly addSpacePrefix: boolean;
  readonly encodeText: EncodeText;
  /** Finds the special tokens. Default: as llama.cpp does. */
  readonly partitioner?: Pick<Partitioner, "partition">;
}

const none = new Uint8Array(0);

type DecodeOptions = NonNullable<Parameters<Tokenizer["decode"]>[1]>;

export class VocabularyTokenizer implements Tokenizer {
  readonly #parts: TokenizerParts;
  readonly #partitioner: Pick<Partitioner, "partition">;

  constructor(parts: TokenizerParts) {
    this.#parts = parts;
    this.#partitioner = parts.partitioner ?? new Partitioner(parts.vocabulary);
  }

  get size(): number {
    return this.#parts.vocabulary.size;
  }
  get kind(): string {
    return this.#parts.kind;
  }
  get preTokenizer(): string | undefined {
    return this.#parts.preTokenizer;
  }
  get fim(): FimTokens {
    return this.#parts.specials.fim;
  }

  get special(): SpecialTokens {
    return this.#parts.specials.tokens;
  }
  get addBos(): boolean {
    return this.#parts.addBos;
  }
  get addEos(): boolean {
    return this.#parts.addEos;
  }
  get addSeparator(): boolean {
    return this.#parts.addSeparator;
  }
  get addSpacePrefix(): boolean {
    return this.#parts.addSpacePrefix;
  }
  get endOfGeneration(): ReadonlySet<number> {
    return this.#parts.specials.endOfGeneration;
  }

  encode(text: string, options: EncodeOptions = {}): Int32Array {
    const addSpecial = options.addSpecial ?? true;
    const out = new IdList();
    const { bos, eos } = this.special;
    const ending = this.#parts.ending ?? eos;
    if (addSpecial && this.addBos && bos !== undefined) out.push(bos);
    this.#encode(Buffer.from(text, "utf8"), options.parseSpecial ?? false, out);
    if (addSpecial && this.addEos && ending !== undefined) out.push(ending);
    return out.toArray();
  }

  encodeSegments(segments: readonly { readonly text: string; readonly user: boolean }[], goesOn = false): Int32Array {
    // Tokenized as one text, so that merges cross the borders as they did in training; only the recognition of
    // control tokens stops at them. A surrogate pair split by a border is joined first.
    const text = Buffer.from(segments.map((s) => s.text).join(""), "utf8");
    const exceptIn: number[] = [];
    let at = 0;
    for (const segment of segments) {
      const end = at + Buffer.byteLength(segment.text, "utf8");
      if (segment.user && end > at) exceptIn.push(at, end);
      at = end;
    }
    const ids = new IdList();
    const { bos } = this.special;
    const mayAdd = this.addBos && bos !== undefined && !goesOn;
    if (mayAdd) ids.push(bos);
    // If borders split surrogates the lengths do not add up: then everything counts as the user's.
    this.#encode(text, at === text.length ? { exceptIn } : false, ids);
    const twice = mayAdd && ids.length > 1 && ids.at(1) === bos;
    return twice ? ids.toArray().subarray(1) : ids.toArray();
  }

  #encode(text: Uint8Array, parse: ParseSpecial, out: IdList): void {
    let first = true;
    for (const { from, to, id } of this.#partitioner.partition(text, parse)) {
      if (id >= 0) out.push(id);
      else this.#parts.encodeText(text.subarray(from, to), first, out, from === 0);
      first = id >= 0;
    }
  }

  pieceBytes(id: number, special = false): Uint8Array {
    const { vocabulary, specials } = this.#parts;
    if (!Number.isInteger(id) || id < 0 || id >= vocabulary.size) return none;
    const bits = vocabulary.attributes[id]!;
    const isControl = (bits & (attributes.control | attributes.unknown)) !== 0;
    if (isControl && !special && !specials.shownControl.has(id)) return none;
    if (isControl || bits & attributes.user) return Buffer.from(tokenText(vocabulary, id), "utf8");
    if (bits & attributes.byte) return byteOf(tokenText(vocabulary, id));
    if ((bits & attributes.normal) === 0) return none;
    if (vocabulary.form === "bytes") return vocabulary.pieces.at(id).slice();
    return unescapeSpaces(vocabulary.pieces.at(id));
  }

  piece(id: number): string {
    return Number.isInteger(id) && id >= 0 && id < this.size ? tokenText(this.#parts.vocabulary, id) : "";
  }

  tokenKind(id: number): TokenKind {
    return kindOf(this.#parts.vocabulary.attributes[id] ?? 0);
  }

  decode(ids: ArrayLike<number>, { special = false, continues = false }: DecodeOptions = {}): string {
    const decoder = createStreamDecoder(this, { special, continues });
    const texts: string[] = [];
    for (let i = 0; i < ids.length; i++) texts.push(decoder.push(ids[i]!));
    return texts.join("") + decoder.flush();
  }

  tokenId(text: string): number | undefined {
    return findToken(this.#parts.vocabulary, text);
  }
}

/** `<0x0A>` -> the byte; another text of a byte token stands for itself. */
function byteOf(text: string): Uint8Array {
  const match = /^<0x([0-9a-fA-F]{2})>$/.exec(text);
  return match ? Uint8Array.of(Number.parseInt(match[1]!, 16)) : Buffer.from(text, "utf8");
}

/** U+2581 -> U+0020. */
function unescapeSpaces(text: Uint8Array): Uint8Array {
  const out = new Uint8Array(text.length);
  let n = 0;
  for (let i = 0; i < text.length; i++) {
    if (text[i] === 0xe2 && text[i + 1] === 0x96 && text[i + 2] === 0x81) {
      out[n++] = 0x20;
      i += 2;
    } else out[n++] = text[i]!;
  }
  return out.subarray(0, n);
}
