/** Answers that outgrow their contexts: which tokens stay, that a shift is a shift, and that nobody else can tell. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type FakeOptions, fakeParts } from "../../test/support/fake-model.js";
import { defaultSampling } from "../sampling/chain.js";
import { Engine } from "./engine.js";
import type { GenerateRequest, GenerateResult, JobEvent, RolledEvent } from "./jobs.js";
import { RollingTokens, rollOf, type WhenFull } from "./when-full.js";

const contextTokens = 600;
const model: FakeOptions = { contextTokens, window: 200 };
/** As many tokens are left out either way. */
const shift: WhenFull = { how: "shift", keep: 70, discard: 256 };
const reread: WhenFull = { how: "reread", keep: 70, discard: 256 };

const ask = (seed: number, change: Partial<GenerateRequest> = {}): GenerateRequest => ({
  kind: "generate",
  prompt: { kind: "tokens", tokens: Int32Array.from({ length: 100 }, (_, i) => (i < 50 ? i : (seed * i) % 250)) },
  sampling: { ...defaultSampling, temperature: 1.2, seed },
  maxTokens: 1200,
  stop: [],
  ignoreEos: true,
  drafts: "off",
  ...change,
});

interface Told {
  readonly ids: number[];
  readonly rolled: RolledEvent[];
  readonly result: GenerateResult;
}

async function answer(engine: Engine, id: number, request: GenerateRequest): Promise<Told> {
  const ids: number[] = [];
  const rolled: RolledEvent[] = [];
  const onEvent = (event: JobEvent): void => {
    if (event.kind === "token") ids.push(event.id);
    if (event.kind === "rolled") rolled.push(event);
  };
  const result = (await engine.submit(id, request, onEvent)) as GenerateResult;
  return { ids, rolled, result };
}

async function alone(request: GenerateRequest, options: FakeOptions = model): Promise<Told> {
  const engine = new Engine(fakeParts(options));
  try {
    return await answer(engine, 1, request);
  } finally {
    await engine.close();
  }
}

test("tokens behind those that are kept go, and the rest closes up", () => {
  const tokens = new Int32Array(10);
  const prompt = Int32Array.of(0, 1, 2, 3);
  tokens.set(prompt);
  const rolling = new RollingTokens({ how: "reread", keep: 2, discard: 5 }, tokens, prompt);
  for (let id = 4; id <= 10; id++) {
    assert.equal(rolling.full, false);
    rolling.push(id);
  }
  assert.deepEqual([rolling.full, rolling.known, [...tokens]], [true, 10, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]]);
  rolling.go();
  assert.deepEqual([rolling.full, rolling.known, [...tokens.subarray(0, 6)]], [false, 6, [0, 1, 7, 8, 9, 10]]);
  rolling.restart();
  assert.deepEqual([rolling.full, rolling.known, [...tokens]], [true, 10, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]]);
});

test("what is kept and left out", () => {
  const context = { contextTokens: 1024, promptTokens: 100, windows: [0], fault: undefined };
  const roll = (asked: WhenFull, change = {}) => rollOf(asked, { ...context, ...change });
  assert.equal(roll({ how: "stop" }), undefined);
  // The prompt, at most a quarter; half of the others, of a shift in whole pages.
  assert.deepEqual(roll({ how: "shift" }), { how: "shift", keep: 100, discard: 256 });
  assert.deepEqual(roll({ how: "shift", keep: 0 }), { how: "shift", keep: 0, discard: 512 });
  assert.deepEqual(roll({ how: "shift" }, { promptTokens: 900 }), { how: "shift", keep: 256, discard: 256 });
  assert.deepEqual(roll({ how: "shift", keep: -1 }), { how: "shift", keep: 100, discard: 256 });
  assert.deepEqual(roll({ how: "shift", discard: 9999 }), { how: "shift", keep: 100, discard: 768 });
  assert.deepEqual(roll({ how: "shift", discard: 300 }), { how: "shift", keep: 100, discard: 256 });
  assert.deepEqual(roll({ how: "reread" }), { how: "reread", keep: 100, discard: 462 });
  assert.deepEqual(roll({ how: "reread", discard: 9999 }), { how: "reread", keep: 100, discard: 924 });
  const refused = (asked: WhenFull, change: object, reason: RegExp): void => {
    assert.throws(() => roll(asked, change), { code: "OPTION_INVALID", message: reason });
  };
  refused({ how: "shift", keep: 800 }, {}, /1024 of which 800 are kept is too short/);
  refused({ how: "shift", keep: -1 }, { promptTokens: 900 }, /too short/);
  refused({ how: "shift" }, { contextTokens: 300 }, /too short/);
  refused({ how: "shift" }, { fault: "it has learned positions" }, /it has learned positions; 'reread' works/);
  refused({ how: "shift" }, { windows: [0, 700] }, /fewer than a window of 700 sees/);
  refused({ how: "reread", keep: 1023 }, {}, /leave nothing/);
  refused({ how: "shift", keep: -2 }, {}, /keep is -2/);
  refused({ how: "shift", discard: 1.5 }, {}, /discard is 1.5/);
  refused({ how: "roll" as never }, {}, /'roll' is none of stop, shift, reread/);
  // A window that never forgets within the context is none.
  assert.equal(roll({ how: "shift" }, { windows: [1024] })?.discard, 256);
});

test("an answer goes on as one whose prompt is what is left, either way", async () => {
  const greedy = { sampling: { ...defaultSampling, temperature: 0, seed: 3 } };
  const shifted = await alone(ask(3, { ...greedy, whenFull: shift }));
  const again = await alone(ask(3, { ...greedy, whenFull: reread }));
  assert.equal(shifted.ids.length, 1200);
  assert.deepEqual(again.ids, shifted.ids);
  // A token by a prompt of its own, here and there and wherever tokens were left out.
  const engine = new Engine(fakeParts(model));
  const all = Array.from({ length: 100 }, (_, i) => (i < 50 ? i : (3 * i) % 250));
  let leftOut = 0;
  for (let n = 0; n < 1200; n++) {
    if (all.length - leftOut > contextTokens) leftOut += 256;
    const near = all.length - leftOut < contextTokens - 256 + 3 && leftOut > 0;
    if (!near && n % 23 > 0) {
      all.push(shifted.ids[n]!);
      continue;
    }
    const tokens = Int32Array.from([...all.slice(0, 70), ...all.slice(70 + leftOut)]);
    const { ids } = await answer(
      engine,
      n + 1,
      ask(3, { ...greedy, maxTokens: 1, prompt: { kind: "tokens", tokens } }),
    );
    assert.equal(ids[0], shifted.ids[n], `token ${n}`);
    all.push(...ids);
  }
  await engine.close();
  const { rolled, result } = shifted;
  assert.deepEqual(
    rolled.map(({ how, keep, discard, leftOut: sum }) => [how, keep, discard, sum]),
    [256, 512, 768].map((sum) => ["shift", 70, 256, sum]),
  );
  assert.deepEqual([result.finishReason, result.prefillRows, result.decodeRows], ["length", 100, 1199]);
});

test("without a limit it ends after as many tokens as the model was trained for", async () => {
  const endless = await alone(ask(4, { maxTokens: -1, whenFull: reread }));
  assert.deepEqual([endless.ids.length, endless.result.finishReason], [contextTokens, "length"]);
  const { ids, rolled, result } = await alone(ask(4));
  assert.deepEqual([ids.length, rolled.length, result.finishReason], [contextTokens - 100 + 1, 0, "length"]);
});

test("others do not show, nor pages that run out, pauses and guesses", async () => {
  const job = fc.record({
    seed: fc.integer({ min: 1, max: 4 }),
    how: fc.constantFrom(shift, reread, { how: "stop" } as const),
    drafts: fc.constantFrom("off" as const, "auto" as const, 7),
    predicts: fc.boolean(),
    paused: fc.boolean(),
  });
  const shape = fc.record({
    sequences: fc.constantFrom(1, 2, 4),
    kvTokens: fc.constantFrom(contextTokens, 2 * contextTokens, undefined),
    chunkRows: fc.constantFrom(7, 64, 300),
    window: fc.constantFrom(0, 200),
  });
  const known = new Map<string, Told>();
  let [sentBack, shifts] = [0, 0];
  await fc.assert(
    fc.asyncProperty(fc.array(job, { minLength: 2, maxLength: 5 }), shape, async (jobs, { kvTokens, ...options }) => {
      const engine = new Engine(fakeParts({ contextTokens, ...options, ...(kvTokens !== undefined && { kvTokens }) }));
      const running = jobs.map(async ({ seed, how, drafts, predicts, paused }, i) => {
        const plain = ask(seed, { whenFull: how, maxTokens: 800 });
        const name = `${seed} ${how.how} ${options.window}`;
        const expected = known.get(name) ?? (await alone(plain, { contextTokens, window: options.window }));
        known.set(name, expected);
        const prediction = predicts ? expected.ids.map((id, n) => (n % 9 === 0 ? 1 : id)) : [];
        const done = answer(engine, i + 1, { ...plain, drafts, prediction });
        if (paused) {
          setTimeout(() => engine.pause(i + 1), 3);
          setTimeout(() => engine.resume(i + 1), 12);
        }
        const found = await done;
        assert.deepEqual(found.ids, expected.ids, name);
        assert.deepEqual(found.rolled, expected.rolled, name);
        if (how === shift) shifts += found.rolled.length;
      });
      await Promise.all(running);
      engine
        .submit(99, { kind: "watch" }, (event) => {
          if (event.kind === "status") sentBack += event.status.preemptions;
        })
        .catch(() => {});
      engine.cancel(99);
      await engine.close();
    }),
    { numRuns: Math.ceil(Number(process.env.HUNDREDWEIGHT_CASES ?? 200) / 70), seed: 7 },
  );
  assert.ok(sentBack > 0 && shifts > 5, `${sentBack} sent back, ${shifts} shifts`);
});

test("what was moved is nobody's past; what was read again is", async () => {
  for (const [whenFull, reused] of [[shift, 0] as const, [reread, 400] as const]) {
    const engine = new Engine(fakeParts({ contextTokens, window: 0 }));
    const first = ask(5, { whenFull, maxTokens: 560 });
    const { ids, rolled } = await answer(engine, 1, first);
    assert.equal(rolled.length, 1);
    const prompt = Array.from({ length: 100 }, (_, i) => (i < 50 ? i : (5 * i) % 250));
    const left = [...prompt.slice(0, 70), ...[...prompt, ...ids].slice(70 + 256)];
    const next = ask(5, { prompt: { kind: "tokens", tokens: Int32Array.from(left) }, maxTokens: 1 });
    const { result } = await answer(engine, 2, next);
    assert.ok(reused === 0 ? result.reusedTokens === 0 : result.reusedTokens >= reused, `${result.reusedTokens}`);
    await engine.close();
  }
});

test("a model with states that are replaced is refused by a shift, and read again", async () => {
  const recurrent = { ...model, recurrent: 6, sequences: 2 };
  await assert.rejects(alone(ask(6, { whenFull: shift }), recurrent), { code: "OPTION_INVALID", message: /recurrent/ });
  assert.throws(() => new Engine({ ...fakeParts(recurrent), whenFull: shift }), { code: "OPTION_INVALID" });
  const engine = new Engine(fakeParts(recurrent));
  const expected = await alone(ask(6, { whenFull: reread }), recurrent);
  const found = await Promise.all([6, 7].map((seed, i) => answer(engine, i + 1, ask(seed, { whenFull: reread }))));
  assert.deepEqual(found[0]!.ids, expected.ids);
  assert.equal(expected.rolled.length, 3);
  await engine.close();
});

test("stop texts, grammars and penalties go on over it", async () => {
  const constraint = { kind: "regex", pattern: "([a-z]{3,9} )*" } as const;
  const sampling = { ...defaultSampling, temperature: 1, seed: 8, repeatPenalty: 1.3, penaltyLastTokens: -1 };
  const change = { constraint, sampling, maxTokens: 900 };
  const free = await alone(ask(8, { ...change, whenFull: shift }));
  const again = await alone(ask(8, { ...change, whenFull: reread, drafts: 5 }));
  assert.deepEqual(again.ids, free.ids);
  const text = Buffer.from(free.ids).toString();
  assert.match(text, /^([a-z]{3,9} )*[a-z]*$/);
  // A text that comes late, over the place where tokens were left out.
  const stop = text.slice(497, 507);
  const stopped = await alone(ask(8, { ...change, whenFull: shift, stop: [stop] }));
  assert.equal(stopped.result.stopText, stop);
  assert.ok(stopped.rolled.length > 0 && stopped.ids.length <= 507);
});
