/**
 * Blocks of the file itself that guess further tokens (MTP, nextn). A block reads the token at a position and what the
 * trunk, or the block before it, made of the position before; so its first guess is of the token behind the newest, and
 * each guess leads to the next one. The last block goes on for those that are missing.
 */
import { asHundredweightError } from "../errors.js";
import { pagePositions, type RowTable } from "../ops/ops.js";
import { type RowScans, topLogprobs } from "../sampling/logprobs.js";
import type { StateCache } from "../state/cache.js";
import type { Guessed, Pays } from "./draft-model.js";
import { type Followed, FollowedRows } from "./followed-rows.js";
import type { EngineModel } from "./parts.js";
import { type Carried, type Pass, reached } from "./pass.js";
import type { Task } from "./task.js";

export interface DraftBlocksOptions {
  readonly blocks: NonNullable<EngineModel["blocks"]>;
  readonly of: "hidden" | "carried";
  readonly cache: StateCache;
  readonly dim: number;
  readonly vocab: number;
  readonly mostRows: number;
  readonly scans: RowScans;
  /** Some layers forget: pages of rows that wait could be gone. */
  readonly windowed: boolean;
  /** The tasks whose answers may be guessed. */
  readonly follows: (task: Task) => boolean;
}

/** Rows that wait until they are evaluated together: the block's weights are read once for all of them. */
const mostWaiting = 32;

/** Rows of one sequence for a pass of a block. */
interface BlockRows {
  readonly sequence: number;
  /** Position of the first. */
  readonly from: number;
  /** Rows from which they go on [dim]. */
  readonly inputs: readonly Float32Array[];
  readonly ids: readonly number[];
}

/** An answer whose next tokens are being guessed. */
interface Chain {
  readonly answer: Guessed;
  readonly sequence: number;
  readonly length: number;
  readonly followed: Followed;
  /** Most guesses. */
  readonly room: number;
  readonly guesses: number[];
  readonly certainty: number[];
  /** Rows of the next pass, what they go on from and their tokens: the newest token and guesses at the end. */
  inputs: Float32Array[];
  ids: number[];
  /** Rows from which each block would go on at `length`. */
  readonly next: Float32Array[];
  expected: number;
  all: number;
}

export class DraftBlocks {
  private readonly o: DraftBlocksOptions;
  private readonly rows: FollowedRows;
  /** Rows of tasks that blocks follow. */
  readonly carried: Carried;
  /** Milliseconds of a guess, of all answers together. */
  passMs: number | undefined;

  constructor(options: DraftBlocksOptions) {
    const { cache, dim, blocks, of, follows } = options;
    this.o = options;
    this.carried = { of, isFor: follows };
    this.rows = new FollowedRows({
      ...{ cache, dim, blocks: blocks.length },
      store: (sequence) => {
        try {
          this.store([sequence]);
        } catch (error) {
          // A stop; whatever else it is, the next guess will say so.
          if (asHundredweightError(error).code !== "CANCELLED") this.fault ??= error;
        }
      },
    });
  }
  private fault: unknown;

  /**
   * Takes up what a pass has evaluated, before its wrong drafts are taken back.
   * @throws what the blocks throw, CANCELLED among it: then the rows go on waiting
   */
  follow(pass: Pass): void {
    for (const part of pass.parts) {
      const { sequence, from, task, carried } = part;
      const followed = carried && this.rows.at(sequence, from);
      if (followed === undefined) {
        this.rows.lose(sequence, from);
        continue;
      }
      const to = reached(part);
      followed.rows.push(...carried!.slice(0, to - from));
      followed.ids.push(...task.tokens.subarray(from, to));
    }
    const most = this.o.windowed ? 0 : mostWaiting;
    this.store([...this.rows.waiting].filter(([, count]) => count > most).map(([sequence]) => sequence));
  }

  /**
   * Guesses for these answers, all in one pass a guess, as far as that pays.
   * @throws what the blocks throw, CANCELLED among it
   */
  async guess(answers: readonly { readonly task: Guessed; readonly sequence: number }[], pays: Pays): Promise<void> {
    if (this.fault !== undefined) throw this.fault;
    const more = (answer: Guessed, guesses = 0, expected = 1, all = 1): boolean =>
      guesses < answer.wants() && (answer.always || pays(guesses, expected, all * answer.hope));
    const { cache, mostRows, blocks } = this.o;
    const chains = answers
      .slice(0, mostRows)
      .flatMap(({ task, sequence }) => (more(task) ? (this.begin(task, sequence) ?? []) : []));
    const parts = chains.map(({ sequence, room }) => ({ sequence, rows: room }));
    if (chains.length === 0 || !cache.hasRoomFor(parts)) return;
    const waiting = chains.reduce((sum, { inputs }) => sum + inputs.length + blocks.length, 0);
    if (waiting > mostRows) return this.store(chains.map(({ sequence }) => sequence));
    for (const { sequence, rows } of parts) cache.append(sequence, rows);
    try {
      let active = chains;
      for (let step = 0; active.length > 0; step++) {
        const began = performance.now();
        await this.step(active, step);
        const elapsed = performance.now() - began;
        this.passMs = this.passMs === undefined ? elapsed : 0.8 * this.passMs + 0.2 * elapsed;
        active = active.filter(
          ({ answer, guesses, room, expected, all }) =>
            guesses.length < room && more(answer, guesses.length, expected, all),
        );
      }
    } finally {
      for (const { sequence, length } of chains) cache.rewind(sequence, length);
    }
    for (const { answer, guesses, certainty, followed, length, next } of chains) {
      answer.offer(guesses, certainty);
      // Each block has stored all rows that waited.
      if (guesses.length < blocks.length) continue;
      followed.done = length;
      followed.before = next;
      followed.rows = [];
      followed.ids = [];
    }
  }

  private begin(answer: Guessed, sequence: number): Chain | undefined {
    const { cache, blocks } = this.o;
    const length = cache.length(sequence);
    const followed = this.rows.at(sequence, length);
    const room = Math.min(answer.wants(), cache.contextTokens - length);
    if (followed === undefined || room <= 0 || answer.known !== length + 1) return undefined;
    const ids = [...followed.ids, answer.tokens[length]!];
    const inputs = [followed.before[0]!, ...followed.rows];
    const next = followed.before.slice(0, blocks.length);
    next[0] = inputs.at(-1)!;
    return {
      ...{ answer, sequence, length, followed, room, inputs, ids, next },
      ...{ guesses: [], certainty: [], expected: 1, all: 1 },
    };
  }

  /** One guess more for each. */
  private async step(chains: readonly Chain[], step: number): Promise<void> {
    const { blocks, vocab, dim, scans } = this.o;
    const last = step >= blocks.length;
    const rows = chains.map(({ sequence, length, followed, inputs, ids }): BlockRows => {
      return { sequence, from: last ? length + step : followed.done, inputs, ids };
    });
    const { table, ends, inputs } = this.passOf(rows);
    // The next block reads all of them, the same one goes on from the last.
    const wanted = step + 1 < blocks.length ? Int32Array.from({ length: table.count }, (_, t) => t) : ends;
    const made: Float32Array[] = [];
    const block = blocks[Math.min(step, blocks.length - 1)]!;
    await block.forward(
      table,
      ends,
      (values, first) => {
        for (let i = 0; i * vocab < values.length; i++)
          this.take(chains[first + i]!, topLogprobs(values.subarray(i * vocab, (i + 1) * vocab), 0, 1, scans).top[0]!);
      },
      undefined,
      {
        inputs: { hidden: inputs },
        carried: {
          wanted,
          of: this.o.of,
          onHidden: (values) => {
            for (let i = 0; i * dim < values.length; i++) made.push(values.slice(i * dim, (i + 1) * dim));
          },
        },
      },
    );
    let at = 0;
    for (const chain of chains) {
      const guess = chain.guesses.at(-1)!;
      if (wanted === ends) {
        chain.inputs = [made[at++]!];
        chain.ids = [guess];
        continue;
      }
      chain.ids.push(guess);
      const own = made.slice(at, at + chain.inputs.length);
      at += own.length;
      chain.inputs = [chain.followed.before[step + 1]!, ...own];
      chain.next[step + 1] = chain.inputs[chain.length - chain.followed.done]!;
    }
  }

  private take(chain: Chain, { id, logprob }: { readonly id: number; readonly logprob: number }): void {
    const certainty = Math.exp(logprob);
    chain.guesses.push(id);
    chain.certainty.push(certainty);
    chain.all *= chain.answer.oddsOf(certainty);
    chain.expected += chain.all;
  }

  /** Evaluates what waits of these sequences, and nothing is wanted of it but what it keeps. */
  private store(sequences: readonly number[]): void {
    const { mostRows, blocks, dim } = this.o;
    for (const sequence of sequences) {
      const followed = this.rows.known(sequence);
      while (followed !== undefined && followed.rows.length > 0) {
        const count = Math.min(followed.rows.length, mostRows);
        let made = followed.rows.slice(0, count);
        const before: Float32Array[] = [];
        for (const [b, block] of blocks.entries()) {
          const inputs = [followed.before[b]!, ...made.slice(0, -1)];
          before.push(made.at(-1)!);
          const rows = this.passOf([{ sequence, from: followed.done, inputs, ids: followed.ids }]);
          const further = b + 1 < blocks.length;
          const out = block.fill(rows.table, { hidden: rows.inputs }, further ? this.o.of : undefined);
          if (out !== undefined) made = made.map((_, i) => out.slice(i * dim, (i + 1) * dim));
        }
        followed.before = before;
        followed.done += count;
        followed.rows.splice(0, count);
        followed.ids.splice(0, count);
      }
    }
  }

  private passOf(parts: readonly BlockRows[]): { table: RowTable; ends: Int32Array; inputs: Float32Array } {
    const { cache, dim } = this.o;
    const count = parts.reduce((sum, { inputs }) => sum + inputs.length, 0);
    const [ids, positions, sequences] = [new Int32Array(count), new Int32Array(count), new Int32Array(count)];
    const ends = new Int32Array(parts.length);
    const flat = new Float32Array(count * dim);
    let [at, blocks] = [0, 0];
    for (const [s, { from, inputs, ids: own }] of parts.entries()) {
      for (const [i, input] of inputs.entries()) {
        ids[at] = own[i]!;
        positions[at] = from + i;
        sequences[at] = s;
        flat.set(input, at * dim);
        at++;
      }
      ends[s] = at - 1;
      blocks = Math.max(blocks, Math.ceil((from + inputs.length) / pagePositions));
    }
    const blockTables = cache.blockTables.map((tables) =>
      parts.map(({ sequence }) => tables[sequence]!.subarray(0, blocks)),
    );
    return { table: { count, ids, positions, sequences, blockTables }, ends, inputs: flat };
  }
}
