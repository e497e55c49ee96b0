import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type FakeModel, type FakeOptions, fakeParts, fakeVocab } from "../../test/support/fake-model.js";
import { HundredweightError } from "../errors.js";
import { EngineClient } from "../link/client.js";
import { defaultSampling } from "../sampling/chain.js";
import type { EngineStatus, GenerateRequest, GenerateResult, JobEvent, TokenLogprobs } from "./jobs.js";
import { StopStrings } from "./stop-strings.js";

const request = (change: Partial<GenerateRequest> = {}): GenerateRequest => ({
  kind: "generate",
  prompt: { kind: "text", text: "hello" },
  sampling: { ...defaultSampling, temperature: 0, seed: 1 },
  maxTokens: 30,
  stop: [],
  ignoreEos: true,
  ...change,
});

/** Greedy text: after n ids the model says the n-th byte of `script`, then an end of generation. */
function scripted(script: string, promptLength: number): FakeOptions {
  const bytes = Buffer.from(script, "utf8");
  return {
    logits: (ids, out) => {
      out.fill(0);
      const at = ids.length - promptLength;
      out[at < bytes.length ? bytes[at]! : 259] = 10;
    },
  };
}

interface Outcome {
  readonly tokens: number[];
  readonly prompt: number[];
  readonly text: string;
  readonly pieces: string[];
  readonly result: GenerateResult;
}

async function withEngine<T>(
  options: FakeOptions,
  use: (client: EngineClient, model: FakeModel) => Promise<T>,
): Promise<T> {
  const parts = fakeParts(options);
  const client = await EngineClient.open("fake", {}, async () => parts);
  try {
    return await use(client, parts.model);
  } finally {
    await client.close();
    assert.ok(parts.model.closed);
  }
}

/** Until it is so, however busy the machine is. */
async function until(holds: () => boolean): Promise<void> {
  const began = performance.now();
  while (!holds()) {
    assert.ok(performance.now() - began < 60_000, "it never holds");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

async function collect(client: EngineClient, q: GenerateRequest, tap?: (event: JobEvent) => void): Promise<Outcome> {
  const tokens: number[] = [];
  const pieces: string[] = [];
  let prompt: number[] = [];
  const job = client.submit(q, (event) => {
    if (event.kind === "prompt") prompt = [...event.tokens];
    if (event.kind === "token") tokens.push(event.id);
    if (event.kind === "token" || event.kind === "text") pieces.push(event.text);
    tap?.(event);
  });
  const result = await job.result;
  return { tokens, prompt, pieces, text: pieces.join(""), result };
}

test("greedy twice is the same text; the second run reuses the prompt", async () => {
  await withEngine({}, async (client) => {
    const first = await collect(client, request());
    assert.equal(first.tokens.length, 30);
    assert.equal(first.result.finishReason, "length");
    assert.deepEqual(first.prompt, [257, ...Buffer.from("hello")]);
    assert.equal(first.result.decodeRows, 29);
    const second = await collect(client, request());
    assert.deepEqual(second.tokens, first.tokens);
    assert.equal(second.result.reusedTokens, 5);
    assert.equal(second.result.prefillRows, 1);
  });
});

test("the seed decides the text", async () => {
  await withEngine({}, async (client) => {
    const run = async (seed: number): Promise<number[]> =>
      (await collect(client, request({ sampling: { ...defaultSampling, temperature: 1.5, seed } }))).tokens;
    const one = await run(1);
    assert.deepEqual(await run(1), one);
    assert.notDeepEqual(await run(2), one);
  });
});

test("ends of generation end it, are not shown, and can be ignored", async () => {
  await withEngine(scripted("bye", 6), async (client) => {
    const out = await collect(client, request({ ignoreEos: false }));
    assert.equal(out.text, "bye");
    assert.deepEqual(out.tokens, [...Buffer.from("bye")]);
    assert.equal(out.result.finishReason, "stop");
    const ignored = await collect(client, request({ ignoreEos: true, maxTokens: 10 }));
    assert.equal(ignored.tokens.length, 10);
    assert.ok(!ignored.tokens.includes(258) && !ignored.tokens.includes(259));
  });
});

test("a stop string across tokens ends the text before it", async () => {
  await withEngine(scripted("one two\nUser: three", 6), async (client) => {
    const out = await collect(client, request({ stop: ["\nUser:", "zzz"], ignoreEos: false }));
    assert.equal(out.text, "one two");
    assert.equal(out.result.finishReason, "stop");
    assert.equal(Buffer.from(out.tokens).toString(), "one two\nUser:");
    const near = await collect(client, request({ stop: ["three!"], ignoreEos: false }));
    assert.equal(near.text, "one two\nUser: three");
  });
});

test("stop strings: streamed in any pieces, the text is what a search in the whole text gives", () => {
  const letters = fc.array(fc.constantFrom("a", "b", "ab", "ba", "c"), { maxLength: 30 });
  const stops = fc.array(fc.string({ unit: fc.constantFrom("a", "b", "c"), minLength: 1, maxLength: 5 }), {
    maxLength: 3,
  });
  fc.assert(
    fc.property(letters, stops, (pieces, stop) => {
      const whole = pieces.join("");
      const finder = new StopStrings(stop);
      const text = pieces.map((piece) => finder.push(piece)).join("") + finder.flush();
      // The stream ends at the first moment a stop string is complete.
      let end = whole.length;
      let expected = whole;
      const ends = pieces.map((_, i) => pieces.slice(0, i + 1).join("").length);
      for (const e of ends) {
        const hits = stop.map((s) => whole.slice(0, e).indexOf(s)).filter((at) => at >= 0);
        if (hits.length > 0) {
          end = e;
          expected = whole.slice(0, Math.min(...hits));
          break;
        }
      }
      assert.equal(text, expected);
      assert.equal(
        finder.found !== undefined,
        stop.some((s) => whole.slice(0, end).includes(s)),
      );
    }),
    { numRuns: 500 },
  );
});

test("code points are never split", async () => {
  await withEngine(scripted("é日🙂", 6), async (client) => {
    const out = await collect(client, request({ ignoreEos: false }));
    assert.deepEqual(
      out.pieces.filter((piece) => piece !== ""),
      ["é", "日", "🙂"],
    );
    const cut = await collect(client, request({ ignoreEos: false, maxTokens: 3 }));
    assert.equal(cut.text, "é\ufffd");
  });
});

test("limits: no token wanted, a full context, a prompt that does not fit", async () => {
  await withEngine({ contextTokens: 256 }, async (client) => {
    assert.deepEqual((await collect(client, request({ maxTokens: 0 }))).tokens, []);
    const full = await collect(client, request({ maxTokens: -1 }));
    assert.equal(full.result.finishReason, "length");
    // The last token needs no room: it is not evaluated.
    assert.equal(full.tokens.length, 256 - 6 + 1);
    const long = request({ prompt: { kind: "text", text: "x".repeat(300) } });
    await assert.rejects(collect(client, long), (error: HundredweightError) => {
      assert.equal(error.code, "CONTEXT_EXCEEDED");
      assert.deepEqual(error.details, { tokens: 301, contextTokens: 256 });
      return true;
    });
    // The engine lives on.
    assert.equal((await collect(client, request())).tokens.length, 30);
  });
});

test("cancel: after the pass that runs, in the queue at once; the next job is not hit", async () => {
  await withEngine({ passMs: 5, chunkRows: 16 }, async (client, model) => {
    const long = request({ prompt: { kind: "text", text: "y".repeat(600) } });
    const running = client.submit(long);
    const queued = client.submit(request({ maxTokens: 2 }));
    const after = collect(client, request({ maxTokens: 2 }));
    const refused = assert.rejects(queued.result, { code: "CANCELLED" });
    while (model.passes < 3) await new Promise((resolve) => setImmediate(resolve));
    const { passes } = model;
    running.cancel();
    queued.cancel();
    await assert.rejects(running.result, { code: "CANCELLED" });
    // Of 38.
    assert.ok(model.passes - passes <= 2, `${model.passes - passes} passes later`);
    await refused;
    assert.equal((await after).tokens.length, 2);
    running.cancel(); // long over: nothing happens
    const again = await collect(client, request({ maxTokens: 2 }));
    assert.deepEqual(again.tokens, (await after).tokens);
  });
});

test("score: log-probabilities belong to the tokens that follow", async () => {
  await withEngine({ chunkRows: 20 }, async (client) => {
    const tokens = Int32Array.from({ length: 90 }, (_, i) => (i * 7) % 250);
    const rows = new Map<number, Float32Array>();
    const values = new Map<number, number>();
    await client.submit({ kind: "score", tokens, from: 30, output: "logits" }, (event) => {
      if (event.kind !== "logits") return;
      for (let r = 0; r * fakeVocab < event.values.length; r++)
        rows.set(event.position + r, event.values.slice(r * fakeVocab, (r + 1) * fakeVocab));
    }).result;
    await client.submit({ kind: "score", tokens, from: 30, output: "logprobs" }, (event) => {
      if (event.kind === "logprobs") for (const [r, v] of event.values.entries()) values.set(event.position + r, v);
    }).result;
    assert.equal(rows.size, 60);
    assert.equal(values.size, 59);
    for (const [position, value] of values) {
      const row = rows.get(position)!;
      const sum = row.reduce((a, v) => a + Math.exp(v), 0);
      const direct = Math.log(Math.exp(row[tokens[position + 1]!]!) / sum);
      // Both sums have 260 terms: 260 roundings, and the logarithm of a ratio near 1e-9 loses nothing more.
      assert.ok(Math.abs(value - direct) < 1e-10);
    }
  });
});

test("errors cross the port with code, message and details", async () => {
  await assert.rejects(
    EngineClient.open("fake", {}, async () => {
      throw new HundredweightError("FORMAT_INVALID", "broken", { offset: 12, bad: () => 0 });
    }),
    (error: HundredweightError) => {
      assert.ok(error instanceof HundredweightError);
      assert.deepEqual([error.code, error.message, error.details], ["FORMAT_INVALID", "broken", { offset: 12 }]);
      return true;
    },
  );
});

test("closing ends what runs and refuses what comes later", async () => {
  const parts = fakeParts({ passMs: 20 });
  const client = await EngineClient.open("fake", {}, async () => parts);
  const job = client.submit(request({ maxTokens: 500 }));
  const failed = assert.rejects(job.result, (error: HundredweightError) => /CANCELLED|ENGINE_CLOSED/.test(error.code));
  await new Promise((resolve) => setTimeout(resolve, 30));
  await client.close();
  await failed;
  await client.close();
  await assert.rejects(client.submit(request()).result, { code: "ENGINE_CLOSED" });
});

test("a damaged model that gives NaN ends the job with a clear error", async () => {
  await withEngine({ logits: (_, out) => out.fill(Number.NaN) }, async (client) => {
    await assert.rejects(collect(client, request()), { code: "MODEL_INVALID", message: /token 0/ });
  });
});

test("log-probabilities: of the chosen token and the likeliest, and of the prompt", async () => {
  await withEngine({ chunkRows: 20 }, async (client) => {
    const prompt = Int32Array.from({ length: 50 }, (_, i) => (i * 7) % 250);
    const found: TokenLogprobs[] = [];
    const ofPrompt: TokenLogprobs[] = [];
    const q = request({ prompt: { kind: "tokens", tokens: prompt }, maxTokens: 5, logprobs: 3, promptLogprobs: 2 });
    const { tokens } = await collect(client, q, (event) => {
      if (event.kind === "token") found.push(event.logprobs!);
      if (event.kind === "promptLogprobs") {
        assert.equal(event.first, ofPrompt.length + 1);
        ofPrompt.push(...event.logprobs);
      }
    });
    assert.deepEqual(
      ofPrompt.map(({ id }) => id),
      [...prompt.subarray(1)],
    );
    const all = Int32Array.from([...prompt, ...tokens]);
    const values = new Map<number, number>();
    await client.submit({ kind: "score", tokens: all, from: 0, output: "logprobs" }, (event) => {
      if (event.kind === "logprobs") for (const [r, v] of event.values.entries()) values.set(event.position + r, v);
    }).result;
    for (const [i, one] of [...ofPrompt, ...found].entries()) {
      assert.equal(one.logprob, values.get(i));
      assert.equal(one.top.length, i < ofPrompt.length ? 2 : 3);
      // Greedy: the chosen token is the likeliest.
      if (i >= ofPrompt.length) assert.deepEqual(one.top[0], { id: one.id, logprob: one.logprob });
      for (const [a, b] of one.top.slice(1).map((next, k) => [one.top[k]!, next] as const))
        assert.ok(a.logprob > b.logprob || (a.logprob === b.logprob && a.id < b.id));
    }
  });
});

test("embeddings have length 1 and do not depend on the chunk", async () => {
  const embed = (chunkRows: number, pooling: "mean" | "last"): Promise<Float32Array> =>
    withEngine({ chunkRows }, async (client) => {
      const done = await client.submit({ kind: "embed", prompt: { kind: "text", text: "x".repeat(70) }, pooling })
        .result;
      assert.equal(done.tokens, 71);
      return done.embedding;
    });
  for (const pooling of ["mean", "last"] as const) {
    const whole = await embed(100, pooling);
    assert.deepEqual(await embed(9, pooling), whole);
    // 8 squares of f32 values: each off by 2^-24 of itself, twice.
    const length = whole.reduce((sum, v) => sum + v * v, 0);
    assert.ok(Math.abs(length - 1) < 8 * 2 ** -23, `${length}`);
  }
  assert.notDeepEqual(await embed(100, "mean"), await embed(100, "last"));
});

test("a paused job rests until it is resumed; a watcher sees it", async () => {
  await withEngine({ passMs: 1 }, async (client) => {
    // A pass with guesses gives several tokens at once.
    const alone = (await collect(client, request({ drafts: "off" }))).tokens;
    const states: EngineStatus[] = [];
    const watch = client.submit({ kind: "watch" }, (event) => {
      if (event.kind === "status") states.push(event.status);
    });
    const tokens: number[] = [];
    const job = client.submit(request({ drafts: "off" }), (event) => {
      if (event.kind === "token") tokens.push(event.id);
      if (tokens.length === 10) job.pause();
    });
    await until(() => states.at(-1)?.paused === 1);
    const rested = tokens.length;
    assert.ok(rested >= 10 && rested <= 12, `${rested}`);
    await new Promise((resolve) => setTimeout(resolve, 60));
    assert.equal(tokens.length, rested);
    job.resume();
    await job.result;
    assert.deepEqual(tokens, alone);
    await until(() => states.at(-1)!.generatedTokens === alone.length + tokens.length);
    watch.cancel();
    await assert.rejects(watch.result, { code: "CANCELLED" });
  });
});
