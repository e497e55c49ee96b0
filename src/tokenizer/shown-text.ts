import type { Tokenizer } from "./types.js";

/** A token as people are shown it: its bytes as UTF-8, and where it has none what the vocabulary calls it. */
export function shownText(tokenizer: Pick<Tokenizer, "pieceBytes" | "piece">, id: number): string {
  const bytes = tokenizer.pieceBytes(id);
  return bytes.length === 0 ? tokenizer.piece(id) : Buffer.from(bytes).toString("utf8");
}
