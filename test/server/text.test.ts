/** Templates and tokens: what a file's template does wrong hits one request, never the server. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { mostIds } from "../../src/text/protocol.js";
import { FakeEngine, type FakeJob, plainTemplate } from "./fake-engine.js";
import { childrenOf } from "./soak-memory.js";
import { chatModel, demoModel, type FailureBody, postJson, serveFake, sseEvents } from "./support.js";

const ask = { messages: [{ role: "user", content: "hello" }] };
const quick = (job: FakeJob): void => {
  job.token("yes");
  job.finish();
};
/** Loops for ever (10^15 rounds) when a message says so. */
const hostile =
  `${plainTemplate}{% if messages[0].content == 'hang' %}{% for a in range(100000) %}{% for b ` +
  `in range(100000) %}{% for c in range(100000) %}{% set x = c %}{% endfor %}{% endfor %}{% endfor %}{% endif ` +
  `%}{% if messages[0].content == 'raise' %}{{ raise_exception('no such talk') }}{% endif %}`;

/** Ids of the processes for texts that this one has started. */
const textProcesses = (): number[] =>
  childrenOf(process.pid).filter((pid) => readFileSync(`/proc/${pid}/cmdline`, "latin1").includes("text/process"));

describe("templates", { concurrency: 2 }, () => {
  it("ends a template that does not end; meanwhile others are answered", async () => {
    const path = await chatModel(hostile, "hostile");
    const server = await serveFake(new FakeEngine(quick), { textTimeoutMs: 4000 }, path);
    const chat = `${server.url}/v1/chat/completions`;
    // The code of both APIs is there from now on.
    assert.equal((await postJson(chat, ask)).status, 200);
    assert.equal((await postJson(`${server.url}/tokenize`, { content: "and" })).status, 200);
    const ended: string[] = [];
    const note = async (name: string, answer: Promise<Response>): Promise<Response> => {
      const response = await answer;
      ended.push(name);
      return response;
    };
    const hanging = Array.from({ length: 8 }, () =>
      note("bad", postJson(chat, { messages: [{ role: "user", content: "hang" }] })),
    );
    await new Promise((resolve) => setTimeout(resolve, 50));
    // Behind them in the queue, and with much text: neither waits until they have ended.
    const behind = note("good", postJson(chat, ask));
    const large = note("large", postJson(`${server.url}/tokenize`, { content: "and it came ".repeat(10_000) }));
    assert.equal((await behind).status, 200);
    assert.equal((await large).status, 200);
    assert.equal(ended[0], "good");
    const failures = new Set<string>();
    for (const failed of await Promise.all(hanging)) {
      const { code } = ((await failed.json()) as FailureBody).error;
      failures.add(`${failed.status} ${String(code)}`);
      if (failed.status === 503) assert.match(failed.headers.get("retry-after") ?? "", /^\d+$/);
    }
    // Who never had the second place may come back, and on a crowded machine whoever hardly computed there.
    const known = ["500 template_timeout", "503 text_crowded"];
    assert.deepEqual(
      [...failures].filter((failure) => !known.includes(failure)),
      [],
    );
    // Who has much text and is new there may push one aside that has had its share.
    assert.ok(ended.indexOf("large") < ended.lastIndexOf("bad"), ended.join());
    const raised = await postJson(chat, { messages: [{ role: "user", content: "raise" }] });
    assert.equal(raised.status, 400);
    assert.match(((await raised.json()) as FailureBody).error.message, /no such talk/);
  });

  it("answers with the ids of a text of megabytes, which come in parts, in their order", async () => {
    const server = await serveFake(new FakeEngine(quick));
    const words = Array.from({ length: 40_000 }, (_, i) => (i % 7 === 0 ? "king" : "and it came"));
    const tokens = async (content: string): Promise<number[]> =>
      ((await (await postJson(`${server.url}/tokenize`, { content })).json()) as { tokens: number[] }).tokens;
    const [all, king, and] = [await tokens(words.join("\n")), await tokens("\nking"), await tokens("\nand it came")];
    const expected = [...(await tokens("king")), ...words.slice(1).flatMap((word) => (word === "king" ? king : and))];
    assert.ok(all.length > 2 * mostIds, `only ${all.length} ids`);
    assert.deepEqual(all, expected);
  });

  it("ends a template that takes memory without end, and serves on", async () => {
    const greedy =
      `${plainTemplate}{% if messages[0].content == 'grow' %}{% set ns = namespace(all=[]) ` +
      `%}{% for a in range(100000) %}{% set ns.all = ns.all + [a] %}{% endfor %}{% endif %}`;
    const server = await serveFake(
      new FakeEngine(quick),
      { textTimeoutMs: 300_000 },
      await chatModel(greedy, "greedy"),
    );
    const chat = `${server.url}/v1/chat/completions`;
    const failed = await postJson(chat, { messages: [{ role: "user", content: "grow" }] });
    const { error } = (await failed.json()) as FailureBody;
    assert.deepEqual([failed.status, error.code], [500, "text_memory"], error.message);
    assert.match(error.message, /chat template.* makes (too much|a string or list)/);
    assert.equal((await postJson(chat, ask)).status, 200);
    assert.equal(server.context.model.textRestarts, 0, "the engine for templates counts what is made");
    const metrics = await (await fetch(`${server.url}/metrics`)).text();
    assert.match(metrics, /^hundredweight_text_worker_restarts_total 0$/m);
  });

  it("is ready with a template that never ends: completions do not need it", async () => {
    const path = await chatModel(
      `{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}`,
      "endless",
    );
    const began = performance.now();
    const server = await serveFake(new FakeEngine(quick), { textTimeoutMs: 30_000 }, path);
    assert.equal((await postJson(`${server.url}/v1/completions`, { prompt: "a" })).status, 200);
    const chat = postJson(`${server.url}/v1/chat/completions`, ask);
    await new Promise((resolve) => setTimeout(resolve, 300));
    assert.equal((await postJson(`${server.url}/tokenize`, { content: "a" })).status, 200);
    await server.stop(0);
    assert.ok(performance.now() - began < 25_000, "nothing waits for the template");
    await chat.catch(() => {});
  });

  it("counts prompts that are far too long without tokenizing them as a whole", async () => {
    const server = await serveFake(new FakeEngine(quick), {}, await chatModel());
    const post = async (path: string, body: object): Promise<FailureBody & { count?: number }> =>
      (await (await postJson(server.url + path, body)).json()) as never;
    const texts = ["and it came to pass ".repeat(3000), "x".repeat(60_000), "\u{1f468}\u200d\u{1f469}".repeat(5500)];
    for (const content of texts) {
      const { count } = await post("/tokenize", { content });
      const messages = [{ role: "user", content }];
      for (const [route, body, param] of [
        ["/v1/chat/completions", { messages }, "messages"],
        ["/v1/completions", { prompt: content }, "prompt"],
        ["/v1/embeddings", { input: content }, "input"],
      ] as const) {
        const { error } = await post(route, body);
        assert.deepEqual([error.code, error.param], ["context_length_exceeded", param]);
        const told = Number(/has (?:about )?(\d+) tokens/.exec(error.message)?.[1]);
        assert.ok(Math.abs(told - count!) < 0.01 * count! + 20, `${error.message} instead of ${count}`);
      }
    }
    // More than 64 KiB and 16 bytes for each token of the context: not even looked at.
    for (const [route, body] of [
      ["/v1/chat/completions", { messages: [{ role: "user", content: `${"x".repeat(65_536)}` }] }],
      ["/v1/completions", { prompt: "x".repeat(65_537) }],
    ] as const) {
      const { error } = await post(route, body);
      assert.equal(error.code, "context_length_exceeded");
      assert.match(error.message, /bytes of text, more than the 65536/);
    }
    // A little too long: counted exactly.
    const content = "king ".repeat(server.context.model.info!.contextTokens);
    const { count } = await post("/tokenize", { content, add_special: true });
    const { error } = await post("/v1/completions", { prompt: content });
    assert.match(error.message, new RegExp(`has ${count} tokens`));
  });

  it("shows the prompt a conversation becomes, and its tokens", async () => {
    const server = await serveFake(new FakeEngine());
    const post = async (path: string, body: object) => (await postJson(server.url + path, body)).json();
    const conversation = { messages: [{ role: "developer", content: "Be brief." }, ...ask.messages] };
    assert.deepEqual(await post("/apply-template", conversation), {
      prompt: "system: Be brief.\nuser: hello\nassistant:",
    });
    const parts = {
      messages: [
        {
          role: "user",
          content: [
            { type: "text", text: "hel" },
            { type: "text", text: "lo" },
          ],
        },
      ],
    };
    assert.deepEqual(await post("/apply-template", { ...parts, add_generation_prompt: false }), {
      prompt: "user: hello\n",
    });
    const { tokens, count } = (await post("/tokenize", { content: "In the beginning \u00e9\u{1f600}" })) as {
      tokens: number[];
      count: number;
    };
    assert.equal(tokens.length, count);
    assert.deepEqual(await post("/detokenize", { tokens }), { content: "In the beginning \u00e9\u{1f600}" });
    const pieces = (await post("/tokenize", { content: "\u{1f600}", with_pieces: true })) as {
      tokens: { piece: string | number[] }[];
    };
    const bytes = pieces.tokens.flatMap(({ piece }) => (typeof piece === "string" ? [...Buffer.from(piece)] : piece));
    assert.equal(Buffer.from(bytes).toString("utf8"), "\u{1f600}");
    const special = (await post("/tokenize", { content: "a", add_special: true })) as { tokens: number[] };
    assert.equal(special.tokens[0], 0);
    const wrong = (await post("/detokenize", { tokens: [5, 99_999] })) as FailureBody;
    assert.match(wrong.error.message, /99999/);
    const unknown = await postJson(`${server.url}/tokenize`, { content: ["a", 99_999] });
    assert.equal(unknown.status, 400);
    assert.match(((await unknown.json()) as FailureBody).error.message, /99999/);
  });

  it("tells what is thought from what is said, whole, streamed, and not when asked not to", async () => {
    const pieces = ["<thi", "nk>\n", "why", " not", "?\n</th", "ink>", "\n\n", "yes", " <", "b>"];
    const thinker = new FakeEngine((job) => {
      for (const piece of pieces) job.token(piece);
      job.finish();
    });
    const server = await serveFake(thinker);
    const chat = async (fields: object): Promise<string> =>
      (await postJson(`${server.url}/v1/chat/completions`, { ...ask, ...fields })).text();
    const messageOf = (text: string) => JSON.parse(text).choices[0].message;
    const said = { role: "assistant", content: "yes <b>", reasoning_content: "why not?", refusal: null };
    assert.deepEqual(messageOf(await chat({})), said);
    assert.equal(messageOf(await chat({ reasoning_format: "none" })).content, pieces.join(""));
    const deltas = sseEvents(await chat({ stream: true }))
      .filter((event) => event.startsWith("data: {"))
      .flatMap((event) => JSON.parse(event.slice(6)).choices.map((choice: { delta: object }) => choice.delta));
    const joined = (field: string): string => deltas.map((delta) => delta[field] ?? "").join("");
    assert.deepEqual(
      [joined("role"), joined("reasoning_content"), joined("content")],
      ["assistant", "why not?", "yes <b>"],
    );
    // A template that opens the thinking itself.
    const opens = await chatModel(`${plainTemplate}{{ '<think>\n' }}`, "opens-thinking");

    const opened = new FakeEngine(
      (job) => {
        for (const piece of pieces.slice(2)) job.token(piece);
        job.finish();
      },
      { chatTemplate: "<think>" },
    );
    const second = await serveFake(opened, {}, opens);
    assert.deepEqual(messageOf(await (await postJson(`${second.url}/v1/chat/completions`, ask)).text()), said);
  });

  it("falls back to ChatML where a model has no template, and says so", async () => {
    const server = await serveFake(new FakeEngine(quick), {}, demoModel);
    const answer = await postJson(`${server.url}/v1/chat/completions`, ask);
    assert.equal(answer.status, 200);
    assert.match(answer.headers.get("x-hundredweight-warnings")!, /no chat template; ChatML is used/);
    const shown = await postJson(`${server.url}/apply-template`, ask);
    assert.deepEqual(await shown.json(), { prompt: "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n" });
    const continued = await postJson(`${server.url}/v1/completions`, { prompt: "" });
    assert.equal(continued.status, 200);
  });
});

describe("a crowded machine", () => {
  it("waits for texts that the machine leaves no time for: nothing is wrong with them", async (t) => {
    if (process.platform !== "linux") return t.skip("SKIPPED: this system does not tell what a process has computed");
    const others = new Set(textProcesses());
    const server = await serveFake(new FakeEngine(quick));
    const chat = (): Promise<Response> => postJson(`${server.url}/v1/chat/completions`, ask);
    const large = (): Promise<Response> =>
      postJson(`${server.url}/tokenize`, { content: "and it came ".repeat(10_000) });
    // Both places are there, and idle.
    assert.deepEqual([(await chat()).status, (await large()).status], [200, 200]);
    const places = textProcesses().filter((pid) => !others.has(pid));
    assert.equal(places.length, 2);
    const signal = (name: NodeJS.Signals): void => {
      for (const pid of places) process.kill(pid, name);
    };
    signal("SIGSTOP");
    const asked = [chat(), large(), chat(), large(), large(), chat()];
    await new Promise((resolve) => setTimeout(resolve, 1500));
    signal("SIGCONT");
    assert.deepEqual(
      await Promise.all(asked.map(async (answer) => (await answer).status)),
      asked.map(() => 200),
    );
    assert.equal(server.context.model.textRestarts, 0, "a place was ended that had done nothing");
  });
});

describe("requests", () => {
  it("hands every sampler and limit on to the engine, under OpenAI's and llama.cpp's names", async () => {
    const engine = new FakeEngine(quick);
    const server = await serveFake(engine);
    const numbers = {
      temperature: [0.3, "temperature"],
      top_p: [0.4, "topP"],
      top_k: [-1, "topK"],
      min_p: [0.1, "minP"],
      typical_p: [0.9, "typical"],
      top_n_sigma: [1.5, "topNSigma"],
      min_keep: [2, "minKeep"],
      repeat_penalty: [1.1, "repeatPenalty"],
      repeat_last_n: [-1, "penaltyLastTokens"],
      frequency_penalty: [0.2, "frequencyPenalty"],
      presence_penalty: [-0.2, "presencePenalty"],
      dynatemp_range: [0.5, "dynamicTemperatureRange"],
      dynatemp_exponent: [2, "dynamicTemperatureExponent"],
      xtc_probability: [0.5, "xtcProbability"],
      xtc_threshold: [0.2, "xtcThreshold"],
      dry_multiplier: [0.8, "dryMultiplier"],
      dry_base: [1.9, "dryBase"],
      dry_allowed_length: [3, "dryAllowedLength"],
      dry_penalty_last_n: [99, "dryPenaltyLastTokens"],
      mirostat: [2, "mirostat"],
      mirostat_tau: [4, "mirostatTau"],
      mirostat_eta: [0.3, "mirostatEta"],
      seed: [42, "seed"],
    } as const;
    const fields = Object.fromEntries(Object.entries(numbers).map(([field, [value]]) => [field, value]));
    const rest = {
      dry_sequence_breakers: ["\n"],
      samplers: ["top_k", "temperature"],
      logit_bias: [
        [7, false],
        [8, 1.5],
      ],
      stop: ["x", ""],
      max_completion_tokens: 9,
      ignore_eos: true,
      user: "someone",
    };
    const answer = await postJson(`${server.url}/v1/chat/completions`, { ...ask, ...fields, ...rest });
    assert.equal(answer.status, 200);
    assert.equal(answer.headers.get("x-hundredweight-warnings"), null);
    const { sampling, ...request } = engine.jobs[0]!.request;
    for (const [field, [value, setting]] of Object.entries(numbers)) {
      assert.equal(sampling[setting], field === "top_k" ? 0 : value, field);
    }
    assert.deepEqual(sampling.drySequenceBreakers, ["\n"]);
    assert.deepEqual(sampling.samplers, ["top_k", "temperature"]);
    assert.deepEqual(sampling.logitBias, [
      [7, -Infinity],
      [8, 1.5],
    ]);
    assert.deepEqual([request.stop, request.maxTokens, request.ignoreEos], [["x"], 9, true]);
    assert.match(request.user!, /\/someone$/);
    const letters = await postJson(`${server.url}/v1/completions`, { prompt: "a", samplers: "kt", seed: -1 });
    assert.equal(letters.status, 200);
    const second = engine.jobs[1]!.request;
    assert.deepEqual(second.sampling.samplers, ["top_k", "temperature"]);
    assert.ok(second.sampling.seed >= 0);
    assert.equal((await postJson(`${server.url}/v1/completions`, { prompt: "a", samplers: "?" })).status, 400);
  });
});

describe("descriptions", () => {
  it("has an OpenAPI document that names every field", async () => {
    const server = await serveFake(new FakeEngine());
    const document = (await (await fetch(`${server.url}/openapi.json`)).json()) as {
      openapi: string;
      paths: Record<
        string,
        {
          post?: {
            requestBody: { content: { "application/json": { schema: { properties: object; required: string[] } } } };
          };
        }
      >;
    };
    assert.equal(document.openapi, "3.1.0");
    const { schema } = document.paths["/v1/chat/completions"]!.post!.requestBody.content["application/json"];
    for (const field of [
      "messages",
      "temperature",
      "dry_multiplier",
      "logit_bias",
      "stream_options",
      "max_completion_tokens",
    ]) {
      assert.ok(Object.hasOwn(schema.properties, field), field);
    }
    assert.deepEqual(schema.required, ["messages"]);
    // What it points to is there.
    const text = JSON.stringify(document);
    for (const [, pointer] of text.matchAll(/"\$ref":"#\/([^"]+)"/g)) {
      const found = pointer!.split("/").reduce<unknown>((at, key) => (at as Record<string, unknown>)?.[key], document);
      assert.notEqual(found, undefined, pointer);
    }
  });

  it("has metrics in Prometheus's text format", async () => {
    const server = await serveFake(new FakeEngine(quick));
    await (await postJson(`${server.url}/v1/chat/completions`, ask)).text();
    const answer = await fetch(`${server.url}/metrics`);
    assert.match(answer.headers.get("content-type")!, /^text\/plain; version=0\.0\.4/);
    const lines = (await answer.text()).trimEnd().split("\n");
    const typed = new Set<string>();
    for (const line of lines) {
      const comment = /^# (HELP|TYPE) ([a-z_0-9:]+) (.+)$/.exec(line);
      if (comment) {
        if (comment[1] === "TYPE") typed.add(comment[2]!);
        continue;
      }
      const sample =
        /^([\w:]+?)(_bucket|_sum|_count)?(\{[a-z_]+="[^"\n]*"(,[a-z_]+="[^"\n]*")*\})? (-?[0-9.e+-]+|\+Inf|NaN)$/.exec(
          line,
        );
      assert.ok(sample, line);
      assert.ok(typed.has(sample[1]!) || typed.has(`${sample[1]}${sample[2] ?? ""}`), `no TYPE for ${line}`);
    }
    assert.ok(lines.includes("hundredweight_generated_tokens_total 1"));
    assert.ok(lines.includes('hundredweight_http_requests_total{route="/v1/chat/completions",status="200"} 1'));
    assert.ok(lines.includes("hundredweight_ready 1"));
  });
});
