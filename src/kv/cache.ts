/**
 * Block tables of all sequences over the KV pools of a model. A pool serves a group of layers that forget at the same
 * pace: `window` 0 keeps everything, otherwise pages that no later row can see are given back.
 *
 * Pages are shared by forks and copied when one of them writes (copy-on-write). Pools are the model's, in creation order.
 */
import { HundredweightError } from "../errors.js";
import { pagePositions } from "../ops/ops.js";
import { PageAllocator } from "./pages.js";

export interface KvGroupShape {
  readonly pages: number;
  /** A row at position p sees keys from p - window + 1; 0 = all. */
  readonly window: number;
}

export interface KvCacheOptions {
  readonly groups: readonly KvGroupShape[];
  /** Sequences that can be open at once. */
  readonly sequences: number;
  /** How many of these grow at the same time; the others are kept for their past. Default: all. */
  readonly growing?: number;
  /** Positions a sequence may reach. */
  readonly contextTokens: number;
  /** Most rows one sequence appends in a pass. */
  readonly maxRows: number;
  /** Copies a page of a group with all its layers. */
  copyPage(group: number, from: number, to: number): void;
}

interface Group {
  readonly window: number;
  /** Positions kept behind the window so that short rewinds are possible: what the pool has to spare. */
  readonly slack: number;
  readonly maxRows: number;
  readonly allocator: PageAllocator;
  readonly tables: readonly Int32Array[];
  /** Per sequence: first block that is still there. */
  readonly firstBlock: Int32Array;
}

export class KvCache {
  readonly contextTokens: number;
  /** Per group, per sequence slot: page ids, -1 where absent. The same arrays for the life of the cache. */
  readonly blockTables: readonly (readonly Int32Array[])[];
  private readonly groups: readonly Group[];
  private readonly lengths: Int32Array;
  private readonly open: Uint8Array;
  private readonly copyPage: KvCacheOptions["copyPage"];

  constructor(options: KvCacheOptions) {
    const { sequences, contextTokens, growing = sequences, maxRows } = options;
    this.contextTokens = contextTokens;
    this.copyPage = options.copyPage;
    const blocks = Math.ceil(contextTokens / pagePositions);
    this.groups = options.groups.map((shape) => ({
      window: shape.window,
      // Rounding at both ends of [length - window - slack, length + rows) can cost almost a page each.
      slack: Math.max(
        0,
        Math.floor(shape.pages / growing) * pagePositions - shape.window - maxRows - 2 * pagePositions,
      ),
      maxRows,
      allocator: new PageAllocator(shape.pages),
      tables: Array.from({ length: sequences }, () => new Int32Array(blocks).fill(-1)),
      firstBlock: new Int32Array(sequences),
    }));
    this.blockTables = this.groups.map((group) => group.tables);
    this.lengths = new Int32Array(sequences);
    this.open = new Uint8Array(sequences);
  }

  /** Opens an empty sequence and returns its slot. @throws CONTEXT_EXCEEDED when all slots are in use */
  openSequence(): number {
    const slot = this.open.indexOf(0);
    if (slot < 0) {
      throw new HundredweightError("CONTEXT_EXCEEDED", `all ${this.open.length} sequences are in use; close one`);
    }
    this.open[slot] = 1;
    this.lengths[slot] = 0;
    return slot;
  }

  length(sequence: number): number {
    this.check(sequence);
    return this.lengths[sequence]!;
  }

  /** Pages that are free, per group. */
  freePages(): number[] {
    return this.groups.map((group) => group.allocator.free);
  }

  /** Most pages that were ever in use, per group. */
  touchedPages(): number[] {
    return this.groups.map((group) => group.allocator.most);
  }

  /**
   * Makes room for rows [length, length + rows): the sequence owns every page they are written to, alone. Pages
   * behind the window of the first new row are given back before. On failure nothing has changed but that.
   * @throws CONTEXT_EXCEEDED beyond the context, or when no page is left
   */
  append(sequence: number, rows: number): void {
    this.check(sequence);
    const from = this.lengths[sequence]!;
    const to = from + rows;
    if (to > this.contextTokens) {
      throw new HundredweightError("CONTEXT_EXCEEDED", `${to} tokens do not fit a context of ${this.contextTokens}`, {
        tokens: to,
        contextTokens: this.contextTokens,
      });
    }
    if (rows <= 0) return;
    if (!this.hasRoom(sequence, rows)) {
      throw new HundredweightError(
        "CONTEXT_EXCEEDED",
        `the KV cache has ${this.freePages().join(" + ")} free pages of ${pagePositions} positions, too few for ` +
          `${rows} more; raise the context or close other sequences`,
      );
    }
    const firstNew = Math.ceil(from / pagePositions);
    const end = Math.ceil(to / pagePositions);
    const partial = from % pagePositions !== 0 ? firstNew - 1 : -1;
    for (const [g, group] of this.groups.entries()) {
      const table = group.tables[sequence]!;
      if (partial >= 0 && group.allocator.count(table[partial]!) > 1) {
        const copy = group.allocator.take();
        this.copyPage(g, table[partial]!, copy);
        group.allocator.release(table[partial]!);
        table[partial] = copy;
      }
      for (let b = firstNew; b < end; b++) table[b] = group.allocator.take();
    }
    this.lengths[sequence] = to;
  }

  /** Whether there are pages for so many rows more. Gives back those behind the window of the first of them. */
  hasRoom(sequence: number, rows: number): boolean {
    return this.hasRoomFor([{ sequence, rows }]);
  }

  /** The same for several that grow in one pass. A page that two of them share is taken to be copied twice. */
  hasRoomFor(parts: readonly { readonly sequence: number; readonly rows: number }[]): boolean {
    for (const group of this.groups) {
      for (const { sequence } of parts) this.forget(group, sequence, this.lengths[sequence]!);
    }
    return this.groups.every((group) => {
      let wanted = 0;
      for (const { sequence, rows } of parts) {
        const from = this.lengths[sequence]!;
        const fresh = Math.ceil((from + rows) / pagePositions) - Math.ceil(from / pagePositions);
        wanted += fresh + this.copies(group, sequence);
      }
      return wanted <= group.allocator.free;
    });
  }

  /**
   * Whether these sequences can all grow to their numbers of positions, page by page in any order, when every other
   * sequence is released. Pages they share count once; windows give back what they pass, so there nothing counts as shared.
   */
  canGrow(sequences: ReadonlyMap<number, number>): boolean {
    return this.groups.every((group) => {
      const shared = new Set<number>();
      let pages = 0;
      for (const [sequence, positions] of sequences) {
        const most = Math.ceil(positions / pagePositions);
        if (group.window > 0) {
          // The span [next - window - slack, next + rows) may begin anywhere in a page.
          pages += Math.min(most, Math.ceil((group.window + group.slack + group.maxRows) / pagePositions) + 1);
          continue;
        }
        const held = Math.ceil(this.lengths[sequence]! / pagePositions);
        const table = group.tables[sequence]!;
        for (let b = 0; b < held; b++) shared.add(table[b]!);
        pages += Math.max(0, most - held) + this.copies(group, sequence);
      }
      return pages + shared.size <= group.allocator.pages;
    });
  }

  /** Pages that hold something, and all: of the group that never forgets, where there is one. */
  usage(): { readonly used: number; readonly pages: number } {
    const { allocator } = this.groups.find((group) => group.window === 0) ?? this.groups[0]!;
    return { used: allocator.pages - allocator.free, pages: allocator.pages };
  }

  /** Whether some layers forget. */
  get windowed(): boolean {
    return this.groups.some((group) => group.window > 0);
  }

  /** Pages that the next row makes this sequence copy: 1 when its last one is begun and shared. */
  private copies(group: Group, sequence: number): number {
    const length = this.lengths[sequence]!;
    if (length % pagePositions === 0) return 0;
    return group.allocator.count(group.tables[sequence]![Math.floor(length / pagePositions)]!) > 1 ? 1 : 0;
  }

  /**
   * The largest position <= `position` the sequence can go back to: `position` itself unless a window group has
   * forgotten pages that a row there would see; then 0, for only a fresh start is left.
   */
  rewindTarget(sequence: number, position: number): number {
    this.check(sequence);
    const target = Math.min(Math.max(0, position), this.lengths[sequence]!);
    for (const group of this.groups) {
      const kept = group.firstBlock[sequence]! * pagePositions;
      if (kept > 0 && target - group.window + 1 < kept) return 0;
    }
    return target;
  }

  /**
   * Forgets the rows from `position` on.
   * @returns the position reached: see `rewindTarget`
   */
  rewind(sequence: number, position: number): number {
    const target = this.rewindTarget(sequence, position);
    const keep = Math.ceil(target / pagePositions);
    const end = Math.ceil(this.lengths[sequence]! / pagePositions);
    for (const group of this.groups) {
      const table = group.tables[sequence]!;
      for (let b = Math.max(keep, group.firstBlock[sequence]!); b < end; b++) this.drop(group, table, b);
      if (target === 0) group.firstBlock[sequence] = 0;
    }
    this.lengths[sequence] = target;
    return target;
  }

  /** A new sequence with the same past; pages are shared until one of the two writes to them. */
  fork(sequence: number): number {
    this.check(sequence);
    const copy = this.openSequence();
    const end = Math.ceil(this.lengths[sequence]! / pagePositions);
    for (const group of this.groups) {
      const from = group.tables[sequence]!;
      const to = group.tables[copy]!;
      for (let b = group.firstBlock[sequence]!; b < end; b++) {
        group.allocator.retain(from[b]!);
        to[b] = from[b]!;
      }
      group.firstBlock[copy] = group.firstBlock[sequence]!;
    }
    this.lengths[copy] = this.lengths[sequence]!;
    return copy;
  }

  /** Closes the sequence and gives its pages back. */
  release(sequence: number): void {
    this.rewind(sequence, 0);
    this.open[sequence] = 0;
  }

  private forget(group: Group, sequence: number, next: number): void {
    if (group.window === 0) return;
    const seen = next - group.window + 1 - group.slack;
    const table = group.tables[sequence]!;
    let first = group.firstBlock[sequence]!;
    while ((first + 1) * pagePositions <= seen) this.drop(group, table, first++);
    group.firstBlock[sequence] = first;
  }

  private drop(group: Group, table: Int32Array, block: number): void {
    group.allocator.release(table[block]!);
    table[block] = -1;
  }

  private check(sequence: number): void {
    if (this.open[sequence] !== 1) {
      throw new HundredweightError("INTERNAL", `KV sequence ${sequence} is not open`, { sequence });
    }
  }
}
