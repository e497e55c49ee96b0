/**
 * Evaluates the prompts of a case one way, through the states of the engine: pages are forgotten, shared and copied,
 * slots are exchanged, and some passes have guesses behind their rows that are refused.
 */

import assert from "node:assert/strict";
import { dirname } from "node:path";
import { openCheckpoint } from "../../src/containers/index.js";
import { stateOptions } from "../../src/engine/parts.js";
import { type BoundModel, describeModel, withAdapters } from "../../src/models/index.js";
import { type Backend, keptRows, type RowTable } from "../../src/ops/ops.js";
import { PastMemory } from "../../src/past/memory.js";
import { RecordFile, recordUnits, sliceBytes, writeRecord } from "../../src/past/record.js";
import { StateCache } from "../../src/state/cache.js";
import { seededWords } from "../../src/synth/random.js";
import { leastKvMemory } from "../support/cold-memory.js";
import { bindPlaced, placements } from "../support/placements.js";
import { randomAdapters } from "../support/random-adapters.js";
import { adaptersOf, type Case, chunkSizes, type Way } from "./cases.js";

/** Logits by sequence and position, bits of f32 rows [vocab]. Rows a way does not ask for are absent. */
export type Logits = readonly (readonly (Uint32Array | undefined)[])[];

const contextTokens = 640;
/** Three sequences of the largest chunk. */
const mostRows = 3 * 65 + keptRows;

/** Every sequence alone, whole, in one thread of the best instruction set, the file mapped. */
export async function evaluateReference(path: string, c: Case, isa: string): Promise<Logits> {
  const placement = placements[0]!;
  const plain = { isa, threads: 1, chunk: 600, batched: false, logitRows: 600, placement };
  return evaluate(
    path,
    { ...c, shared: 0 },
    plain,
    600,
    () => true,
    () => 0,
  );
}

export async function evaluateWay(path: string, c: Case, way: Way, index: number): Promise<Logits> {
  const words = seededWords(c.seed, `way ${index}`);
  // Some rows want no logits, as in a prefill; the last ones are told apart by the rows that follow.
  const guesses = (): number => (c.whole || words() % 3 > 0 ? 0 : words() % keptRows);
  return evaluate(path, c, way, mostRows, () => words() % 4 > 0, guesses, words);
}

async function evaluate(
  path: string,
  c: Case,
  way: Way,
  maxRows: number,
  wants: () => boolean,
  guesses: () => number,
  words: () => number = () => 0,
): Promise<Logits> {
  const sequences = c.prompts.length;
  // Forks begin at a checkpoint of the first sequence, which keeps it beside the slots that sequences run in.
  const checkpoints = c.shared > 0 ? 1 : 0;
  const description = describeModel(await openCheckpoint(path), c.model.find);
  const plain = { contextTokens, maxRows, sequences, checkpoints, kvType: c.kvType, maxLogitRows: way.logitRows };
  const kvMemory = way.cold ? leastKvMemory(description, plain, dirname(path)) : undefined;
  const options = { ...plain, ...(kvMemory !== undefined && { kvMemory }) };
  const model = await bindPlaced(
    (c.adapters ?? "none") !== "none"
      ? withAdapters(description, randomAdapters(path, description, c.seed))
      : description,
    way,
    options,
    (n) => words() % n,
  );
  try {
    const cache = new StateCache({
      ...stateOptions(model, model.ops),
      // One more for what comes back from a file.
      sequences: sequences + 1,
      growing: sequences,
      contextTokens,
      maxRows,
    });
    const chosen = seededWords(c.seed, "restores");
    const restores = (): boolean => way.restores === true && chosen() % 3 === 0;
    const run = new Run(model, cache, c, { wants, guesses, restores }, `${path}.past`);
    const chunk = (): number => (way.chunk === "random" ? chunkSizes[words() % chunkSizes.length]! : way.chunk);
    if (way.batched) await run.together(chunk, words);
    else await run.alone(chunk);
    return run.logits;
  } finally {
    model.close();
  }
}

interface Choices {
  /** Whether the logits of a row are asked for. */
  readonly wants: () => boolean;
  /** How many guesses follow the rows of a sequence in a pass. */
  readonly guesses: () => number;
  /** Whether a sequence goes into a file and comes back behind a pass. */
  readonly restores: () => boolean;
}

/** Each costs a wait for the disk. */
const mostRestores = 2;

class Run {
  readonly logits: (Uint32Array | undefined)[][];
  readonly #model: BoundModel;
  readonly #cache: StateCache;
  readonly #case: Case;
  readonly #choices: Choices;
  readonly #memory: PastMemory;
  readonly #file: string;
  restored = 0;
  /** Cache slot of each prompt. */
  readonly #slots: number[] = [];

  constructor(model: BoundModel, cache: StateCache, c: Case, choices: Choices, file: string) {
    this.logits = c.prompts.map(() => []);
    this.#model = model;
    this.#cache = cache;
    this.#case = c;
    this.#choices = choices;
    this.#memory = new PastMemory(model.ops as Backend, cache, model.kvGroups, model.slots);
    this.#file = file;
  }

  async alone(chunk: () => number): Promise<void> {
    for (const [s, ids] of this.#case.prompts.entries()) {
      this.#slots[s] = this.#cache.openSequence();
      for (let left = ids.length; left > 0; ) {
        const rows = Math.min(left, chunk());
        await this.#pass([[s, rows]]);
        left -= rows;
      }
    }
  }

  /** The first sequence alone as far as all agree, forks of it, then passes of a random mix of sequences. */
  async together(chunk: () => number, words: () => number): Promise<void> {
    const { prompts, shared } = this.#case;
    const cache = this.#cache;
    this.#slots[0] = cache.openSequence();
    // The pass ends there, or the forks begin within it: where a window has not forgotten what they see.
    const most = cache.windowed || words() % 2 === 0 ? shared : prompts[0]!.length;
    while (this.#length(0) < shared)
      await this.#pass([[0, Math.min(chunk(), most - this.#length(0))]], cache.slots === undefined ? [] : [shared]);
    for (let s = 1; s < prompts.length; s++)
      this.#slots[s] = shared > 0 ? cache.fork(this.#slots[0], shared) : cache.openSequence();
    for (;;) {
      const open = prompts.flatMap((ids, s) => (this.#length(s) < ids.length ? [s] : []));
      if (open.length === 0) return;
      const chosen = open.filter(() => words() % 3 > 0);
      const parts = (chosen.length > 0 ? chosen : open.slice(0, 1)).map((s): [number, number] => [
        s,
        Math.min(chunk(), prompts[s]!.length - this.#length(s)),
      ]);
      await this.#pass(words() % 2 === 0 ? parts : parts.reverse());
    }
  }

  #length(sequence: number): number {
    return this.#cache.length(this.#slots[sequence]!);
  }

  /** One pass of the next rows of some sequences. */
  async #pass(
    parts: readonly (readonly [sequence: number, rows: number])[],
    marks: readonly number[] = [],
  ): Promise<void> {
    const rows: { sequence: number; position: number; guess: boolean }[] = [];
    const appended: { sequence: number; at: number }[] = [];
    for (const [sequence, count] of parts) {
      const from = this.#length(sequence);
      const inside = marks.filter((position) => position > from && position <= from + count);
      const wrong = Math.max(0, Math.min(this.#choices.guesses(), keptRows - count));
      const room = rows.length + count + wrong <= mostRows - 2 * 65;
      const guesses = room && inside.length === 0 ? wrong : 0;
      this.#cache.append(this.#slots[sequence]!, count + guesses, { drafts: guesses > 0, marks: inside });
      appended.push({ sequence: this.#slots[sequence]!, at: rows.length });
      for (let i = 0; i < count + guesses; i++) rows.push({ sequence, position: from + i, guess: i >= count });
    }
    const ids = Int32Array.from(rows, ({ sequence, position, guess }) =>
      guess ? (7 * position) % this.#model.config.vocab : this.#case.prompts[sequence]![position]!,
    );
    const tokens: Int32Array[] = [];
    const adapters: (readonly number[])[] = [];
    for (const [s, slot] of this.#slots.entries()) adapters[slot] = adaptersOf(this.#case, s);
    for (const [s, slot] of this.#slots.entries()) {
      const prompt = this.#case.prompts[s]!;
      // What follows a guess sees it, as it does where tokens come from a job.
      tokens[slot] = new Int32Array(prompt.length + keptRows);
      tokens[slot].set(prompt);
      for (const [t, { sequence, position }] of rows.entries()) if (sequence === s) tokens[slot][position] = ids[t]!;
    }
    const table: RowTable = {
      count: rows.length,
      ids,
      positions: Int32Array.from(rows, ({ position }) => position),
      sequences: Int32Array.from(rows, ({ sequence }) => this.#slots[sequence]!),
      blockTables: this.#cache.blockTables,
      tokens,
      adapters,
      slots: this.#cache.slotTable(this.#case.prompts.map((_, s) => s)),
      marks: this.#cache.markTable(appended),
    };
    const wanted = Int32Array.from(rows.flatMap(({ guess }, t) => (this.#choices.wants() && !guess ? [t] : [])));
    const { vocab } = this.#model.config;
    await this.#model.forward(table, wanted, (logits, first) => {
      for (let i = 0; i * vocab < logits.length; i++) {
        const { sequence, position } = rows[wanted[first + i]!]!;
        this.logits[sequence]![position] = new Uint32Array(logits.slice(i * vocab, (i + 1) * vocab).buffer);
      }
    });
    for (const [t, { sequence, guess, position }] of rows.entries())
      if (guess && !rows[t - 1]!.guess) this.#cache.rewind(this.#slots[sequence]!, position);
    // A state inside of the pass, which forks may begin at, is not what a sequence holds at its end.
    if (marks.length > 0) return;
    for (const [sequence] of parts) if (this.#choices.restores()) await this.#restore(sequence);
  }

  /** Moves what a sequence holds by way of a file into other units. */
  async #restore(sequence: number): Promise<void> {
    const [cache, memory, path] = [this.#cache, this.#memory, this.#file];
    const old = this.#slots[sequence]!;
    cache.settle(old);
    if (this.restored === mostRestores || !cache.canClaim(cache.length(old))) return;
    this.restored++;
    const from = memory.units(old);
    await writeRecord({
      temporary: `${path}.tmp`,
      path,
      header: { units: recordUnits(from) },
      read: (index, offset, into) => memory.read(from[index]!, offset, into),
    });
    const fresh = cache.claim(cache.length(old));
    const to = memory.units(fresh);
    const file = await RecordFile.open(path);
    await file.read((index, offset, bytes) => {
      const { kind, block } = file.header.units[index]!;
      // Pages that were kept behind a window without need are not asked for again.
      const target = to.find((unit) => unit.kind === kind && unit.block === block);
      if (target !== undefined) memory.write(target, offset, bytes);
    }, Buffer.alloc(sliceBytes));
    await file.close();
    // Row tables are by sequence: it gets its number back.
    cache.release(old);
    assert.equal(cache.fork(fresh), old);
    cache.release(fresh);
  }
}
