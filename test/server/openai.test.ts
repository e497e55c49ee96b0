/** npm `openai`, unmodified, against the server: what it sends is taken, what it gets has OpenAI's shapes. */
import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";
import type { DraftCounts } from "../../src/link/protocol.js";
import type { RunningServer } from "../../src/server/index.js";
import * as shapes from "./shapes.js";
import { chatModel, needsThreads, serveForTests, until } from "./support.js";

const messages = [
  { role: "system" as const, content: "Speak as a king." },
  { role: "user" as const, content: "And the king said" },
];

describe("npm openai", { skip: needsThreads }, () => {
  let server: RunningServer;
  let client: OpenAI;
  const model = "demo-chat";

  before(async () => {
    server = await serveForTests({ modelPath: await chatModel(), engine: { threads: 1, sequences: 4 } });
    client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "none", maxRetries: 0 });
  });

  it("lists and retrieves models", async () => {
    const list = await client.models.list();
    assert.deepEqual(
      list.data.map((m) => shapes.model.parse(m).id),
      [model],
    );
    shapes.model.parse(await client.models.retrieve(model));
    await assert.rejects(client.models.retrieve("gpt-5"), OpenAI.NotFoundError);
  });

  it("answers a conversation, the same with the same seed", async () => {
    const ask = { model, messages, max_tokens: 12, seed: 7, temperature: 0.8 };
    const first = shapes.chatCompletion.parse(await client.chat.completions.create(ask));
    const second = shapes.chatCompletion.parse(await client.chat.completions.create(ask));
    assert.equal(first.choices[0]!.message.content, second.choices[0]!.message.content);
    assert.equal(first.choices[0]!.finish_reason, "length");
    assert.equal(first.usage.completion_tokens, 12);
    assert.equal(first.usage.total_tokens, first.usage.prompt_tokens + 12);
    assert.ok(second.usage.prompt_tokens_details.cached_tokens > 0, "nothing of the same prompt was kept");
    const other = await client.chat.completions.create({ ...ask, seed: 8 });
    assert.notEqual(other.choices[0]!.message.content, first.choices[0]!.message.content);
  });

  it("takes a prediction: the answer is the same, and the tokens that were right are counted", async () => {
    const drafting = await serveForTests({ modelPath: await chatModel(), engine: { threads: 1, drafts: 8 } });
    try {
      const { chat } = new OpenAI({ baseURL: `${drafting.url}/v1`, apiKey: "none", maxRetries: 0 });
      const ask = { model, messages, max_tokens: 24, seed: 7, temperature: 0.8 };
      const plain = shapes.chatCompletion.parse(await client.chat.completions.create(ask));
      const text = plain.choices[0]!.message.content!;
      for (const content of [text, [{ type: "text" as const, text }]]) {
        const prediction = { type: "content" as const, content };
        const guessed = await chat.completions.create({ ...ask, prediction });
        const { choices, usage } = shapes.chatCompletion.parse(guessed);
        assert.equal(choices[0]!.message.content, text);
        assert.ok(usage.completion_tokens_details.accepted_prediction_tokens > 12, JSON.stringify(usage));
        const { timings } = guessed as unknown as {
          timings: { draft_n: number; draft_n_accepted: number; drafts: DraftCounts };
        };
        assert.ok(timings.draft_n >= timings.draft_n_accepted && timings.draft_n_accepted > 12);
        const bySource = Object.values(timings.drafts);
        assert.equal(timings.drafts.prediction!.right, usage.completion_tokens_details.accepted_prediction_tokens);
        assert.equal(
          bySource.reduce((sum, { right }) => sum + right, 0),
          timings.draft_n_accepted,
        );
      }
      const metrics = await (await fetch(`${drafting.url}/metrics`)).text();
      assert.match(metrics, /hundredweight_accepted_draft_tokens_total\{source="prediction"\} [1-9]/);
    } finally {
      await drafting.stop();
    }
  });

  it("streams the same answer, with usage at the end", async () => {
    const ask = { model, messages, max_tokens: 12, seed: 7, temperature: 0.8 };
    const whole = await client.chat.completions.create(ask);
    const plain = await client.chat.completions.create({ ...ask, stream: true });
    let text = "";
    const reasons: unknown[] = [];
    for await (const chunk of plain) {
      assert.equal(chunk.usage, undefined);
      const [choice] = shapes.chatChunk.parse(chunk).choices;
      text += chunk.choices[0]?.delta.content ?? "";
      reasons.push(choice?.finish_reason);
    }
    assert.equal(text, whole.choices[0]!.message.content);
    assert.equal(reasons.at(-1), "length");
    assert.deepEqual(new Set(reasons.slice(0, -1)), new Set([null]));

    const counted = await client.chat.completions.create({
      ...ask,
      stream: true,
      stream_options: { include_usage: true },
    });
    const chunks = [];
    for await (const chunk of counted) chunks.push(shapes.chatChunkWithUsage.parse(chunk));
    const last = chunks.at(-1)!;
    assert.deepEqual(last.choices, []);
    assert.equal(last.usage?.completion_tokens, 12);
    assert.ok(chunks.slice(0, -1).every((chunk) => chunk.usage === null));
  });

  it("has the stream helper of the library", async () => {
    const runner = client.chat.completions.stream({ model, messages, max_tokens: 8, temperature: 0 });
    const final = await runner.finalChatCompletion();
    const whole = await client.chat.completions.create({ model, messages, max_tokens: 8, temperature: 0 });
    assert.equal(final.choices[0]!.message.content, whole.choices[0]!.message.content);
  });

  it("gives log-probabilities, whole and streamed", async () => {
    const ask = { model, messages, max_tokens: 6, temperature: 0, logprobs: true, top_logprobs: 3 };
    const whole = shapes.chatCompletion.parse(await client.chat.completions.create(ask));
    const content = whole.choices[0]!.logprobs!.content;
    assert.equal(content.length, 6);
    for (const { token, logprob, top_logprobs } of content) {
      assert.equal(top_logprobs.length, 3);
      // Greedy: the chosen one is the likeliest.
      assert.deepEqual([top_logprobs[0]!.token, top_logprobs[0]!.logprob], [token, logprob]);
      assert.ok(top_logprobs.reduce((sum, t) => sum + Math.exp(t.logprob), 0) <= 1 + 1e-6);
    }
    const bytes = Buffer.from(content.flatMap((entry) => entry.bytes));
    assert.equal(bytes.toString("utf8"), whole.choices[0]!.message.content);
    const streamed = [];
    for await (const chunk of await client.chat.completions.create({ ...ask, stream: true })) {
      streamed.push(...(shapes.chatChunk.parse(chunk).choices[0]?.logprobs?.content ?? []));
    }
    assert.deepEqual(streamed, content);
  });

  it("makes n answers with seeds that differ", async () => {
    const ask = { model, messages, max_tokens: 8, seed: 3, temperature: 1 };
    const several = shapes.chatCompletion.parse(await client.chat.completions.create({ ...ask, n: 3 }));
    assert.deepEqual(
      several.choices.map((choice) => choice.index),
      [0, 1, 2],
    );
    assert.equal(several.usage.completion_tokens, 24);
    const second = await client.chat.completions.create({ ...ask, seed: 4 });
    assert.equal(several.choices[1]!.message.content, second.choices[0]!.message.content);
    const texts = ["", "", ""];
    for await (const chunk of await client.chat.completions.create({ ...ask, n: 3, stream: true })) {
      for (const { index, delta } of chunk.choices) texts[index] += delta.content ?? "";
    }
    assert.deepEqual(
      texts,
      several.choices.map((choice) => choice.message.content),
    );
  });

  it("ends at stop texts", async () => {
    const ask = { model, messages, max_tokens: 40, temperature: 0 };
    const free = (await client.chat.completions.create(ask)).choices[0]!.message.content!;
    const word = free.trim().split(/\s+/)[2]!;
    for (const stop of [word, ["never in there", word]]) {
      const { choices } = await client.chat.completions.create({ ...ask, stop });
      assert.equal(choices[0]!.message.content, free.slice(0, free.indexOf(word)));
      assert.equal(choices[0]!.finish_reason, "stop");
    }
  });

  it("continues texts, lists of them, and token ids", async () => {
    const ask = { model, max_tokens: 8, temperature: 0 };
    const one = shapes.completion.parse(await client.completions.create({ ...ask, prompt: "In the beginning" }));
    const two = shapes.completion.parse(
      await client.completions.create({ ...ask, prompt: ["And it came", "In the beginning"] }),
    );
    assert.equal(two.choices[1]!.text, one.choices[0]!.text);
    const tokens = await fetch(`${server.url}/tokenize`, {
      method: "POST",
      body: JSON.stringify({ content: "In the beginning", add_special: true }),
    }).then((r) => r.json() as Promise<{ tokens: number[] }>);
    const ids = await client.completions.create({ ...ask, prompt: tokens.tokens });
    assert.equal(ids.choices[0]!.text, one.choices[0]!.text);
    let text = "";
    for await (const chunk of await client.completions.create({ ...ask, prompt: "In the beginning", stream: true })) {
      shapes.completionChunk.parse(chunk);
      text += chunk.choices[0]?.text ?? "";
    }
    assert.equal(text, one.choices[0]!.text);
    const short = await client.completions.create({ model, prompt: "In", temperature: 0, seed: 1 });
    assert.ok(short.usage!.completion_tokens <= 16);
  });

  it("echoes and scores a prompt", async () => {
    const prompt = "In the beginning God created the heaven";
    const ask = { model, prompt, max_tokens: 2, echo: true, logprobs: 2, temperature: 0 };
    const whole = shapes.completion.parse(await client.completions.create(ask));
    const { text, logprobs } = whole.choices[0]!;
    assert.ok(text.startsWith(prompt));
    const { tokens, token_logprobs, top_logprobs, text_offset } = logprobs!;
    const promptTokens = whole.usage.prompt_tokens;
    assert.equal(tokens.length, promptTokens + 2);
    assert.deepEqual([token_logprobs[0], top_logprobs[0]], [null, null]);
    assert.ok(token_logprobs.slice(1).every((value) => value !== null && value < 0));
    tokens.forEach((token, i) => {
      if (i > 0) assert.equal(text.slice(text_offset[i]!, text_offset[i]! + token.length), token, `token ${i}`);
    });
    // The same text with one token fewer scores its tokens the same.
    const shorter = await client.completions.create({ ...ask, max_tokens: 0 });
    assert.deepEqual(shorter.choices[0]!.logprobs!.token_logprobs, token_logprobs.slice(0, promptTokens));
    assert.equal(shorter.choices[0]!.text, prompt);
    assert.equal(shorter.usage!.completion_tokens, 0);
    // Streams carry the same, the prompt in their first chunk.
    for (const like of [whole, shorter]) {
      const max_tokens = like.usage!.completion_tokens;
      const chunks: z.output<typeof shapes.completionChunk>[] = [];
      for await (const chunk of await client.completions.create({ ...ask, max_tokens, stream: true })) {
        chunks.push(shapes.completionChunk.parse(chunk));
      }
      assert.equal(chunks[0]!.choices[0]!.text, prompt);
      const scores = chunks.flatMap(({ choices }) => choices[0]!.logprobs ?? []);
      assert.equal(scores.length, 1 + max_tokens);
      const { logprobs: wanted, text: all } = like.choices[0]!;
      assert.equal(chunks.map(({ choices }) => choices[0]!.text).join(""), all);
      for (const field of ["tokens", "token_logprobs", "top_logprobs", "text_offset"] as const) {
        assert.deepEqual(
          scores.flatMap((part) => part[field] as unknown[]),
          wanted![field],
          field,
        );
      }
    }
  });

  it("makes embeddings, as numbers and as base64", async () => {
    const input = ["And the king said", "And the queen said", "four thousand cubits"];
    // Without encoding_format the library asks for base64 and decodes it.
    const packed = shapes.embeddings.parse(await client.embeddings.create({ model, input }));
    const plain = shapes.embeddings.parse(await client.embeddings.create({ model, input, encoding_format: "float" }));
    assert.deepEqual(packed.data, plain.data);
    const vectors = plain.data.map((d) => d.embedding);
    const dot = (a: number[], b: number[]): number => a.reduce((sum, x, i) => sum + x * b[i]!, 0);
    for (const v of vectors) assert.ok(Math.abs(dot(v, v) - 1) < 1e-5, `length ${dot(v, v)}`);
    assert.ok(dot(vectors[0]!, vectors[1]!) > dot(vectors[0]!, vectors[2]!));
    const cut = shapes.embeddings.parse(await client.embeddings.create({ model, input, dimensions: 3 }));
    for (const { embedding } of cut.data) assert.ok(Math.abs(dot(embedding, embedding) - 1) < 1e-5);
    const dimensions = vectors[0]!.length + 1;
    await assert.rejects(client.embeddings.create({ model, input, dimensions }), /dimensions/);
  });

  it("frees the engine when a stream is aborted", async (t) => {
    const { gate } = server.context;
    const long = { model, messages, max_tokens: 900, temperature: 1, stream: true as const };
    const stream = await client.chat.completions.create({ ...long, ignore_eos: true } as typeof long);
    for await (const _ of stream) break; // the library aborts the request
    const aborted = performance.now();
    await until(() => gate.count === 0, "the job of an aborted stream ends");
    t.diagnostic(`freed after ${(performance.now() - aborted).toFixed(1)} ms`);

    const controller = new AbortController();
    const pending = client.chat.completions.create(
      { model, messages, max_tokens: 900, temperature: 1, ignore_eos: true } as never,
      { signal: controller.signal },
    );
    await until(() => gate.count === 1, "the request arrives");
    setTimeout(() => controller.abort(), 20);
    // The headers are there by now, so it is the reading of the body that ends.
    await assert.rejects(pending, /abort/i);
    await until(() => gate.count === 0, "the job of an aborted request ends");
  });

  it("names what is wrong", async () => {
    const fails = (body: object): Promise<InstanceType<typeof OpenAI.APIError>> =>
      client.chat.completions.create({ model, messages, ...body } as never).then(
        () => assert.fail(`taken: ${JSON.stringify(body)}`),
        (error) => error,
      );
    const cases: readonly [body: object, param: string][] = [
      [{ messages: [] }, "messages"],
      [{ messages: [{ content: "no role" }] }, "messages[0].role"],
      [{ messages: [{ role: "user", content: 7 }] }, "messages[0].content"],
      [
        { messages: [{ role: "user", content: [{ type: "image_url", image_url: { url: "file:///etc/passwd" } }] }] },
        "messages[0].content[0]",
      ],
      [{ messages: [{ role: "user", content: [{ type: "text" }] }] }, "messages[0].content[0].text"],
      [{ temperature: "hot" }, "temperature"],
      [{ temperature: -1 }, "temperature"],
      [{ top_p: 1.5 }, "top_p"],
      [{ n: 0 }, "n"],
      [{ n: 500 }, "n"],
      [{ max_tokens: 1.5 }, "max_tokens"],
      [{ logit_bias: { word: 1 } }, "logit_bias"],
      [{ logit_bias: { "9999999": 1 } }, "logit_bias"],
      [{ top_logprobs: 21 }, "top_logprobs"],
      [{ stop: [1] }, "stop"],
      [{ tools: [{ type: "web_search" }] }, "tools"],
      [{ tools: [{ type: "function", function: { name: "f" } }], grammar: 'root ::= "a' }, "grammar"],
      [{ response_format: { type: "yaml" } }, "response_format.type"],
      [{ response_format: { type: "json_schema", json_schema: {} } }, "response_format.json_schema"],
      [{ response_format: { type: "json_schema", json_schema: { schema: { type: "text" } } } }, "response_format"],
      [{ grammar: "root ::= x" }, "grammar"],
      [{ json_schema: '{"type":' }, "json_schema"],
      [{ structured_outputs: { structural_tag: "x" } }, "structured_outputs.structural_tag"],
      [{ guided_regex: "(a)\\1" }, "guided_regex"],
      [{ guided_choice: [] }, "guided_choice"],
      [{ guided_regex: "a", grammar: 'root ::= "a"' }, "guided_regex"],
      [{ messages: [{ role: "user", content: "word ".repeat(3000) }] }, "messages"],
    ];
    for (const [body, param] of cases) {
      const error = await fails(body);
      assert.ok(error instanceof OpenAI.BadRequestError, `${param}: ${error}`);
      assert.ok(error.param?.startsWith(param), `${param}: ${error.param} ${error.message}`);
      shapes.failure.parse({ error: error.error });
    }
    const tooLong = await fails({ messages: [{ role: "user", content: "word ".repeat(3000) }] });
    assert.equal(tooLong.code, "context_length_exceeded");
    assert.match(tooLong.message, /the prompt has \d{4,} tokens, the context of this server 1024/);
    await assert.rejects(client.completions.create({ model, prompt: "a", suffix: "b" }), /suffix/);
  });

  it("parses answers by schemas of zod, also streamed", async () => {
    const format = zodResponseFormat(
      z.object({
        name: z.string().max(12),
        born: z.number().int().nullable(),
        kind: z.enum(["cat", "dog"]),
        toys: z.array(z.object({ price: z.number().min(0).max(9), old: z.boolean() })).max(2),
      }),
      "pet",
    );
    const ask = { model, messages, max_tokens: 300, seed: 5, response_format: format };
    const parsed = (await client.chat.completions.parse(ask)).choices[0]!.message.parsed!;
    assert.ok(["cat", "dog"].includes(parsed.kind) && parsed.name.length <= 12 && parsed.toys.length <= 2);
    const streamed = await client.chat.completions.stream(ask).finalChatCompletion();
    assert.deepEqual(streamed.choices[0]!.message.parsed, parsed);
  });

  it("answers in the form that was asked for, by whichever field", async () => {
    const schema = {
      type: "object",
      properties: { ok: { type: "boolean" }, n: { type: "integer", minimum: 1, maximum: 9 } },
      required: ["ok", "n"],
      additionalProperties: false,
    };
    const ask = async (more: object): Promise<string> => {
      const made = await client.chat.completions.create({
        model,
        messages,
        max_tokens: 200,
        seed: 3,
        ...more,
      } as never);
      const [choice] = shapes.chatCompletion.parse(made).choices as unknown as {
        message: { content: string };
        finish_reason: string;
      }[];
      assert.equal(choice!.finish_reason, "stop");
      return choice!.message.content;
    };
    for (const more of [
      { response_format: { type: "json_schema", json_schema: { name: "x", schema, strict: true } } },
      { json_schema: schema },
      { json_schema: JSON.stringify(schema) },
      { structured_outputs: { json: schema } },
      { guided_json: schema, ignore_eos: true },
    ]) {
      const value = JSON.parse(await ask(more)) as { ok: boolean; n: number };
      assert.ok(typeof value.ok === "boolean" && value.n >= 1 && value.n <= 9 && Object.keys(value).length === 2);
    }
    assert.match(await ask({ grammar: 'root ::= "yes" | "no" [0-9]{2}' }), /^(yes|no\d\d)$/);
    assert.match(await ask({ structured_outputs: { grammar: 'start: "a" /[xy]/ ~ 2' } }), /^a[xy]{2}$/);
    assert.match(await ask({ guided_regex: "[abc]{3}\\.", n: 2 }), /^[abc]{3}\.$/);
    assert.ok(["red", "green"].includes(await ask({ guided_choice: ["red", "green"], temperature: 0 })));
    const streamed = await client.chat.completions.create({
      model,
      messages,
      stream: true,
      ...({ structured_outputs: { choice: ["only this"] } } as object),
    });
    let said = "";
    for await (const chunk of streamed) said += chunk.choices[0]?.delta.content ?? "";
    assert.equal(said, "only this");
  });

  it("names and checks afterwards what it cannot enforce of a schema; strict ones are refused by keyword", async () => {
    const schema = {
      type: "array",
      items: { type: "string", maxLength: 1 },
      uniqueItems: true,
      minItems: 3,
      maxItems: 3,
    };
    const format = (strict: boolean) => ({ type: "json_schema" as const, json_schema: { name: "x", schema, strict } });
    const body = { model, messages, max_tokens: 300, seed: 1 };
    const { data, response } = await client.chat.completions
      .create({ ...body, response_format: format(false) })
      .withResponse();
    assert.match(
      response.headers.get("x-hundredweight-warnings")!,
      /not enforced but checked afterwards: uniqueItems at #/,
    );
    const [choice] = data.choices as (OpenAI.ChatCompletion.Choice & { schema_violations?: { keyword: string }[] })[];
    const list = JSON.parse(choice!.message.content!) as string[];
    const twins = new Set(list).size < list.length;
    assert.deepEqual(
      choice!.schema_violations?.map(({ keyword }) => keyword),
      twins ? ["uniqueItems"] : undefined,
    );
    await assert.rejects(client.chat.completions.create({ ...body, response_format: format(true) }), {
      status: 400,
      param: "response_format",
      message: /uniqueItems at #/,
    });
  });

  it("takes what it does not know and says so", async () => {
    const { data, response } = await client.chat.completions
      .create({ model: "gpt-4o", messages, max_tokens: 1, made_up: 1, "x\r\ny": 2 } as never)
      .withResponse();
    shapes.chatCompletion.parse(data);
    const warnings = response.headers.get("x-hundredweight-warnings")!;
    assert.match(warnings, /unknown parameters ignored: made_up, x\?\?y/);
    assert.match(warnings, /'gpt-4o' is not served/);
    // A base URL without /v1, and llama.cpp's name of max_tokens.
    const bare = new OpenAI({ baseURL: server.url, apiKey: "none", maxRetries: 0 });
    const short = await bare.chat.completions.create({ model, messages, n_predict: 3, ignore_eos: true } as never);
    assert.equal((short as { usage?: { completion_tokens: number } }).usage!.completion_tokens, 3);
    assert.equal((await bare.models.list()).data[0]!.id, (await bare.models.retrieve(model)).id);
    // What asks for nothing is no reason to refuse.
    const nothing = { response_format: { type: "text" as const }, tools: [], tool_choice: "none" as const, stop: null };
    shapes.chatCompletion.parse(await client.chat.completions.create({ model, messages, max_tokens: 1, ...nothing }));
  });
});
