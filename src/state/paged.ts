/**
 * States that keep something of every position: pages of 256 positions, and a block table for each sequence. A pool
 * serves a group of layers that forget at the same pace: `window` 0 keeps everything, otherwise pages that no later
 * row can see are given back. Pages are shared by forks and copied when one of them writes (copy-on-write).
 * Where several positions make one row a page is of as many more positions; everything else is the same.
 */
import { pagePositions } from "../ops/ops.js";
import type { Growth, StateKind, UnitSnapshot } from "./kind.js";
import { UnitAllocator } from "./units.js";

export interface PagedOptions {
  readonly pages: number;
  /** A row at position p sees keys from p - window + 1; 0 = all. */
  readonly window: number;
  /** So many positions make a row of a page; default 1. */
  readonly every?: number | undefined;
  /** Sequences that can be open at once, and how many of them grow at the same time. */
  readonly sequences: number;
  readonly growing: number;
  readonly contextTokens: number;
  /** Most rows one sequence appends in a pass. */
  readonly maxRows: number;
  /** Copies a page with all its layers. */
  copyPage(from: number, to: number): void;
}

/** Positions [from, from + count) of a sequence of `length` that go; as many as whole pages. */
export interface Gap {
  readonly from: number;
  readonly count: number;
  readonly length: number;
}

/** The bytes of pages that go to other positions. */
export interface MovedBytes {
  /** Turns the keys of rows [from, to) of a page by so many positions. */
  turnPage(page: number, rows: readonly [from: number, to: number], by: number): void;
  /** Copies the first rows of a page. */
  copyRows(from: number, to: number, rows: number): void;
}

/** The first block of so many positions that a row at `position` sees, which looks back `window`; 0 = at all. */
export function firstSeenBlock(position: number, window: number, positions: number): number {
  return window === 0 ? 0 : Math.floor(Math.max(0, position - window + 1) / positions);
}

export class PagedState implements StateKind {
  readonly window: number;
  readonly every: number;
  /** Page ids of each sequence, -1 where absent. The same arrays for the life of the cache. */
  readonly tables: readonly Int32Array[];
  private readonly allocator: UnitAllocator;
  /** Positions kept behind the window so that short rewinds are possible: what the pool has to spare. */
  private readonly slack: number;
  private readonly maxRows: number;
  /** Positions of a page. */
  private readonly positions: number;
  /** Per sequence: first block that is still there. */
  private readonly firstBlock: Int32Array;
  private readonly copyPage: PagedOptions["copyPage"];

  constructor(options: PagedOptions) {
    const { pages, window, every = 1, sequences, growing, contextTokens, maxRows } = options;
    this.window = window;
    this.every = every;
    this.positions = pagePositions * every;
    this.maxRows = maxRows;
    this.copyPage = options.copyPage;
    // Rounding at both ends of [length - window - slack, length + rows) can cost almost a page each.
    this.slack = Math.max(0, Math.floor(pages / growing) * this.positions - window - maxRows - 2 * this.positions);
    this.allocator = new UnitAllocator(pages, "KV page");
    const blocks = Math.ceil(contextTokens / this.positions);
    this.tables = Array.from({ length: sequences }, () => new Int32Array(blocks).fill(-1));
    this.firstBlock = new Int32Array(sequences);
  }

  get units(): StateKind["units"] {
    return this.allocator;
  }

  /** A page that two of them share is taken to be copied twice. */
  hasRoomFor(parts: readonly Growth[]): boolean {
    for (const { sequence, from } of parts) this.forget(sequence, from);
    let wanted = 0;
    for (const { sequence, from, rows } of parts) {
      const fresh = Math.ceil((from + rows) / this.positions) - Math.ceil(from / this.positions);
      wanted += fresh + this.copies(sequence, from);
    }
    return wanted <= this.allocator.free;
  }

  append({ sequence, from, rows }: Growth): void {
    const { allocator } = this;
    const firstNew = Math.ceil(from / this.positions);
    const end = Math.ceil((from + rows) / this.positions);
    const table = this.tables[sequence]!;
    if (this.copies(sequence, from) > 0) {
      const partial = firstNew - 1;
      const copy = allocator.take();
      this.copyPage(table[partial]!, copy);
      allocator.release(table[partial]!);
      table[partial] = copy;
    }
    for (let b = firstNew; b < end; b++) table[b] = allocator.take();
  }

  settle(): void {}

  /** `position` itself, or 0 when rows it would see are forgotten. */
  rewindTarget(sequence: number, position: number): number {
    const kept = this.firstBlock[sequence]! * this.positions;
    return kept > 0 && position - this.window + 1 < kept ? 0 : position;
  }

  rewind(sequence: number, target: number, length: number): void {
    const keep = Math.ceil(target / this.positions);
    const end = Math.ceil(length / this.positions);
    for (let b = Math.max(keep, this.firstBlock[sequence]!); b < end; b++) this.drop(sequence, b);
    if (target === 0) this.firstBlock[sequence] = 0;
  }

  canFork(sequence: number, position: number): boolean {
    return this.rewindTarget(sequence, position) === position;
  }

  fork(from: number, to: number, position: number): void {
    const end = Math.ceil(position / this.positions);
    const source = this.tables[from]!;
    const table = this.tables[to]!;
    for (let b = this.firstBlock[from]!; b < end; b++) {
      this.allocator.retain(source[b]!);
      table[b] = source[b]!;
    }
    this.firstBlock[to] = this.firstBlock[from]!;
  }

  /** Pages they share count once; windows give back what they pass, so there nothing counts as shared. */
  canGrow(positions: ReadonlyMap<number, number>, lengthOf: (sequence: number) => number): boolean {
    const shared = new Set<number>();
    let pages = 0;
    for (const [sequence, wanted] of positions) {
      const most = Math.ceil(wanted / this.positions);
      if (this.window > 0) {
        // The span [next - window - slack, next + rows) may begin anywhere in a page.
        pages += Math.min(most, Math.ceil((this.window + this.slack + this.maxRows) / this.positions) + 1);
        continue;
      }
      const length = lengthOf(sequence);
      const held = Math.ceil(length / this.positions);
      const table = this.tables[sequence]!;
      for (let b = 0; b < held; b++) shared.add(table[b]!);
      pages += Math.max(0, most - held) + this.copies(sequence, length);
    }
    return pages + shared.size <= this.allocator.count;
  }

  canClaim(length: number): boolean {
    return Math.ceil(length / this.positions) - this.firstSeen(length) <= this.allocator.free;
  }

  couldClaim(length: number, beside: readonly number[]): boolean {
    const held = new Set(beside.flatMap((sequence) => [...this.tables[sequence]!].filter((page) => page >= 0)));
    const wanted = Math.ceil(length / this.positions) - this.firstSeen(length);
    return wanted + held.size + beside.length <= this.allocator.count;
  }

  claim(sequence: number, length: number): void {
    const first = this.firstSeen(length);
    this.firstBlock[sequence] = first;
    for (let b = first; b * this.positions < length; b++) this.tables[sequence]![b] = this.allocator.take();
  }

  retain(units: Iterable<number>): void {
    for (const unit of units) this.allocator.retain(unit);
  }

  release(units: Iterable<number>): void {
    for (const unit of units) this.allocator.release(unit);
  }

  /** Whether there are pages for the copies that `moveDown` makes. */
  hasRoomToMoveDown(sequence: number, gap: Gap): boolean {
    let wanted = 0;
    for (const b of this.moving(sequence, gap)) if (this.allocator.holders(this.tables[sequence]![b]!) > 1) wanted++;
    return wanted <= this.allocator.free;
  }

  /**
   * Makes the pages behind a gap this sequence's own and has their keys turned. Where the gap begins within a page,
   * rows before it come to stand before those that take their page's place.
   */
  moveDown(sequence: number, gap: Gap, bytes: MovedBytes): void {
    const { allocator, positions } = this;
    const table = this.tables[sequence]!;
    const [first, blocks] = [Math.floor(gap.from / positions), gap.count / positions];
    for (const b of this.moving(sequence, gap)) {
      const page = table[b]!;
      if (allocator.holders(page) > 1) {
        table[b] = allocator.take();
        allocator.release(page);
        this.copyPage(page, table[b]!);
      }
      const kept = b === first + blocks ? gap.from % positions : 0;
      const rows = Math.min(positions, gap.length - b * positions);
      bytes.turnPage(table[b]!, [kept, rows], -gap.count);
      if (kept > 0 && table[first]! >= 0) bytes.copyRows(table[first]!, table[b]!, kept);
    }
  }

  /** Gives back the pages of a gap behind which all has moved: the others close up. */
  close(sequence: number, { from, count, length }: Gap): void {
    const table = this.tables[sequence]!;
    const [first, blocks] = [Math.floor(from / this.positions), count / this.positions];
    const [end, old] = [Math.ceil(length / this.positions), this.firstBlock[sequence]!];
    for (let b = Math.max(first, old); b < first + blocks; b++) this.allocator.release(table[b]!);
    table.copyWithin(first, first + blocks, end);
    table.fill(-1, end - blocks, end);
    if (old > first) this.firstBlock[sequence] = Math.max(first, old - blocks);
  }

  /** Blocks behind a gap that are there. */
  private *moving(sequence: number, { from, count, length }: Gap): Iterable<number> {
    const { positions } = this;
    const first = Math.floor(from / positions) + count / positions;
    for (let b = Math.max(first, this.firstBlock[sequence]!); b * positions < length; b++) yield b;
  }

  /** The first block that a row at `position` sees. */
  firstSeen(position: number): number {
    return firstSeenBlock(position, this.window, this.positions);
  }

  snapshot(sequence: number, length: number): UnitSnapshot {
    const blocks = Math.ceil(length / this.positions);
    return { kind: "pages", units: Array.from(this.tables[sequence]!.subarray(0, blocks)) };
  }

  /** Pages that the next row makes this sequence copy: 1 when its last one is begun and shared. */
  private copies(sequence: number, length: number): number {
    if (length % this.positions === 0) return 0;
    return this.allocator.holders(this.tables[sequence]![Math.floor(length / this.positions)]!) > 1 ? 1 : 0;
  }

  private forget(sequence: number, next: number): void {
    if (this.window === 0) return;
    const seen = next - this.window + 1 - this.slack;
    let first = this.firstBlock[sequence]!;
    while ((first + 1) * this.positions <= seen) this.drop(sequence, first++);
    this.firstBlock[sequence] = first;
  }

  private drop(sequence: number, block: number): void {
    const table = this.tables[sequence]!;
    this.allocator.release(table[block]!);
    table[block] = -1;
  }
}
