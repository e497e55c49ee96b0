/** Texts and bytes of single tokens, asked from the text worker once and remembered. */

import type { Piece, TextService } from "../../text/index.js";

const most = 16_384;

export class PieceCache {
  private readonly text: TextService;
  private readonly known = new Map<number, Piece>();

  constructor(text: TextService) {
    this.text = text;
  }

  /** The pieces of these ids, at once when all are known. */
  of(ids: readonly number[]): ((id: number) => Piece) | Promise<(id: number) => Piece> {
    const missing = [...new Set(ids)].filter((id) => !this.known.has(id));
    if (missing.length === 0) return this.lookup;
    return this.fetch(missing, ids);
  }

  private readonly lookup = (id: number): Piece => this.known.get(id)!;

  private async fetch(missing: readonly number[], ids: readonly number[]): Promise<(id: number) => Piece> {
    const pieces = await this.text.perform({ kind: "pieces", tokens: Int32Array.from(missing) });
    const found = new Map(pieces.map((piece, i) => [missing[i]!, piece]));
    for (const id of ids) if (!found.has(id)) found.set(id, this.known.get(id)!);
    if (this.known.size + missing.length > most) this.known.clear();
    for (const id of missing) this.known.set(id, found.get(id)!);
    return (id) => found.get(id)!;
  }
}

const caches = new WeakMap<TextService, PieceCache>();

export function piecesOf(text: TextService): PieceCache {
  let cache = caches.get(text);
  if (cache === undefined) {
    cache = new PieceCache(text);
    caches.set(text, cache);
  }
  return cache;
}
