import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { FakeModel, fakeVocab } from "../../test/support/fake-model.js";
import type { HundredweightError } from "../errors.js";
import { KvCache } from "../kv/cache.js";
import { StopSignal } from "./cancel.js";
import { groupShapes } from "./parts.js";
import { Session } from "./session.js";

interface Setup {
  model: FakeModel;
  cache: KvCache;
  stop: StopSignal;
  session: Session;
}

function setUp(options: ConstructorParameters<typeof FakeModel>[0] = {}): Setup {
  const { contextTokens = 1024, chunkRows = 64, sequences = 1 } = options;
  const model = new FakeModel(options);
  const cache = new KvCache({
    groups: groupShapes(model),
    sequences,
    contextTokens,
    maxRows: chunkRows,
    copyPage: (g, from, to) => model.ops.kvCopyPage(model.kvGroups[g]!.pool, from, to),
  });
  const stop = new StopSignal();
  model.ops.setCancelFlag(stop.words);
  return { model, cache, stop, session: new Session({ model, cache, vocab: fakeVocab, chunkRows, stop }) };
}

const text = (length: number, seed: number): number[] =>
  Array.from({ length }, (_, i) => (Math.imul(i + 1, 2654435761) ^ Math.imul(seed, 40503)) >>> 24);

async function cold(tokens: Int32Array, window = 300): Promise<Float32Array> {
  const { session } = setUp({ chunkRows: 1024, window });
  await session.sync(tokens);
  return session.logits.slice();
}

test("the chunk size changes no logit", async () => {
  const tokens = Int32Array.from(text(700, 1));
  const expected = await cold(tokens);
  for (const chunkRows of [1, 5, 64, 255, 256, 257]) {
    const { session } = setUp({ chunkRows });
    await session.sync(tokens);
    assert.deepEqual(session.logits, expected);
  }
});

test("sync after any edits gives the logits of a cold evaluation, and evaluates only what it must", async () => {
  const edit = fc.record({
    at: fc.double({ min: 0, max: 1, noNaN: true }),
    remove: fc.integer({ min: 0, max: 400 }),
    insert: fc.integer({ min: 0, max: 300 }),
    fork: fc.boolean(),
    seed: fc.nat(1000),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(edit, { minLength: 1, maxLength: 6 }),
      fc.integer({ min: 20, max: 200 }),
      async (edits, chunkRows) => {
        const { model, cache, ...rest } = setUp({ chunkRows, sequences: 2, window: 130 });
        let { session } = rest;
        let tokens = text(300, 0);
        for (const { at, remove, insert, fork, seed } of edits) {
          if (fork) {
            const copy = session.fork();
            await session.sync(Int32Array.from(text(77, seed))); // the original goes its own way
            session.close();
            session = copy;
          }
          const place = Math.floor(at * tokens.length);
          tokens = [...tokens.slice(0, place), ...text(insert, seed), ...tokens.slice(place + remove)].slice(0, 1024);
          if (tokens.length === 0) tokens = [seed % fakeVocab];
          const target = Int32Array.from(tokens);
          const common = session.commonPrefix(target);
          const before = model.rows;
          const reused = await session.sync(target);
          assert.deepEqual(session.logits, await cold(target, 130));
          assert.deepEqual([...session.tokens], tokens);
          assert.ok(reused <= common);
          assert.equal(model.rows - before, target.length - reused);
        }
        session.close();
        assert.deepEqual(
          cache.freePages(),
          groupShapes(model).map((group) => group.pages),
        );
      },
    ),
    { numRuns: 40 },
  );
});

test("a sync to what is already there costs nothing; one token less costs one row", async () => {
  const { model, session } = setUp();
  const tokens = Int32Array.from(text(100, 3));
  assert.equal(await session.sync(tokens), 0);
  const rows = model.rows;
  assert.equal(await session.sync(tokens), 100);
  assert.equal(model.rows, rows);
  assert.equal(await session.sync(tokens.subarray(0, 90)), 89);
  assert.equal(model.rows, rows + 1);
  assert.deepEqual(session.logits, await cold(tokens.subarray(0, 90)));
});

test("logits of every row come once each, in order, whatever the slices", async () => {
  const tokens = Int32Array.from(text(300, 5));
  const { session } = setUp({ chunkRows: 50, sliceRows: 7 });
  await session.sync(tokens.subarray(0, 120));
  const positions: number[] = [];
  const rows: Float32Array[] = [];
  await session.evaluate(tokens, 90, {
    onRows: (position, logits) => {
      for (let r = 0; r < logits.length / fakeVocab; r++) {
        positions.push(position + r);
        rows.push(logits.slice(r * fakeVocab, (r + 1) * fakeVocab));
      }
    },
  });
  assert.deepEqual(
    positions,
    Array.from({ length: 210 }, (_, i) => 90 + i),
  );
  for (const p of [90, 137, 299]) assert.deepEqual(rows[p - 90], await cold(tokens.subarray(0, p + 1)));
});

test("a stop inside a pass and a failing pass leave a timeline that a later sync continues from", async () => {
  let fail = false;
  const fault = (): Error | undefined => (fail ? new Error("disk on fire") : undefined);
  const { session, stop, model } = setUp({ chunkRows: 40, passMs: 5, fault });
  const tokens = Int32Array.from(text(600, 7));
  stop.begin([{ job: 9, costMs: 0 }]);
  setTimeout(() => stop.stop(), 20);
  await assert.rejects(session.sync(tokens), { code: "CANCELLED" });
  stop.end();
  const kept = session.length;
  assert.ok(kept > 0 && kept < 600 && kept % 40 === 0);
  fail = true;
  await assert.rejects(session.sync(tokens), /disk on fire/);
  fail = false;
  assert.equal(session.length, kept);
  const rows = model.rows;
  assert.equal(await session.sync(tokens), kept);
  assert.equal(model.rows - rows, 600 - kept);
  assert.deepEqual(session.logits, await cold(tokens));
});

test("a stop meant for an earlier pass repeats the pass and hurts nobody", async () => {
  const { session, stop } = setUp({ chunkRows: 40 });
  stop.begin([{ job: 1, costMs: 0 }]);
  stop.end();
  stop.begin([{ job: 2, costMs: 0 }]);
  Atomics.store(stop.words, 0, 1);
  const tokens = Int32Array.from(text(100, 8));
  await session.sync(tokens);
  assert.deepEqual(session.logits, await cold(tokens));
  assert.equal(Atomics.load(stop.words, 0), 0);
});

test("too many tokens, none, or ids outside the vocabulary are refused and change nothing", async () => {
  const { session } = setUp({ contextTokens: 256 });
  await session.sync(Int32Array.from(text(10, 1)));
  await assert.rejects(session.sync(new Int32Array(257)), (error: HundredweightError) => {
    assert.equal(error.code, "CONTEXT_EXCEEDED");
    assert.deepEqual(error.details, { tokens: 257, contextTokens: 256 });
    return true;
  });
  await assert.rejects(session.sync(new Int32Array(0)), { code: "OPTION_INVALID" });
  await assert.rejects(session.sync(Int32Array.of(1, fakeVocab)), { code: "OPTION_INVALID" });
  await assert.rejects(session.sync(Int32Array.of(-1)), { code: "OPTION_INVALID" });
  assert.equal(session.length, 10);
});
