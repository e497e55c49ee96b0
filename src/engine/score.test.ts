/** Scoring: logits of given tokens, whatever the chunks, the slices and what was evaluated before. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type FakeOptions, fakeParts, fakeVocab } from "../../test/support/fake-model.js";
import { StateCache } from "../state/cache.js";
import { Engine } from "./engine.js";
import type { JobEvent } from "./jobs.js";
import { PrefixCache } from "./prefixes.js";
import { StopSignal } from "./stop-signal.js";

class Scorer {
  readonly parts;
  readonly stop = new StopSignal();
  readonly engine: Engine;
  jobs = 0;

  constructor(options: FakeOptions = {}) {
    this.parts = fakeParts(options);
    this.engine = new Engine(this.parts, this.stop);
  }

  /** Rows by position, from `from` on. */
  async score(tokens: Int32Array, from = tokens.length - 1): Promise<Float32Array[]> {
    const rows: Float32Array[] = [];
    const take = (event: JobEvent): void => {
      if (event.kind !== "logits") return;
      assert.equal(event.position, from + rows.length);
      for (let at = 0; at < event.values.length; at += fakeVocab) rows.push(event.values.slice(at, at + fakeVocab));
    };
    const result = await this.engine.submit(++this.jobs, { kind: "score", tokens, from, output: "logits" }, take);
    assert.ok(result.kind === "score" && result.computeMs >= 0);
    return rows;
  }

  get rows(): number {
    return this.parts.model.rows;
  }
}

const text = (length: number, seed: number): number[] =>
  Array.from({ length }, (_, i) => (Math.imul(i + 1, 2654435761) ^ Math.imul(seed, 40503)) >>> 24);

const cold = async (tokens: Int32Array, window = 300): Promise<Float32Array> =>
  (await new Scorer({ chunkRows: 1024, window }).score(tokens))[0]!;

test("the chunk size changes no logit", async () => {
  const tokens = Int32Array.from(text(700, 1));
  const expected = await cold(tokens);
  for (const chunkRows of [1, 5, 64, 255, 256, 257])
    assert.deepEqual((await new Scorer({ chunkRows }).score(tokens))[0], expected);
});

test("after any edits the logits are those of a cold evaluation, and only what is new is evaluated", async () => {
  const edit = fc.record({
    at: fc.double({ min: 0, max: 1, noNaN: true }),
    remove: fc.integer({ min: 0, max: 400 }),
    insert: fc.integer({ min: 0, max: 300 }),
    seed: fc.nat(1000),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(edit, { minLength: 1, maxLength: 6 }),
      fc.integer({ min: 20, max: 200 }),
      fc.constantFrom(0, 130),
      async (edits, chunkRows, window) => {
        const scorer = new Scorer({ chunkRows, window });
        let tokens = text(300, 0);
        await scorer.score(Int32Array.from(tokens));
        for (const { at, remove, insert, seed } of edits) {
          const place = Math.floor(at * tokens.length);
          const before = tokens;
          tokens = [...tokens.slice(0, place), ...text(insert, seed), ...tokens.slice(place + remove)].slice(0, 1024);
          if (tokens.length === 0) tokens = [seed % fakeVocab];
          const rows = scorer.rows;
          const target = Int32Array.from(tokens);
          assert.deepEqual((await scorer.score(target))[0], await cold(target, window));
          const differs = tokens.findIndex((id, i) => id !== before[i]);
          const common = Math.min(differs < 0 ? tokens.length : differs, tokens.length - 1);
          // A window may have forgotten what a shorter text would need; then it starts afresh.
          const most = window === 0 ? tokens.length - common : tokens.length;
          assert.ok(scorer.rows - rows <= most, `${scorer.rows - rows} rows, ${most} are new`);
        }
      },
    ),
    { numRuns: 40 },
  );
});

test("logits of every row come once each, in order, whatever the slices", async () => {
  const tokens = Int32Array.from(text(300, 5));
  const scorer = new Scorer({ chunkRows: 50, sliceRows: 7 });
  await scorer.score(tokens.subarray(0, 120));
  const rows = await scorer.score(tokens, 90);
  assert.equal(rows.length, 210);
  for (const p of [90, 137, 299]) assert.deepEqual(rows[p - 90], await cold(tokens.subarray(0, p + 1)));
});

test("a stop inside a pass repeats it, a failing pass ends the score; the next one is right", async () => {
  let fail = false;
  let stopped = 0;
  const scorer: Scorer = new Scorer({
    chunkRows: 40,
    fault: () => {
      if (fail) return new Error("disk on fire");
      if (stopped++ % 3 === 1) scorer.stop.stop();
      return undefined;
    },
  });
  const tokens = Int32Array.from(text(600, 7));
  const expected = await new Scorer().score(tokens, 0);
  assert.deepEqual(await scorer.score(tokens, 0), expected);
  fail = true;
  await assert.rejects(scorer.score(tokens, 0), /disk on fire/);
  fail = false;
  assert.deepEqual(await scorer.score(tokens, 0), expected);
});

test("too many tokens, none, or ids outside the vocabulary are refused", async () => {
  const scorer = new Scorer({ contextTokens: 256 });
  const refused = (tokens: Int32Array, code: string) => assert.rejects(scorer.score(tokens), { code });
  await refused(new Int32Array(257), "CONTEXT_EXCEEDED");
  await refused(new Int32Array(0), "OPTION_INVALID");
  await refused(Int32Array.of(1, fakeVocab), "OPTION_INVALID");
  await refused(Int32Array.of(-1), "OPTION_INVALID");
  assert.equal(scorer.rows, 0);
});

test("spare prefixes go first and push nobody out; one that goes on a conversation takes over its place", () => {
  const cache = new StateCache({
    groups: [{ pages: 64, window: 0 }],
    sequences: 6,
    contextTokens: 1024,
    maxRows: 1024,
    copyPage: () => {},
  });
  const prefixes = new PrefixCache({ cache, most: 3 });
  const keep = (tokens: readonly number[], spare: boolean): void => {
    const sequence = cache.openSequence();
    cache.append(sequence, tokens.length);
    prefixes.keep({ sequence, tokens: Int32Array.from(tokens) }, spare);
  };
  const there = (tokens: readonly number[]): boolean =>
    prefixes.longest({ tokens: Int32Array.from(tokens) }, tokens.length) === tokens.length;
  keep([1, 2, 3], false);
  keep([9, 9], true);
  keep([8, 8], true);
  keep([7, 7], true);
  assert.deepEqual([there([1, 2, 3]), there([9, 9]), there([8, 8]), there([7, 7])], [true, false, true, true]);
  keep([4, 5], false);
  keep([6], false);
  assert.deepEqual([there([1, 2, 3]), there([4, 5]), there([6]), prefixes.size], [true, true, true, 3]);
  keep([5, 5], true);
  assert.deepEqual([there([5, 5]), prefixes.size], [false, 3]);
  keep([1, 2, 3, 4], true);
  keep([2], false);
  // [1, 2, 3, 4] was used with the conversation it goes on, and is dear: the older of two small ones goes.
  assert.deepEqual([there([1, 2, 3, 4]), there([4, 5]), there([6]), there([2])], [true, true, false, true]);
});
