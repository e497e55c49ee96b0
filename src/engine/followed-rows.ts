/**
 * Blocks that guess keep what they need of a sequence in its own pages, so forks, prefixes and files have it too. Their
 * rows may come later than the trunk's: the hidden rows they go on from wait here, and are evaluated many at once, at
 * the latest when others are about to see the pages.
 */
import type { SequenceWatcher, StateCache } from "../state/cache.js";

/** Where the blocks stand in a sequence. */
export interface Followed {
  /** Positions before it are stored. */
  done: number;
  /** The trunk's hidden rows of positions [done, done + rows.length): evaluated, and not stored. */
  rows: Float32Array[];
  /**
   * Rows from which the blocks go on at `done`: of the position before it the trunk's, and those of the blocks before.
   * Zeros in front of the first position, and where nobody knows them any more.
   */
  before: Float32Array[];
  /** Tokens of the rows that wait. */
  ids: number[];
}

/** From this position on nothing is stored, and the rows it would follow from are gone: no guesses. */
interface Lost {
  readonly lost: number;
}

export interface FollowedOptions {
  readonly cache: StateCache;
  readonly dim: number;
  readonly blocks: number;
  /** Evaluates all that waits of a sequence; what it cannot go on waiting. */
  readonly store: (sequence: number) => void;
}

export class FollowedRows implements SequenceWatcher {
  private readonly o: FollowedOptions;
  private readonly sequences = new Map<number, Followed | Lost>();

  constructor(options: FollowedOptions) {
    this.o = options;
    options.cache.watcher = this;
  }

  /** Undefined where rows before `length` are missing. A sequence that nobody has seen was whole when it came. */
  at(sequence: number, length: number): Followed | undefined {
    const known = this.known(sequence);
    if (known !== undefined) return known.done + known.rows.length === length ? known : undefined;
    if (this.sequences.has(sequence)) return undefined;
    const before = Array.from({ length: this.o.blocks }, () => new Float32Array(this.o.dim));
    const fresh = { done: length, rows: [], before, ids: [] };
    this.sequences.set(sequence, fresh);
    return fresh;
  }

  /** Undefined where rows are missing, and where nobody has looked at the sequence. */
  known(sequence: number): Followed | undefined {
    const known = this.sequences.get(sequence);
    return known !== undefined && "lost" in known ? undefined : known;
  }

  /** Those of which rows wait. */
  get waiting(): Iterable<readonly [sequence: number, rows: number]> {
    return [...this.sequences].flatMap(([sequence, one]) =>
      "lost" in one || one.rows.length === 0 ? [] : [[sequence, one.rows.length] as const],
    );
  }

  /** Rows from `position` on are not followed. */
  lose(sequence: number, position: number): void {
    if (this.sequences.has(sequence) && this.known(sequence) === undefined) return;
    this.seen(sequence);
    this.sequences.set(sequence, { lost: Math.min(position, this.known(sequence)?.done ?? position) });
  }

  storedBefore(sequence: number): number {
    const known = this.sequences.get(sequence);
    if (known === undefined) return Number.POSITIVE_INFINITY;
    if ("lost" in known) return known.lost;
    // Rows that a stop kept from being stored go on waiting.
    return known.rows.length > 0 ? known.done : Number.POSITIVE_INFINITY;
  }

  seen(sequence: number): void {
    if ((this.known(sequence)?.rows.length ?? 0) > 0) this.o.store(sequence);
  }

  forked(sequence: number, copy: number, position: number): void {
    const known = this.sequences.get(sequence);
    if (known === undefined) return;
    if ("lost" in known) {
      if (known.lost < position) this.sequences.set(copy, known);
    } else if (known.done < position) this.sequences.set(copy, { lost: known.done });
    else if (known.done === position) this.sequences.set(copy, { ...known, rows: [], ids: [] });
  }

  rewound(sequence: number, position: number): void {
    const known = this.sequences.get(sequence);
    if (known === undefined) return;
    const keeps = "lost" in known ? position > known.lost : position >= known.done && position > 0;
    if (!keeps) this.sequences.delete(sequence);
    else if (!("lost" in known) && known.rows.length > position - known.done)
      known.rows.length = known.ids.length = position - known.done;
  }

  moved(sequence: number, position: number): void {
    this.lose(sequence, position);
  }
}
