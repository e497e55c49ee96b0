/**
 * SentencePiece's own file, `tokenizer.model`: a protobuf message of pieces and settings. A stranger's: every length is
 * checked before anything is sized by it.
 * @source google/sentencepiece, src/sentencepiece_model.proto
 */
import { HundredweightError } from "../../errors.js";
import { PackedStrings } from "../../formats/metadata.js";
import { readSmallFile } from "../../formats/small-file.js";

const limits = { fileBytes: 64 * 2 ** 20, pieces: 2 ** 22, fields: 2 ** 12 } as const;

export interface SentencePieceModel {
  readonly kind: "unigram" | "bpe";
  readonly pieces: PackedStrings;
  /** @shape [pieces] */
  readonly scores: Float32Array;
  /** GGUF's numbers of token types, which are SentencePiece's. @shape [pieces] */
  readonly types: Int32Array;
  readonly byteFallback: boolean;
  /** The dummy space stands behind a text, not before it. */
  readonly spaceBehind: boolean;
  /** Ids of special pieces; below zero: there is none. */
  readonly unknown: number;
  readonly bos: number;
  readonly eos: number;
  readonly pad: number;
  readonly charsmap: Uint8Array;
  readonly addDummyPrefix: boolean;
  readonly removeExtraWhitespaces: boolean;
  readonly escapeWhitespaces: boolean;
}

/** @throws TOKENIZER_INVALID, TOKENIZER_UNSUPPORTED for models of words or characters, FILE_* */
export function readSentencePiece(path: string): SentencePieceModel {
  const bytes = readSmallFile(path, limits.fileBytes);
  const pieces: Uint8Array[] = [];
  const [scores, types]: [number[], number[]] = [[], []];
  let trainer: ReadonlyMap<number, Value> = new Map();
  let normalizer: ReadonlyMap<number, Value> = new Map();
  for (const [field, value] of fieldsOf(path, bytes, limits.pieces)) {
    if (!(value instanceof Uint8Array)) continue;
    if (field === 1) {
      const piece = new Map(fieldsOf(path, value, limits.fields));
      const text = piece.get(1);
      pieces.push(text instanceof Uint8Array ? text : new Uint8Array());
      scores.push(floatOf(piece.get(2)));
      types.push(numberOf(piece.get(3), 1));
    } else if (field === 2) trainer = new Map(fieldsOf(path, value, limits.pieces));
    else if (field === 3) normalizer = new Map(fieldsOf(path, value, limits.fields));
  }
  if (pieces.length === 0) throw invalid(path, "has no pieces: it is no model of SentencePiece");
  const kind = { 1: "unigram", 2: "bpe" }[numberOf(trainer.get(3), 1)] as SentencePieceModel["kind"] | undefined;
  if (kind === undefined)
    throw new HundredweightError(
      "TOKENIZER_UNSUPPORTED",
      `${path}: a SentencePiece model of whole words or characters`,
    );
  const badType = types.findIndex((type) => type < 1 || type > 6);
  if (badType >= 0) throw invalid(path, `piece ${badType} has the type ${types[badType]}`);
  const id = (field: number, usual: number) => numberOf(trainer.get(field), usual);
  const flag = (field: number) => numberOf(normalizer.get(field), 1) !== 0;
  const charsmap = normalizer.get(2);
  const found = {
    kind,
    pieces: PackedStrings.from(pieces),
    scores: Float32Array.from(scores),
    types: Int32Array.from(types),
    byteFallback: id(35, 0) !== 0,
    spaceBehind: id(24, 0) !== 0,
    // The piece of this type counts; the number is the trainer's wish.
    unknown: types.indexOf(2),
    bos: id(41, 1),
    eos: id(42, 2),
    pad: id(43, -1),
    charsmap: charsmap instanceof Uint8Array ? charsmap.slice() : new Uint8Array(),
    addDummyPrefix: flag(3),
    removeExtraWhitespaces: flag(4),
    escapeWhitespaces: flag(5),
  };
  if (found.unknown < 0) throw invalid(path, "has no piece for what is unknown");
  return found;
}

type Value = number | Uint8Array;

/** The fields of a message: numbers, four or eight bytes as they are, and what has a length. */
function* fieldsOf(path: string, bytes: Uint8Array, most: number): Generator<[field: number, value: Value]> {
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = bytes[at++];
      if (byte === undefined) break;
      // Beyond 53 bits only negative numbers are met, which are ids that nobody has.
      value += (byte & 127) * 2 ** shift;
      if (byte < 128) return value;
    }
    throw invalid(path, `has a number without an end at byte ${at}`);
  };
  const take = (count: number): Uint8Array => {
    if (count > bytes.length - at) throw invalid(path, `ends within a field of ${count} bytes; it is damaged`);
    at += count;
    return bytes.subarray(at - count, at);
  };
  for (let count = 0; at < bytes.length; count++) {
    if (count === most) throw invalid(path, `has more than ${most} fields`);
    const key = varint();
    const field = Math.floor(key / 8);
    switch (key % 8) {
      case 0: {
        const value = varint();
        yield [field, value >= 2 ** 63 ? -1 : value];
        break;
      }
      case 1:
        yield [field, take(8)];
        break;
      case 2:
        yield [field, take(varint())];
        break;
      case 5:
        yield [field, take(4)];
        break;
      default:
        throw invalid(path, `has a field of kind ${key % 8} at byte ${at}; it is damaged or no model of SentencePiece`);
    }
  }
}

const numberOf = (value: Value | undefined, usual: number): number => (typeof value === "number" ? value : usual);

function floatOf(value: Value | undefined): number {
  if (!(value instanceof Uint8Array) || value.length !== 4) return 0;
  return new DataView(value.buffer, value.byteOffset).getFloat32(0, true);
}

function invalid(path: string, message: string): HundredweightError {
  return new HundredweightError("TOKENIZER_INVALID", `${path}: ${message}`);
}
