/** Masks that all grammars of a model keep together: the oldest go first. */

/** A mask as the store sees it. */
export interface Kept {
  readonly bytes: number;
}

export class MaskStore {
  readonly limit: number;
  private used = 0;
  /** In the order of their last use. */
  private readonly kept = new Map<Kept, { readonly owner: Map<number, Kept>; readonly number: number }>();

  /** @param limit bytes */
  constructor(limit: number) {
    this.limit = limit;
  }

  get bytes(): number {
    return this.used;
  }

  add<T extends Kept>(owner: Map<number, T>, number: number, mask: T): void {
    owner.set(number, mask);
    this.kept.set(mask, { owner, number });
    this.used += mask.bytes;
    for (const [oldest, { owner: its, number: n }] of this.kept) {
      if (this.used <= this.limit || oldest === mask) break;
      its.delete(n);
      this.kept.delete(oldest);
      this.used -= oldest.bytes;
    }
  }

  touch(mask: Kept): void {
    const place = this.kept.get(mask);
    if (place === undefined) return;
    this.kept.delete(mask);
    this.kept.set(mask, place);
  }

  /** Forgets what a grammar had. */
  drop<T extends Kept>(owner: Map<number, T>): void {
    for (const mask of owner.values()) if (this.kept.delete(mask)) this.used -= mask.bytes;
    owner.clear();
  }
}
