/** Reads what tokenizer.json's TemplateProcessing puts around one text. */
import { isObject } from "../json-object.js";

export type TemplatePiece = Readonly<Record<string, unknown>>;

export interface PiecesAround {
  readonly before: readonly TemplatePiece[];
  readonly after: readonly TemplatePiece[];
}

/** Parts the pieces of `single` at the text they stand around; undefined where it is no list. */
export function piecesAround(single: unknown): PiecesAround | undefined {
  if (!Array.isArray(single)) return undefined;
  const pieces = single.filter(isObject);
  const isText = (piece: TemplatePiece): boolean => piece.Sequence !== undefined;
  const text = pieces.findIndex(isText);
  if (text < 0) return { before: pieces, after: [] };
  return { before: pieces.slice(0, text), after: pieces.slice(text + 1).filter((piece) => !isText(piece)) };
}
