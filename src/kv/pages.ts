/**
 * Page ids of one KV pool: reference counted, so that forks and shared prefixes hold the same page. Only bookkeeping:
 * the bytes belong to `Ops`.
 */
import { HundredweightError } from "../errors.js";

export class PageAllocator {
  readonly pages: number;
  private readonly references: Int32Array;
  /** Stack of free ids; the lowest id is handed out first, so that few pages of memory are ever touched. */
  private readonly freeIds: Int32Array;
  private freeCount: number;
  /** Most pages that were ever in use: what of the pool's memory has been touched. */
  most = 0;

  constructor(pages: number) {
    this.pages = pages;
    this.references = new Int32Array(pages);
    this.freeIds = Int32Array.from({ length: pages }, (_, i) => pages - 1 - i);
    this.freeCount = pages;
  }

  get free(): number {
    return this.freeCount;
  }

  /** A page with one reference. @throws CONTEXT_EXCEEDED when none is left */
  take(): number {
    if (this.freeCount === 0) {
      throw new HundredweightError(
        "CONTEXT_EXCEEDED",
        `the KV cache is full (${this.pages} pages of 256 positions); raise the context or close other sequences`,
        { pages: this.pages },
      );
    }
    const id = this.freeIds[--this.freeCount]!;
    this.references[id] = 1;
    this.most = Math.max(this.most, this.pages - this.freeCount);
    return id;
  }

  retain(id: number): void {
    this.check(id);
    this.references[id] = this.references[id]! + 1;
  }

  release(id: number): void {
    this.check(id);
    const left = this.references[id]! - 1;
    this.references[id] = left;
    if (left === 0) this.freeIds[this.freeCount++] = id;
  }

  count(id: number): number {
    return this.references[id] ?? 0;
  }

  private check(id: number): void {
    if ((this.references[id] ?? 0) <= 0) {
      throw new HundredweightError("INTERNAL", `KV page ${id} is not in use`, { page: id });
    }
  }
}
