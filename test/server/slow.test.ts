/** Being slow well: nothing times out, nothing piles up, nothing is lost. The test plays the engine. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { HundredweightError } from "../../src/errors.js";
import { defaultConfig, type RunningServer } from "../../src/server/index.js";
import { readUntil } from "../support/wait.js";
import { FakeEngine, type FakeJob } from "./fake-engine.js";
import * as shapes from "./shapes.js";
import { type FailureBody, postJson, serveFake, sseEvents, until } from "./support.js";

const ask = { messages: [{ role: "user", content: "hello" }] };
const pass = { position: 0, rows: 4, diskBytes: 0, pinnedBytes: 0, stallMs: 0, computeMs: 0 };
const entry = { ...pass, expertHits: 0, expertMisses: 0, drafts: 0, acceptedDrafts: 0 };

async function started(
  config: object = {},
  play?: (job: FakeJob) => void,
): Promise<{ server: RunningServer; engine: FakeEngine; chat: string }> {
  const engine = new FakeEngine(play);
  const server = await serveFake(engine, config);
  return { server, engine, chat: `${server.url}/v1/chat/completions` };
}

/** Plays ten tokens at once. */
const quick = (job: FakeJob): void => {
  for (let i = 0; i < 10; i++) job.token(`w${i} `);
  job.finish();
};

describe("slow answers", { concurrency: 4 }, () => {
  it("sends headers at once and white space until the answer is there", async () => {
    assert.ok(defaultConfig.keepAliveMs <= 10_000, "some clients and proxies wait no longer than 15 s");
    const { engine, chat } = await started({ keepAliveMs: 60 });
    const response = await postJson(chat, ask); // resolves with the headers: no token was made
    assert.equal(response.status, 200);
    const job = engine.jobs[0]!;
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
    let text = await readUntil(reader, "\n\n\n");
    quick(job);
    for (let part = await reader.read(); !part.done; part = await reader.read()) text += part.value;
    assert.match(text, /^\n{3,}\{/);
    const answer = shapes.chatCompletion.parse(JSON.parse(text));
    assert.equal(answer.choices[0]!.message.content, "w0 w1 w2 w3 w4 w5 w6 w7 w8 w9 ");
  });

  it("tells of the queue and the prompt in comments, and in chunks when asked", async () => {
    const { engine, chat } = await started({ keepAliveMs: 40 });
    const response = await postJson(chat, { ...ask, stream: true, return_progress: true });
    const job = engine.jobs[0]!;
    const total = (job.request.prompt as { tokens: Int32Array }).tokens.length;
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    const read = async (what: RegExp): Promise<void> => {
      for (let part = await reader.read(); !part.done; part = await reader.read()) {
        text += part.value;
        if (what.test(text)) return;
      }
    };
    job.event({ kind: "queued", ahead: 3 });
    await read(/^: queued, 3/m);
    job.event({ kind: "prompt", tokens: new Int32Array(total) });
    job.event({ kind: "pass", entry, done: 4, total });
    await read(/^: prompt 4.*"prompt_progress"|"prompt_progress".*^: prompt 4/ms);
    quick(job);
    await read(/^never$/);
    const events = sseEvents(text);
    assert.equal(events[0], ": accepted");
    assert.ok(events.some((e) => /^: queued, 3 before, \d+ s$/.test(e)));
    assert.ok(events.some((e) => e.startsWith(`: prompt 4/${total} tokens`)));
    const chunks = events.filter((e) => e.startsWith("data: {")).map((e) => JSON.parse(e.slice(6)));
    assert.deepEqual(
      { ...chunks.find((c) => c.prompt_progress?.processed === 4).prompt_progress, time_ms: 0 },
      {
        total,
        cache: 0,
        processed: 4,
        time_ms: 0,
      },
    );
    assert.equal(events.at(-1), "data: [DONE]");
  });

  it("keeps a stream alive with chunks that say nothing: clients drop comments", async () => {
    const { server, engine, chat } = await started({ keepAliveMs: 30 });
    for (const [url, body] of [
      [chat, { ...ask, stream: true }],
      [`${server.url}/v1/completions`, { prompt: "x", stream: true }],
    ] as const) {
      const response = await postJson(url, body);
      const job = engine.jobs.at(-1)!;
      setTimeout(() => quick(job), 150);
      const events = sseEvents(await response.text());
      const chunks = events.filter((e) => e.startsWith("data: {")).map((e) => JSON.parse(e.slice(6)));
      const said = chunks.map(({ choices: [choice] }) => choice.text ?? choice.delta.content ?? "");
      assert.ok(said.findIndex((text) => text !== "") >= 2, "chunks before the first text");
      assert.equal(said.join(""), "w0 w1 w2 w3 w4 w5 w6 w7 w8 w9 ");
      if (url === chat) {
        assert.equal(chunks.filter(({ choices: [choice] }) => choice.delta.role !== undefined).length, 1);
        assert.equal(chunks[0].choices[0].delta.role, "assistant");
      }
    }
  });

  it("reports a failure after the headers as an error object", async () => {
    for (const stream of [false, true]) {
      const { engine, chat } = await started();
      const response = await postJson(chat, { ...ask, stream });
      assert.equal(response.status, 200);
      engine.jobs[0]!.token("half ");
      engine.jobs[0]!.fail(new HundredweightError("ENGINE_CRASHED", "the engine was killed (SIGKILL)"));
      const text = await response.text();
      const body = stream ? sseEvents(text).at(-1)!.slice(6) : text;
      const { error } = shapes.failure.parse(JSON.parse(body));
      assert.deepEqual([error.code, error.type], ["engine_crashed", "server_error"]);
    }
  });

  it("answers 503 while the engine is started again, and then answers", async () => {
    const { server, engine, chat } = await started({}, quick);
    engine.watcher.onRestarting("killed");
    const refused = await postJson(chat, ask);
    assert.equal(refused.status, 503);
    assert.ok(Number(refused.headers.get("retry-after")) >= 1);
    assert.equal(((await refused.json()) as FailureBody).error.code, "engine_restarting");
    const ready = await fetch(`${server.url}/ready`);
    assert.equal(ready.status, 503);
    const { status, restarts, error } = (await ready.json()) as Record<string, unknown>;
    assert.deepEqual([status, restarts, error], ["restarting", 1, "killed"]);
    engine.watcher.onReady();
    assert.equal((await postJson(chat, ask)).status, 200);
    assert.equal((await fetch(`${server.url}/ready`)).status, 200);
  });

  it("refuses with 429 what the engine's queue refuses, before any header", async () => {
    const { chat } = await started({}, (job) => job.fail(new HundredweightError("QUEUE_FULL", "64 jobs wait")));
    for (const stream of [false, true]) {
      const response = await postJson(chat, { ...ask, stream });
      assert.equal(response.status, 429);
      assert.ok(Number(response.headers.get("retry-after")) >= 1);
      const { error } = (await response.json()) as FailureBody;
      assert.deepEqual([error.type, error.code], ["rate_limit_error", "queue_full"]);
    }
  });

  it("refuses with 429 more answers than it takes, and takes them again when places are free", async () => {
    const { server, engine, chat } = await started({ maxAnswers: 3 });
    const first = await postJson(chat, { ...ask, n: 2 });
    const second = await postJson(chat, ask);
    const third = await postJson(chat, ask);
    assert.deepEqual([first.status, second.status, third.status], [200, 200, 429]);
    assert.ok(Number(third.headers.get("retry-after")) >= 1);
    for (const job of engine.jobs) quick(job);
    await Promise.all([first.text(), second.text()]);
    await until(() => server.context.gate.count === 0, "places are given back");
    const fourth = await postJson(chat, ask);
    assert.equal(fourth.status, 200);
    quick(engine.jobs.at(-1)!);
    await fourth.text();
  });

  it("pauses the job of a slow reader and goes on when it reads", async () => {
    const { server, engine } = await started();
    // Without a socket in between, whose buffers of megabytes would hide how little waits here.
    const response = await server.app.request("/v1/chat/completions", {
      method: "POST",
      headers: { host: "localhost" },
      body: JSON.stringify({ ...ask, stream: true }),
    });
    const job = engine.jobs[0]!;
    let made = 0;
    while (!job.paused && made < 1000) {
      job.token("word ");
      made++;
    }
    assert.ok(made < 200, `${made} tokens were taken without a reader`);
    const reader = response.body!.getReader();
    await until(() => {
      void reader.read();
      return !job.paused;
    }, "reading resumes the job");
    assert.deepEqual(job.calls.slice(0, 2), ["pause", "resume"]);
    await reader.cancel();
    await until(() => job.cancelled, "a reader that leaves cancels the job");
  });

  it("drops a reader that reads nothing for too long", async () => {
    const { server, engine, chat } = await started({ stallTimeoutMs: 300 });
    const response = await postJson(chat, { ...ask, stream: true });
    const job = engine.jobs[0]!;
    const word = "word ".repeat(2000);
    // Until the buffers of both sockets are full.
    await until(() => {
      if (!job.paused && !job.cancelled) for (let i = 0; i < 20; i++) job.token(word);
      return job.cancelled;
    }, "the job of a reader that does not read ends");
    const text = await response.text().catch(() => "cut");
    assert.ok(!text.includes("[DONE]"));
    await until(() => server.context.gate.count === 0, "its place is given back");
  });

  it("cancels the job when the client goes", async (t) => {
    const { server, engine, chat } = await started();
    const times: number[] = [];
    for (const stream of [false, true]) {
      const controller = new AbortController();
      await postJson(chat, { ...ask, stream }, { signal: controller.signal });
      const job = engine.jobs.at(-1)!;
      const left = performance.now();
      controller.abort();
      await until(() => job.cancelled, "the job is cancelled");
      times.push(performance.now() - left);
    }
    t.diagnostic(`cancelled after ${times.map((ms) => ms.toFixed(1)).join(" and ")} ms`);
    await until(() => server.context.gate.count === 0, "places are given back");
  });

  it("ends an answer at its deadline with what it has", async () => {
    for (const stream of [false, true]) {
      const { engine, chat } = await started();
      const response = await postJson(chat, { ...ask, stream, max_time_ms: 6000 });
      engine.jobs[0]!.token("so far");
      const text = await response.text();
      assert.ok(engine.jobs[0]!.cancelled);
      if (stream) {
        const events = sseEvents(text);
        assert.equal(events.at(-1), "data: [DONE]");
        assert.equal(JSON.parse(events.at(-2)!.slice(6)).choices[0].finish_reason, "length");
      } else {
        const [choice] = shapes.chatCompletion.parse(JSON.parse(text)).choices;
        assert.deepEqual([choice!.message.content, choice!.finish_reason], ["so far", "length"]);
      }
    }
    const { chat } = await started({ answerTimeoutMs: 400 });
    const nothing = (await (await postJson(chat, ask)).json()) as FailureBody;
    assert.equal(nothing.error.code, "deadline_exceeded");
    // Who gives an answer a time of its own gets what there is, though it is nothing.
    const own = await postJson(chat, { ...ask, max_time_ms: 20 });
    assert.equal(own.status, 200);
    const [choice] = shapes.chatCompletion.parse(await own.json()).choices;
    assert.deepEqual([choice!.message.content, choice!.finish_reason], ["", "length"]);
  });

  it("lets running answers end when it is told to stop", async () => {
    const { server, engine, chat } = await started({ drainTimeoutMs: 20_000 });
    const response = await postJson(chat, { ...ask, stream: true });
    const job = engine.jobs[0]!;
    job.token("first ");
    const stopped = server.stop(20_000);
    await until(() => server.context.draining.aborted, "draining begins");
    await assert.rejects(postJson(chat, ask), /fetch failed/); // no new connection is taken
    quick(job);
    const events = sseEvents(await response.text());
    assert.equal(events.at(-1), "data: [DONE]");
    assert.equal(JSON.parse(events.at(-2)!.slice(6)).choices[0].finish_reason, "stop");
    await stopped;
    assert.ok(engine.closed);
  });

  it("gives answers that do not end in time a proper end", async () => {
    for (const stream of [false, true]) {
      const { server, engine, chat } = await started();
      const response = await postJson(chat, { ...ask, stream });
      engine.jobs[0]!.token("first ");
      await server.stop(50);
      const text = await response.text();
      if (stream) {
        const events = sseEvents(text);
        assert.equal(events.at(-1), "data: [DONE]");
        assert.equal(JSON.parse(events.at(-2)!.slice(6)).choices[0].finish_reason, "length");
      } else assert.equal(JSON.parse(text).choices[0].message.content, "first ");
    }
  });
});
