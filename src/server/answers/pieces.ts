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
  of(ids: ArrayLike<number>): ((id: number) => Piece) | Promise<(id: number) => Piece> {
    const missing = new Set<number>();
    for (let i = 0; i < ids.length; i++) if (!this.known.has(ids[i]!)) missing.add(ids[i]!);
    if (missing.size === 0) return this.lookup;
    return this.fetch([...missing], ids);
  }

  private readonly lookup = (id: number): Piece => this.known.get(id)!;

  private async fetch(missing: readonly number[], ids: ArrayLike<number>): Promise<(id: number) => Piece> {
    const pieces = await this.text.perform({ kind: "pieces", tokens: Int32Array.from(missing) });
    const found = new Map(pieces.map((piece, i) => [missing[i]!, piece]));
    for (let i = 0; i < ids.length; i++) if (!found.has(ids[i]!)) found.set(ids[i]!, this.known.get(ids[i]!)!);
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
