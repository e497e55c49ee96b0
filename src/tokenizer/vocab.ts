/** Vocabulary of any kind from metadata: texts, types, scores, special ids. Damaged ones are refused here. */
import { HundredweightError } from "../errors.js";
import type { Metadata } from "../formats/types.js";
import { mapBytes, unmapAll, unmapText } from "./byte-map.js";
import { PieceTable } from "./piece-table.js";
import type { TokenKind } from "./types.js";

/** Attributes of a token, combined: a token can be user-defined in the file and control by its text. */
export const attributes = {
  unknown: 1,
  unused: 2,
  normal: 4,
  control: 8,
  user: 16,
  byte: 32,
  /** White space left / right of the token's text belongs to it. */
  stripLeft: 64,
  stripRight: 128,
} as const;

const attributeOfType = [
  0,
  attributes.normal,
  attributes.unknown,
  attributes.control,
  attributes.user,
  attributes.unused,
  attributes.byte,
];

/** How texts are written: mapped bytes (BPE), or UTF-8 with U+2581 for spaces (SentencePiece and its relatives). */
export type TextForm = "bytes" | "utf8";

export interface Vocabulary {
  readonly size: number;
  readonly form: TextForm;
  /**
   * Number = token id for the first `size`; the merge table may append texts that are no tokens.
   * With form "bytes" the keys are the bytes the texts stand for.
   */
  readonly pieces: PieceTable;
  /** @shape [size] bits of `attributes` */
  readonly attributes: Uint8Array;
  /** Ids whose text is not written in the byte alphabet: kept as UTF-8, never found by text pieces. */
  readonly verbatim: ReadonlySet<number>;
}

/** Above any vocabulary in use (262,144); ranks must stay below the limit of merge-heap.ts. */
const maxTokens = 1 << 22;

/** @throws TOKENIZER_INVALID */
export function readVocabulary(metadata: Metadata, form: TextForm): Vocabulary {
  const tokens = metadata.packedStrings("tokenizer.ggml.tokens");
  if (tokens === undefined) throw invalid("tokenizer.ggml.tokens is missing: the file has no vocabulary");
  const size = tokens.offsets.length - 1;
  if (size < 1 || size > maxTokens) throw invalid(`tokenizer.ggml.tokens has ${size} tokens`);

  const verbatim = new Set<number>();
  const named: Texts = withoutEmpty(tokens);
  const texts = form === "bytes" ? unmapAll(named.bytes, named.offsets, verbatim) : named;
  const pieces = PieceTable.of(texts.bytes, texts.offsets, verbatim);
  return { size, form, pieces, attributes: readAttributes(metadata, size), verbatim };
}

/** Text `i` is `bytes[offsets[i], offsets[i + 1])`. */
interface Texts {
  readonly bytes: Uint8Array;
  readonly offsets: Uint32Array;
}

/** Tokens without a text get one that says so. */
function withoutEmpty({ bytes, offsets }: Texts): Texts {
  const empty: number[] = [];
  for (let id = 0; id + 1 < offsets.length; id++) if (offsets[id] === offsets[id + 1]) empty.push(id);
  if (empty.length === 0) return { bytes, offsets };
  const names = empty.map((id) => Buffer.from(`[EMPTY_${id}]`));
  const out = new Uint8Array(bytes.length + names.reduce((sum, { length }) => sum + length, 0));
  const ends = new Uint32Array(offsets.length);
  let moved = 0;
  let next = 0;
  for (let id = 0; id + 1 < offsets.length; id++) {
    const [from, to] = [offsets[id]!, offsets[id + 1]!];
    if (id === empty[next]) {
      out.set(names[next]!, from + moved);
      moved += names[next++]!.length;
    } else out.set(bytes.subarray(from, to), from + moved);
    ends[id + 1] = to + moved;
  }
  return { bytes: out, offsets: ends };
}

function readAttributes(metadata: Metadata, size: number): Uint8Array {
  const out = new Uint8Array(size).fill(attributes.normal);
  const types = metadata.numbers("tokenizer.ggml.token_type");
  if (types === undefined) return out;
  if (types.length < size) {
    throw invalid(`tokenizer.ggml.token_type has ${types.length} entries for ${size} tokens`);
  }
  const known = attributeOfType.length;
  for (let id = 0; id < size; id++) {
    const type = types[id]!;
    out[id] = type >= 0 && type < known ? (attributeOfType[type] ?? 0) : 0;
  }
  return out;
}

/**
 * Scores of the tokens, 0 when the file has none.
 * @shape [size]
 * @throws TOKENIZER_INVALID when there are fewer than tokens, or one is not a number
 */
export function readScores(metadata: Metadata, size: number): Float64Array {
  const scores = metadata.numbers("tokenizer.ggml.scores");
  if (scores === undefined) return new Float64Array(size);
  if (scores.length < size) throw invalid(`tokenizer.ggml.scores has ${scores.length} entries for ${size} tokens`);
  const out = Float64Array.from({ length: size }, (_, id) => scores[id]!);
  const bad = out.findIndex((s) => Number.isNaN(s));
  if (bad >= 0) throw invalid(`tokenizer.ggml.scores: the score of token ${bad} is not a number`);
  return out;
}

/** The token's text as the vocabulary writes it. */
export function tokenText(vocabulary: Vocabulary, id: number): string {
  const bytes = vocabulary.pieces.at(id);
  if (vocabulary.form === "bytes" && !vocabulary.verbatim.has(id)) return mapBytes(bytes);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("utf8");
}

/** Id of a token by its vocabulary text. */
export function findToken(vocabulary: Vocabulary, text: string): number | undefined {
  const bytes = Buffer.from(text, "utf8");
  const key = vocabulary.form === "bytes" ? unmapText(bytes) : bytes;
  if (key !== undefined) {
    const id = vocabulary.pieces.find(key, 0, key.length);
    return id >= 0 && id < vocabulary.size ? id : undefined;
  }
  for (const id of vocabulary.verbatim) if (bytes.equals(vocabulary.pieces.at(id))) return id;
  return undefined;
}

/** Recognised in template text only. */
export function isGuarded(bits: number): boolean {
  return (bits & (attributes.control | attributes.unknown)) !== 0;
}

/** Never made of what a person wrote by merging characters. A user-defined token is: that is what the type says. */
export function isHidden(bits: number): boolean {
  return isGuarded(bits) || (bits & attributes.unused) !== 0;
}

/** A number for each token by its attributes, of which there are few. @shape [size] */
export function byAttributes(attributesOf: Uint8Array, value: (bits: number) => number): Uint8Array {
  const values = Uint8Array.from({ length: 256 }, (_, bits) => value(bits));
  const out = new Uint8Array(attributesOf.length);
  for (let id = 0; id < out.length; id++) out[id] = values[attributesOf[id]!]!;
  return out;
}

export function kindOf(bits: number): TokenKind {
  if (bits & attributes.control) return "control";
  if (bits & attributes.unknown) return "unknown";
  if (bits & attributes.user) return "user";
  if (bits & attributes.unused) return "unused";
  if (bits & attributes.byte) return "byte";
  return bits & attributes.normal ? "normal" : "undefined";
}

export function invalid(message: string): HundredweightError {
  return new HundredweightError("TOKENIZER_INVALID", message);
}
