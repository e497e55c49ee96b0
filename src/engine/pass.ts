/** One pass for many jobs: which rows, their table, and whose the logits are. */
import type { HiddenRows, PassExtras } from "../models/index.js";
import { pagePositions, type RowTable } from "../ops/ops.js";
import { mark } from "../process/marks.js";
import type { StateCache } from "../state/cache.js";
import type { EngineModel } from "./parts.js";
import type { RowKind, Task, Wanted } from "./task.js";

/** Rows that one sequence asks for: [from, from + rows). */
interface Rows {
  readonly task: Task;
  readonly sequence: number;
  readonly from: number;
  readonly rows: number;
  /** The kind of all its rows but the drafts. */
  readonly kind: RowKind;
  /** Its last rows: guesses. */
  readonly drafts: number;
  /** Positions in (from, from + rows] whose past is to be kept. */
  readonly marks: readonly number[];
}

export interface PassPart extends Omit<Rows, "marks"> {
  /** Where its rows begin in the table. */
  readonly at: number;
  marks: Rows["marks"];
  /** Drafts that were right, counted as their rows are handed out. */
  accepted: number;
  /** The error of `take`: the end of this job, no other's. */
  fault?: unknown;
  /** Its rows as blocks that guess go on from them [rows][dim], where they were asked for. */
  carried?: Float32Array[];
}

/** Rows of a pass that are carried on to blocks that guess. */
export interface Carried {
  readonly of: "hidden" | "carried";
  isFor(task: Task): boolean;
}

/** Where the timeline of its task ends when the pass is over: in front of the first guess that was wrong. */
export function reached({ from, rows, drafts, accepted }: PassPart): number {
  return from + rows - drafts + accepted;
}

export class Pass {
  readonly parts: PassPart[] = [];
  rows = 0;
  /** As they are evaluated [rows]. */
  private ids = new Int32Array(0);

  add({ task, sequence, from, rows, kind, drafts, marks }: Rows): void {
    this.parts.push({ task, sequence, from, rows, kind, drafts, marks, at: this.rows, accepted: 0 });
    this.rows += rows;
  }

  /** Rows of answers in the making, their drafts included. */
  get decoding(): number {
    return this.parts.reduce((sum, { kind, rows }) => sum + (kind === "answer" ? rows : 0), 0);
  }

  /**
   * Walks through the model. KV pages for the rows must be there.
   * @param carried leaves rows in the parts
   * @throws what the model throws; parts keep what they were given before
   */
  async run(model: EngineModel, cache: StateCache, vocab: number, dim: number, carried?: Carried): Promise<void> {
    const logits = this.wanting("logits");
    const hidden = this.wanting("hidden");
    mark("engine: first pass begins");
    await model.forward(
      this.table(cache),
      logits,
      (values, first) => this.hand(values, vocab, logits, first),
      hidden.length === 0
        ? undefined
        : { wanted: hidden, onHidden: (values, first) => this.hand(values, dim, hidden, first) },
      { ...this.ofTexts(), carried: carried && this.carriedRows(carried, dim) },
    );
    mark("engine: first pass done");
  }

  /** Asks for what is made of whole texts, each by its last row. A model makes vectors or scores, not both. */
  private ofTexts(): PassExtras {
    for (const [what, name] of [["pooled", "onPooled"] as const, ["rank", "onRank"] as const]) {
      const lastRows = this.wanting(what);
      if (lastRows.length === 0) continue;
      const hear = (values: Float32Array): void => this.hand(values, values.length / lastRows.length, lastRows, 0);
      return { lastRows, [name]: hear };
    }
    return {};
  }

  private carriedRows({ of, isFor }: Carried, dim: number): HiddenRows {
    const rows: Float32Array[][] = [];
    const wanted: number[] = [];
    for (const part of this.parts) {
      if (!isFor(part.task)) continue;
      const own: Float32Array[] = [];
      part.carried = own;
      for (let i = 0; i < part.rows; i++) {
        wanted.push(part.at + i);
        rows.push(own);
      }
    }
    const onHidden = (values: Float32Array, first: number): void => {
      for (let i = 0; i * dim < values.length; i++) rows[first + i]!.push(values.slice(i * dim, (i + 1) * dim));
    };
    return { wanted: Int32Array.from(wanted), onHidden, of };
  }

  private wanting(what: Exclude<Wanted, "nothing">): Int32Array {
    const rows: number[] = [];
    for (const { task, from, rows: count, at } of this.parts)
      for (let i = 0; i < count; i++) if (task.wanted(from + i) === what) rows.push(at + i);
    return Int32Array.from(rows);
  }

  /** Only the block tables of this pass, as long as it needs them: kept sequences cost nothing. */
  private table(cache: StateCache): RowTable {
    const ids = new Int32Array(this.rows);
    this.ids = ids;
    const positions = new Int32Array(this.rows);
    const sequences = new Int32Array(this.rows);
    let blocks = 0;
    for (const [s, { task, from, rows, at }] of this.parts.entries()) {
      ids.set(task.tokens.subarray(from, from + rows), at);
      sequences.fill(s, at, at + rows);
      for (let i = 0; i < rows; i++) positions[at + i] = from + i;
      blocks = Math.max(blocks, Math.ceil((from + rows) / pagePositions));
    }
    const blockTables = cache.blockTables.map((tables) =>
      this.parts.map(({ sequence }) => tables[sequence]!.subarray(0, blocks)),
    );
    const slots = cache.slotTable(this.parts.map(({ sequence }) => sequence));
    const marks = cache.markTable(this.parts);
    const tokens = this.parts.map(({ task }) => task.tokens);
    const adapters = this.parts.map(({ task }) => task.adapters);
    return { count: this.rows, ids, positions, sequences, blockTables, slots, marks, tokens, adapters };
  }

  private hand(values: Float32Array, width: number, wanted: Int32Array, first: number): void {
    let p = 0;
    for (let i = 0; i * width < values.length; i++) {
      const row = wanted[first + i]!;
      while (row >= this.parts[p]!.at + this.parts[p]!.rows) p++;
      const part = this.parts[p]!;
      if (part.fault !== undefined || !this.holds(part, row)) continue;
      try {
        part.task.take(part.from + row - part.at, values.subarray(i * width, (i + 1) * width));
      } catch (error) {
        part.fault = error;
      }
    }
  }

  /** A row behind a wrong guess is nobody's. A guess is right when the task has chosen the same from the row before. */
  private holds(part: PassPart, row: number): boolean {
    if (row < part.at + part.rows - part.drafts) return true;
    const { task } = part;
    const position = part.from + row - part.at;
    const right = position < task.known && task.tokens[position] === this.ids[row];
    if (right) part.accepted++;
    return right;
  }
}
