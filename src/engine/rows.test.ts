/** A pass takes rows by their kind; drafts change the number of passes and nothing else. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type FakeOptions, fakeParts } from "../../test/support/fake-model.js";
import { Rng } from "../sampling/rng.js";
import { StateCache } from "../state/cache.js";
import { Ledger } from "../weights/ledger.js";
import type { JobResult, LedgerEntry } from "./jobs.js";
import { stateOptions } from "./parts.js";
import { chooseRows } from "./rows.js";
import type { Running } from "./running.js";
import { Scheduler } from "./scheduler.js";
import { StopSignal } from "./stop-signal.js";
import { mostAnswerRows, type Task, type Wanted } from "./task.js";

const positions = 420;

/** A greedy answer up to the last position; its guesses are right as often as told. */
class DraftingTask implements Task {
  readonly tokens = new Int32Array(positions);
  readonly mostPositions = positions;
  readonly past = "kept";
  readonly promptTokens: number;
  readonly answer: number[] = [];
  known: number;
  drafts = 0;
  result: JobResult | undefined;
  private readonly truth: readonly number[];
  private readonly right: number;
  private readonly rng: Rng;
  private next: number;

  /** @param truth the answer as it is without guesses */
  constructor(prompt: readonly number[], truth: readonly number[], right: number, rng: Rng) {
    this.truth = truth;
    this.right = right;
    this.rng = rng;
    this.tokens.set(prompt);
    this.promptTokens = prompt.length;
    this.known = prompt.length;
    this.next = prompt.length - 1;
  }

  get reusable(): number {
    return this.next;
  }

  get generated(): number {
    return this.answer.length;
  }

  get answering(): boolean {
    return this.generated > 0;
  }

  start(): void {}

  wanted(position: number): Wanted {
    return position >= this.next ? "logits" : "nothing";
  }

  take(position: number, row: Float32Array): void {
    if (position < this.next || this.result !== undefined) return;
    assert.equal(position, this.next++);
    const id = row.indexOf(Math.max(...row));
    this.answer.push(id);
    if (this.known === positions) this.result = { kind: "watch" };
    else this.tokens[this.known++] = id;
  }

  passed(): void {
    this.drafts = Math.floor(this.rng.uniform() * 40);
    for (let at = this.known; at < Math.min(positions, this.known + this.drafts); at++) {
      const id = this.truth[at - this.promptTokens] ?? 0;
      this.tokens[at] = this.rng.uniform() < this.right ? id : (id + 1) % 250;
    }
  }
}

async function answers(options: FakeOptions, tasks: readonly DraftingTask[], stops = 0): Promise<LedgerEntry[][]> {
  const parts = fakeParts({ contextTokens: 512, ...options });
  const { model } = parts;
  const sequences = options.sequences ?? 1;
  const stop = new StopSignal();
  model.backend.setCancelFlag(stop.words);
  let passes = 0;
  model.onPass = () => {
    if (stops > 0 && passes++ % stops === 0) stop.stop();
  };
  const cache = new StateCache({
    ...stateOptions(model, model.backend),
    sequences: 2 * sequences + 9,
    growing: sequences,
    contextTokens: 512,
    maxRows: parts.info.chunkRows,
  });
  const ledger = new Ledger(() => undefined);
  const limits = { sequences, keptSequences: sequences + 8, queueLimit: 99 };
  const scheduler = new Scheduler({ parts, cache, ledger, stop, ...limits, onChange: () => {} });
  return Promise.all(
    tasks.map(
      (task, id) =>
        new Promise<LedgerEntry[]>((resolve, reject) => {
          const entries: LedgerEntry[] = [];
          scheduler.submit({
            id: id + 1,
            user: "",
            kind: "shared",
            task,
            emit: (event) => event.kind === "pass" && entries.push(event.entry),
            settle: (outcome) => (outcome instanceof Error ? reject(outcome) : resolve(entries)),
          });
        }),
    ),
  );
}

test("drafts change the number of passes, not the answer: with others, stopped passes and few pages", async () => {
  const prompts = [3, 90, 300].map((length, i) => Array.from({ length }, (_, p) => (p * 13 + i * 7) % 250));
  const truths = new Map<string, number[][]>();
  const models = [40, 300].flatMap((window) => [undefined, 0].map((recurrent) => ({ window, recurrent })));
  for (const model of models) {
    const plain = prompts.map((prompt) => new DraftingTask(prompt, [], 0, new Rng(1)));
    for (const task of plain) Object.defineProperty(task, "drafts", { get: () => 0, set: () => {} });
    for (const task of plain) await answers(model, [task]);
    truths.set(
      JSON.stringify(model),
      plain.map(({ answer }) => answer),
    );
  }
  const shape = fc.record({
    model: fc.constantFrom(...models),
    right: fc.constantFrom(0, 0.7, 0.97, 1),
    seed: fc.nat(100),
    chunkRows: fc.constantFrom(20, 64, 200),
    kvTokens: fc.constantFrom(512, 3 * 512),
    stops: fc.constantFrom(0, 3, 10),
  });
  await fc.assert(
    fc.asyncProperty(shape, async ({ model, right, seed, stops, ...options }) => {
      const truth = truths.get(JSON.stringify(model))!;
      const tasks = prompts.map((prompt, i) => new DraftingTask(prompt, truth[i]!, right, new Rng(seed + i)));
      const entries = await answers({ ...options, ...model, sequences: 3 }, tasks, stops);
      for (const [i, task] of tasks.entries()) {
        assert.deepEqual(task.answer, truth[i]);
        const accepted = entries[i]!.reduce((sum, entry) => sum + entry.acceptedDrafts, 0);
        assert.equal(accepted > 0, right > 0);
        // Every answer row gives one token, every guess that was right one more.
        const passes = entries[i]!.filter(({ position }) => position >= task.promptTokens).length;
        assert.ok(stops > 0 || options.kvTokens === 512 || passes + accepted === task.answer.length - 1);
      }
    }),
    { numRuns: 16 },
  );
});

test("rows are chosen by what they are for: the last row of a prompt is not an answer's", () => {
  const { info, model } = fakeParts({ sequences: 8, chunkRows: 64, window: 0 });
  const cache = new StateCache({
    ...stateOptions(model, model.backend),
    sequences: 8,
    contextTokens: 1024,
    maxRows: info.chunkRows,
  });
  const entry = (known: number, evaluated: number, answering: boolean, drafts = 0): Running => {
    const task = new DraftingTask(
      Array.from({ length: known }, () => 1),
      [],
      0,
      new Rng(1),
    );
    if (answering) task.answer.push(1);
    task.drafts = drafts;
    const sequence = cache.openSequence();
    cache.append(sequence, evaluated);
    return { task, sequence, tokens: task.tokens, checkpoints: [], overtaken: 0, servedIn: 0 } as unknown as Running;
  };
  const entries = [
    entry(100, 99, true, 5), // an answer with guesses
    entry(50, 49, false), // the last row of a prompt
    entry(80, 79, true), // an answer
    entry(300, 200, true), // an answer that was sent back
    entry(90, 90, false), // nothing to do
    entry(60, 59, true, 90), // more guesses than a step may have
  ];
  const pass = chooseRows(entries, cache, { pass: 3, mostRows: 64, promptRows: 16, passMs: () => undefined })!;
  const shown = pass.parts.map(({ sequence, kind, rows, drafts }) => [sequence, kind, rows, drafts]);
  assert.deepEqual(shown, [
    [0, "answer", 6, 5],
    [2, "answer", 1, 0],
    [5, "answer", mostAnswerRows, mostAnswerRows - 1],
    [1, "prompt", 1, 0],
    [3, "prompt", 15, 0],
  ]);
  assert.deepEqual([pass.rows, pass.decoding], [55, 39]);
  assert.deepEqual(
    entries.map(({ overtaken, servedIn }) => [overtaken, servedIn]),
    [0, 16, 0, 16, 0, 0].map((overtaken, i) => [overtaken, i === 4 ? 0 : 3]),
  );
  // A pass too small for all: whoever waited longest, and guesses only where rows are left.
  entries[2]!.servedIn = 1;
  const small = chooseRows(entries, cache, { pass: 4, mostRows: 2, promptRows: 16, passMs: () => undefined })!;
  assert.deepEqual(
    small.parts.map(({ sequence, rows }) => [sequence, rows]),
    [
      [2, 1],
      [0, 1],
    ],
  );
});
