import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type FakeOptions, fakeParts, fakeVocab } from "../../test/support/fake-model.js";
import type { HundredweightError } from "../errors.js";
import { requestStop } from "../link/cancel.js";
import { defaultSampling, type SamplingSettings } from "../sampling/chain.js";
import { Rng } from "../sampling/rng.js";
import { Engine } from "./engine.js";
import type { EngineStatus, GenerateRequest, GenerateResult, JobEvent, Prompt } from "./jobs.js";
import { StopSignal } from "./stop-signal.js";

/** Words of a small vocabulary of beginnings, so that many prompts share some. */
function prompt(shared: number, own: number, seed: number): Int32Array {
  const rng = new Rng(seed);
  return Int32Array.from({ length: shared + own }, (_, i) => (i < shared ? (i * 31) % 250 : rng.uniform() * 250));
}

const request = (tokens: Int32Array, change: Partial<GenerateRequest> = {}): GenerateRequest => ({
  kind: "generate",
  prompt: { kind: "tokens", tokens },
  sampling: { ...defaultSampling, temperature: 1.2, seed: tokens.length },
  maxTokens: 20,
  stop: [],
  ignoreEos: true,
  ...change,
});

interface Outcome {
  readonly ids: number[];
  readonly events: JobEvent[];
  result?: GenerateResult;
  error?: HundredweightError;
}

class Bench {
  readonly parts;
  readonly engine: Engine;
  readonly stop = new StopSignal();
  private jobs = 0;

  constructor(options: FakeOptions) {
    this.parts = fakeParts(options);
    this.engine = new Engine(this.parts, this.stop);
  }

  async embed(prompt: Prompt): Promise<Float32Array> {
    const result = await this.engine.submit(++this.jobs, { kind: "embed", prompt, pooling: "mean" });
    assert.ok(result.kind === "embed");
    return result.embedding;
  }

  /** Logits of the positions from `from` on, one array for all. */
  async score(tokens: Int32Array, from: number): Promise<Float32Array> {
    const values: number[] = [];
    let next = from;
    await this.engine.submit(++this.jobs, { kind: "score", tokens, from, output: "logits" }, (event) => {
      if (event.kind !== "logits") return;
      assert.equal(event.position, next);
      next += event.values.length / fakeVocab;
      values.push(...event.values);
    });
    assert.equal(next, tokens.length);
    return Float32Array.from(values);
  }

  /** The engine's status so far. */
  status(): EngineStatus {
    let last: EngineStatus | undefined;
    const id = ++this.jobs;
    const ended = this.engine.submit(id, { kind: "watch" }, (event) => {
      if (event.kind === "status") last = event.status;
    });
    ended.catch(() => {});
    this.engine.cancel(id);
    return last!;
  }

  start(q: GenerateRequest): { readonly id: number; readonly out: Outcome; readonly done: Promise<void> } {
    const id = ++this.jobs;
    const out: Outcome = { ids: [], events: [] };
    const done = this.engine
      .submit(id, q, (event) => {
        out.events.push(event);
        if (event.kind === "token") out.ids.push(event.id);
      })
      .then(
        (result) => {
          out.result = result as GenerateResult;
        },
        (error: HundredweightError) => {
          out.error = error;
        },
      );
    return { id, out, done };
  }
}

/** The result of a request that is alone in a new engine. */
async function alone(q: GenerateRequest): Promise<number[]> {
  const bench = new Bench({});
  const { out, done } = bench.start(q);
  await done;
  await bench.engine.close();
  assert.equal(out.error, undefined);
  return out.ids;
}

/** A client's view of the events: text and log-probabilities, whatever the passes were. */
function spoken({ events }: Outcome): unknown[] {
  return events.flatMap((event): unknown[] => {
    if (event.kind === "token") return [[event.text, event.logprobs]];
    if (event.kind === "text") return [event.text];
    return event.kind === "promptLogprobs" ? event.logprobs.map((logprobs, i) => [event.first + i, logprobs]) : [];
  });
}

const settled = (turns: number): Promise<void> =>
  new Promise((resolve) => {
    const turn = (left: number): void => {
      if (left === 0) resolve();
      else setImmediate(() => turn(left - 1));
    };
    turn(turns);
  });

test("any mix of requests, arrivals, pauses and cancels: the tokens are those of each request alone", async () => {
  const job = fc.record({
    shared: fc.constantFrom(0, 40, 256, 300),
    own: fc.integer({ min: 1, max: 300 }),
    seed: fc.nat(5),
    maxTokens: fc.constantFrom(0, 1, 5, 30),
    user: fc.constantFrom("a", "b", "c"),
    /** Event loop turns before the next one arrives. */
    gap: fc.constantFrom(0, 0, 1, 3, 10),
    fate: fc.constantFrom("run", "run", "run", "cancel", "pause"),
  });
  const shape = fc.record({
    sequences: fc.integer({ min: 1, max: 5 }),
    chunkRows: fc.constantFrom(3, 64, 200),
    kvTokens: fc.constantFrom(1024, 1500, 4096),
    window: fc.constantFrom(40, 300),
    recurrent: fc.constantFrom(undefined, 0, 4),
    sliceRows: fc.constantFrom(1, 7),
  });
  const known = new Map<string, number[]>();
  await fc.assert(
    fc.asyncProperty(fc.array(job, { minLength: 1, maxLength: 12 }), shape, async (jobs, options) => {
      const bench = new Bench({ contextTokens: 1024, ...options });
      const started = [];
      for (const j of jobs) {
        const tokens = prompt(j.shared, j.own, j.seed);
        const q = request(tokens, { maxTokens: j.maxTokens, user: j.user });
        const running = bench.start(q);
        started.push({ j, q, running });
        await settled(j.gap);
        if (j.fate === "cancel") bench.engine.cancel(running.id);
        if (j.fate === "pause") {
          bench.engine.pause(running.id);
          const { id } = running;
          setTimeout(() => bench.engine.resume(id), 2);
        }
      }
      await Promise.all(started.map(({ running }) => running.done));
      for (const { j, q, running } of started) {
        const recurrent = options.recurrent === undefined ? undefined : 0;
        const key = `${j.shared} ${j.own} ${j.seed} ${options.window} ${recurrent} ${j.maxTokens}`;
        let expected = known.get(key);
        if (expected === undefined) {
          const fresh = new Bench({ contextTokens: 1024, window: options.window, recurrent });
          const cold = fresh.start(q);
          await cold.done;
          await fresh.engine.close();
          expected = cold.out.ids;
          known.set(key, expected);
        }
        const { out } = running;
        if (out.error !== undefined) {
          assert.equal(out.error.code, "CANCELLED");
          assert.equal(j.fate, "cancel");
          assert.deepEqual(out.ids, expected.slice(0, out.ids.length));
        } else assert.deepEqual(out.ids, expected);
      }
      await bench.engine.close();
    }),
    { numRuns: 60 },
  );
});

/** Everything that keeps a state from token to token. */
const samplers: readonly Partial<SamplingSettings>[] = [
  { temperature: 1.2 },
  { temperature: 1, mirostat: 2, mirostatTau: 3 },
  { temperature: 1, mirostat: 1, mirostatTau: 3 },
  { temperature: 1.1, repeatPenalty: 1.2, frequencyPenalty: 0.3, penaltyLastTokens: -1 },
  { temperature: 1, dryMultiplier: 0.8, dryPenaltyLastTokens: -1, xtcProbability: 0.5, xtcThreshold: 0.05 },
];

test("when pages run out the youngest wait and go on later: the tokens are those of each request alone", async () => {
  const job = fc.record({
    shared: fc.constantFrom(0, 0, 40, 300),
    own: fc.integer({ min: 1, max: 200 }),
    sampler: fc.nat(samplers.length - 1),
    /** -1 = until the context is full. */
    maxTokens: fc.constantFrom(-1, -1, -1, 400, 5),
    gap: fc.constantFrom(0, 0, 3, 50),
    fate: fc.constantFrom("run", "run", "run", "cancel", "pause", "logprobs", "embed"),
  });
  const shape = fc.record({
    sequences: fc.integer({ min: 3, max: 5 }),
    chunkRows: fc.constantFrom(3, 64, 200),
    kvTokens: fc.constantFrom(1024, 1024, 1500),
    window: fc.constantFrom(40, 300, 0),
    recurrent: fc.constantFrom(undefined, 0, 4),
  });
  const contextTokens = 1024;
  let preemptions = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(job, { minLength: 4, maxLength: 7 }), shape, async (jobs, options) => {
      const bench = new Bench({ contextTokens, ...options });
      const started = [];
      for (const [i, j] of jobs.entries()) {
        const q = request(prompt(j.shared, j.own, i), {
          maxTokens: j.maxTokens,
          sampling: { ...defaultSampling, ...samplers[j.sampler], seed: i },
          ...(j.fate === "logprobs" && { promptLogprobs: 2, logprobs: 1 }),
        });
        const running = j.fate === "embed" ? undefined : bench.start(q);
        const vector = running === undefined ? bench.embed(q.prompt) : undefined;
        started.push({ j, q, running, vector });
        await settled(j.gap);
        if (running === undefined) continue;
        const { id } = running;
        if (j.fate === "cancel") setTimeout(() => bench.engine.cancel(id), 20);
        if (j.fate === "pause") {
          bench.engine.pause(id);
          setTimeout(() => bench.engine.resume(id), 10);
        }
      }
      await Promise.all(started.map(({ running, vector }) => running?.done ?? vector));
      for (const { j, q, running, vector } of started) {
        const fresh = new Bench({ contextTokens, window: options.window, recurrent: options.recurrent });
        if (running === undefined) assert.deepEqual(await vector, await fresh.embed(q.prompt));
        else {
          const cold = fresh.start(q);
          await cold.done;
          const { out } = running;
          if (out.error !== undefined) {
            assert.deepEqual([out.error.code, j.fate], ["CANCELLED", "cancel"]);
            assert.deepEqual(out.ids, cold.out.ids.slice(0, out.ids.length));
          } else {
            assert.deepEqual(out.ids, cold.out.ids);
            assert.deepEqual(spoken(out), spoken(cold.out));
          }
        }
        await fresh.engine.close();
      }
      preemptions += bench.status().preemptions;
      await bench.engine.close();
    }),
    { numRuns: 20 },
  );
  assert.ok(preemptions >= 3, `only ${preemptions} jobs were sent back`);
});

test("answers without a limit share the cache; the oldest ends first; work done again is counted apart", async () => {
  // 5 pages of context, and 4 more: four answers of 5 pages each do not fit, all four begin.
  const bench = new Bench({ sequences: 4, contextTokens: 1280, kvTokens: 1280, window: 0 });
  const order: number[] = [];
  const prompts = [1, 2, 3, 4].map((i) => prompt(0, 20 * i, i));
  const runs = prompts.map((tokens, i) => {
    const run = bench.start(request(tokens, { maxTokens: -1 }));
    void run.done.then(() => order.push(i));
    return run;
  });
  await settled(3);
  assert.deepEqual([bench.status().running, bench.status().waiting], [4, 0]);
  while (bench.status().waiting === 0) await settled(1);
  assert.equal(bench.status().preemptions, 1);
  // The youngest went, and leaves the queue like anybody else.
  bench.engine.cancel(runs[3]!.id);
  await runs[3]!.done;
  assert.equal(runs[3]!.out.error?.code, "CANCELLED");
  await Promise.all(runs.map(({ done }) => done));
  assert.deepEqual(order, [3, 0, 1, 2]);
  for (const [i, { out }] of runs.slice(0, 3).entries()) {
    assert.equal(out.ids.length, 1280 - prompts[i]!.length + 1);
    const read = out.events.flatMap((event) => (event.kind === "pass" && event.total > 0 ? [event.done] : []));
    assert.deepEqual(
      read,
      [...new Set(read)].sort((x, y) => x - y),
    );
    assert.equal(read.at(-1), prompts[i]!.length);
    assert.ok(!out.events.slice(2).some((event) => event.kind === "queued"));
  }
  const { preemptions, recomputedTokens, promptTokens, cachedTokens, generatedTokens } = bench.status();
  assert.ok(preemptions >= 2 && recomputedTokens > 0, `${preemptions} ${recomputedTokens}`);
  assert.deepEqual([promptTokens, cachedTokens], [20 + 40 + 60 + 80, 0]);
  assert.equal(
    generatedTokens,
    runs.reduce((sum, { out }) => sum + out.ids.length, 0),
  );
  await bench.engine.close();
});

test("an answer whose client rests goes back first, however old, and ends when it is read again", async () => {
  const bench = new Bench({ sequences: 3, contextTokens: 1280, kvTokens: 1280, window: 0 });
  const runs = [1, 2, 3].map((i) => bench.start(request(prompt(0, 20 * i, i), { maxTokens: -1 })));
  while (runs[0]!.out.ids.length < 300) await settled(1);
  bench.engine.pause(runs[0]!.id);
  await Promise.all([runs[1]!.done, runs[2]!.done]);
  assert.equal(runs[0]!.out.result, undefined);
  assert.ok(bench.status().preemptions > 0);
  bench.engine.resume(runs[0]!.id);
  await runs[0]!.done;
  for (const [i, { out }] of runs.entries()) {
    const fresh = new Bench({ contextTokens: 1280, window: 0 });
    const cold = fresh.start(request(prompt(0, 20 * (i + 1), i + 1), { maxTokens: -1 }));
    await cold.done;
    assert.deepEqual(out.ids, cold.out.ids);
    await fresh.engine.close();
  }
  await bench.engine.close();
});

test("answers whose clients rest leave their places to those that wait, and go on where they were", async () => {
  const bench = new Bench({ sequences: 2, contextTokens: 600, window: 0 });
  const slow = [1, 2].map((i) => bench.start(request(prompt(0, 30 * i, i), { maxTokens: 200 })));
  while (slow.some(({ out }) => out.ids.length < 50)) await settled(1);
  for (const { id } of slow) bench.engine.pause(id);
  const others = [3, 4, 5].map((i) => bench.start(request(prompt(0, 25, i), { maxTokens: 40 })));
  await Promise.all(others.map(({ done }) => done));
  for (const { out } of slow) assert.ok(out.ids.length < 200 && out.result === undefined);
  for (const { id } of slow) bench.engine.resume(id);
  await Promise.all(slow.map(({ done }) => done));
  for (const [i, { out }] of [...slow, ...others].entries()) {
    const fresh = new Bench({ contextTokens: 600, window: 0 });
    const [tokens, maxTokens] = i < 2 ? [prompt(0, 30 * (i + 1), i + 1), 200] : [prompt(0, 25, i + 1), 40];
    const cold = fresh.start(request(tokens, { maxTokens }));
    await cold.done;
    assert.deepEqual(out.ids, cold.out.ids);
    await fresh.engine.close();
  }
  await bench.engine.close();
});

test("rows of all jobs share passes, answers first; no answer stands still while a long prompt is read", async () => {
  const bench = new Bench({ sequences: 3, chunkRows: 64 });
  const passes: number[][] = [];
  bench.parts.model.onPass = (rows) => {
    const counts: number[] = [];
    for (let t = 0; t < rows.count; t++) counts[rows.sequences[t]!] = (counts[rows.sequences[t]!] ?? 0) + 1;
    passes.push(counts);
  };
  const quick = bench.start(request(prompt(0, 5, 1), { maxTokens: 40 }));
  while (quick.out.ids.length < 3) await settled(1);
  const before = quick.out.ids.length;
  const began = passes.length;
  const long = bench.start(request(prompt(0, 600, 2), { maxTokens: 1 }));
  await long.done;
  const mixed = passes.slice(began).filter((counts) => counts.length === 2);
  assert.ok(mixed.length >= 600 / 63);
  for (const counts of mixed) assert.equal(counts[0], 1);
  assert.ok(quick.out.ids.length - before >= mixed.length - 1);
  await quick.done;
  await bench.engine.close();
});

test("a prompt that was evaluated before is not again: a conversation, a shared beginning, a branch", async () => {
  const bench = new Bench({ sequences: 2, chunkRows: 100 });
  const run = async (tokens: Int32Array): Promise<{ reused: number; ids: number[] }> => {
    const { out, done } = bench.start(request(tokens));
    await done;
    assert.deepEqual(out.ids, await alone(request(tokens)));
    return { reused: out.result!.reusedTokens, ids: out.ids };
  };
  const first = prompt(200, 30, 1);
  assert.equal((await run(first)).reused, 0);
  const { ids, reused } = await run(first);
  assert.equal(reused, 229);
  // The last token of an answer was never evaluated.
  const next = Int32Array.from([...first, ...ids, 7, 8]);
  assert.equal((await run(next)).reused, 230 + 19);
  const branch = Int32Array.from([...first, ...ids.slice(0, 5), 251, 252]);
  assert.equal((await run(branch)).reused, 235);
  assert.equal((await run(next)).reused, next.length - 1);
  assert.equal((await run(prompt(200, 60, 9))).reused, 200);
  await bench.engine.close();
});

test("pages are promised before a job starts: the others wait, in turn by user, and places are told", async () => {
  // 4 pages and one per sequence: two jobs of 600 positions fill them.
  const bench = new Bench({ sequences: 3, contextTokens: 1024, kvTokens: 1024, chunkRows: 300 });
  const order: string[] = [];
  const started = ["a", "a", "a", "b", "b"].map((user, i) => {
    const run = bench.start(request(prompt(0, 500, i), { maxTokens: 101, user }));
    void run.done.then(() => order.push(`${user}${i}`));
    return run;
  });
  const ahead = started.map(({ out }) => out.events.flatMap((e) => (e.kind === "queued" ? [e.ahead] : [])));
  assert.deepEqual(ahead, [[], [], [0], [0], [2]]);
  await settled(1);
  const status = await new Promise<{ running: number; waiting: number }>((resolve) => {
    void bench.engine.submit(99, { kind: "watch" }, (e) => e.kind === "status" && resolve(e.status)).catch(() => {});
  });
  assert.deepEqual([status.running, status.waiting], [2, 3]);
  await Promise.all(started.map(({ done }) => done));
  assert.deepEqual(order, ["a0", "a1", "b3", "a2", "b4"]);
  for (const { out } of started) assert.equal(out.error, undefined);
  await bench.engine.close();
});

test("a queue limit refuses what would have to wait, and nothing else", async () => {
  const bench = new Bench({ sequences: 1, queueLimit: 1 });
  const runs = [1, 2, 3].map((i) => bench.start(request(prompt(0, 20, i))));
  await Promise.all(runs.map(({ done }) => done));
  assert.deepEqual(
    runs.map(({ out }) => out.error?.code),
    [undefined, undefined, "QUEUE_FULL"],
  );
  assert.deepEqual(runs[2]!.out.error!.details, { waiting: 1, queueLimit: 1 });
  await bench.engine.close();
});

test("a failing row ends its job only; a failing pass ends those in it, and the engine lives on", async () => {
  let fail = false;
  const bench = new Bench({ sequences: 2, fault: () => (fail ? new Error("disk on fire") : undefined) });
  const banned = Array.from({ length: 260 }, (_, id) => [id, -Infinity] as const);
  const bad = request(prompt(0, 20, 1), { sampling: { ...defaultSampling, seed: 1, logitBias: banned } });
  const [one, two] = [bench.start(bad), bench.start(request(prompt(0, 30, 2)))];
  await Promise.all([one.done, two.done]);
  assert.equal(one.out.error?.code, "OPTION_INVALID");
  assert.deepEqual(two.out.ids, await alone(request(prompt(0, 30, 2))));
  fail = true;
  const both = [bench.start(request(prompt(0, 20, 3))), bench.start(request(prompt(0, 30, 4)))];
  await Promise.all(both.map(({ done }) => done));
  for (const { out } of both) assert.match(out.error?.message ?? "", /disk on fire/);
  fail = false;
  const again = bench.start(request(prompt(0, 20, 3)));
  await again.done;
  assert.deepEqual(again.out.ids, await alone(request(prompt(0, 20, 3))));
  await bench.engine.close();
});

test("inside a pass a cancel stops it when nobody else is in it, or when repeating it is sooner done", () => {
  const stop = new StopSignal();
  const flag = (): number => Atomics.load(stop.words, 0);
  stop.begin([
    { job: 1, costMs: 0 },
    { job: 2, costMs: 1e6 },
    { job: 3, costMs: 0 },
  ]);
  requestStop(stop.words, 4);
  assert.equal(flag(), 0);
  requestStop(stop.words, 1);
  assert.equal(flag(), 0);
  requestStop(stop.words, 2);
  assert.ok(stop.requested);
  stop.end();
  assert.equal(flag(), 0);
  stop.begin([
    { job: 5, costMs: 0 },
    { job: 6, costMs: 0 },
  ]);
  requestStop(stop.words, 5);
  assert.equal(flag(), 0);
  requestStop(stop.words, 6);
  assert.ok(stop.requested);
  stop.end();
  // Announced, so the next pass waits for the messages.
  assert.ok(stop.unheard);
  for (let i = 0; i < 5; i++) stop.heard();
  assert.ok(!stop.unheard);
});

test("a pass stopped in the middle is repeated for the others, with the same tokens", async () => {
  let stopIt: (() => void) | undefined;
  const bench = new Bench({
    sequences: 3,
    chunkRows: 40,
    fault: () => {
      stopIt?.();
      stopIt = undefined;
      return undefined;
    },
  });
  const keep = [1, 2].map((i) => bench.start(request(prompt(0, 100, i))));
  const victim = bench.start(request(prompt(0, 600, 3)));
  while (keep[0]!.out.ids.length < 3) await settled(1);
  // What a caller in another thread does in the middle of a pass, its message following.
  stopIt = () => {
    Atomics.store(bench.stop.words, 0, Atomics.load(bench.stop.words, 1));
    setImmediate(() => bench.engine.cancel(victim.id));
  };
  await Promise.all([...keep, victim].map(({ done }) => done));
  assert.equal(victim.out.error?.code, "CANCELLED");
  for (const [i, { out }] of keep.entries()) assert.deepEqual(out.ids, await alone(request(prompt(0, 100, i + 1))));
  await bench.engine.close();
});

test("a score between two turns of a conversation: the second turn evaluates only what is new", async () => {
  for (const window of [0, 300]) {
    const bench = new Bench({ sequences: 2, contextTokens: 1024, window });
    const turn = async (tokens: Int32Array): Promise<Outcome> => {
      const { out, done } = bench.start(request(tokens, { maxTokens: 30 }));
      await done;
      return out;
    };
    const first = prompt(0, 280, 1);
    const { ids } = await turn(first);
    for (let i = 2; i < 20; i++) await bench.score(prompt(0, 150, i), 0);
    const rows = bench.parts.model.rows;
    const second = Int32Array.from([...first, ...ids, 1, 2, 3]);
    const out = await turn(second);
    // The last token of the first answer was never evaluated.
    assert.equal(out.result!.reusedTokens, 280 + 29);
    assert.equal(bench.parts.model.rows - rows, 4 + 29);
    const cold = new Bench({ contextTokens: 1024, window });
    const alone = cold.start(request(second, { maxTokens: 30 }));
    await alone.done;
    assert.deepEqual(out.ids, alone.out.ids);
    await Promise.all([bench.engine.close(), cold.engine.close()]);
  }
});

test("scores share passes with answers in the making, and change none of them", async () => {
  const bench = new Bench({ sequences: 3, sliceRows: 5 });
  const mixed: number[] = [];
  bench.parts.model.onPass = ({ sequences, count }) => mixed.push(new Set(sequences.subarray(0, count)).size);
  const answers = [1, 2].map((i) => bench.start(request(prompt(0, 50, i), { maxTokens: 40 })));
  const tokens = prompt(0, 180, 3);
  const rows = await bench.score(tokens, 20);
  await Promise.all(answers.map(({ done }) => done));
  assert.ok(Math.max(...mixed) === 3, `${mixed}`);
  for (const [i, { out }] of answers.entries())
    assert.deepEqual(out.ids, await alone(request(prompt(0, 50, i + 1), { maxTokens: 40 })));
  const cold = new Bench({});
  assert.deepEqual(rows, await cold.score(tokens, 20));
  await Promise.all([bench.engine.close(), cold.engine.close()]);
});

test("what is measured has its passes for itself, and leaves nothing behind that is taken for a past", async () => {
  const bench = new Bench({ sequences: 4, contextTokens: 1024, chunkRows: 300 });
  const counts: number[] = [];
  bench.parts.model.onPass = ({ count }) => counts.push(count);
  const before = bench.start(request(prompt(0, 40, 1), { maxTokens: 5 }));
  const measured = bench.engine.submit(900, { kind: "measure", prompt: 400, decode: 6, depth: 600, rows: 3 });
  const after = bench.start(request(prompt(0, 40, 2), { maxTokens: 5 }));
  const result = await measured;
  assert.ok(result.kind === "measure" && result.prefillMs > 0 && result.decodeMs > 0);
  await Promise.all([before.done, after.done]);
  // An answer; the page of which pasts are made; whoever waited; a prompt behind such a past; what of the page is
  // evaluated again; rows of three sequences.
  assert.deepEqual(counts, [40, 1, 1, 1, 1, 256, 40, 1, 1, 1, 1, 300, 100, 1, 3, 3, 3, 3, 3, 3]);
  for (const [i, { out }] of [before, after].entries())
    assert.deepEqual(out.ids, await alone(request(prompt(0, 40, i + 1), { maxTokens: 5 })));
  const again = bench.start(request(prompt(0, 40, 1), { maxTokens: 5 }));
  await again.done;
  assert.equal(again.out.result!.reusedTokens, 39);
  const { error } = await bench.engine
    .submit(901, { kind: "measure", prompt: 0, decode: 500, depth: 600, rows: 1 })
    .then(
      () => ({ error: undefined }),
      (thrown: HundredweightError) => ({ error: thrown }),
    );
  assert.equal(error?.code, "CONTEXT_EXCEEDED");
  const id = 902;
  const cancelled = bench.engine.submit(id, { kind: "measure", prompt: 0, decode: 400, depth: 600, rows: 4 });
  await settled(20);
  bench.engine.cancel(id);
  await assert.rejects(cancelled, { code: "CANCELLED" });
  assert.deepEqual([bench.status().running, bench.status().waiting], [0, 0]);
  await bench.engine.close();
});

test("many that arrive with one long beginning evaluate it once", async () => {
  const shared = new Bench({ sequences: 4, chunkRows: 64, window: 0, contextTokens: 1024 });
  const runs = [1, 2, 3, 4].map((i) => shared.start(request(prompt(600, 10 + i, i))));
  await Promise.all(runs.map(({ done }) => done));
  const reused = runs.map(({ out }) => out.result!.reusedTokens);
  assert.equal(reused[0], 0);
  for (const tokens of reused.slice(1)) assert.ok(tokens >= 600, `${reused}`);
  for (const [i, { out }] of runs.entries()) {
    const cold = new Bench({ sequences: 4, window: 0, contextTokens: 1024 });
    const one = cold.start(request(prompt(600, 11 + i, i + 1)));
    await one.done;
    assert.deepEqual(out.ids, one.out.ids);
    await cold.engine.close();
  }
  await shared.engine.close();
});
