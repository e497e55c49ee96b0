/** llama-server's habits: its routes in its shapes, its names on the command line, gaps in texts. */
import assert from "node:assert/strict";
import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { ownArguments } from "../../src/cli/options/llama-arguments.js";
import type { RunningServer } from "../../src/server/index.js";
import { FakeEngine } from "./fake-engine.js";
import { chatModel, demoModel, needsThreads, postJson, serveFake, serveForTests, sseEvents } from "./support.js";

// biome-ignore lint/suspicious/noExplicitAny: answers as a program without types reads them
type Any = any;

describe("llama-server's options", () => {
  const own = (line: string): readonly string[] => ownArguments(line.split(" ")).args;

  it("become those of serve", () => {
    assert.deepEqual(own("-m a.gguf -t 4 --host ::1 --api-key k"), [
      "--threads",
      "4",
      "--host",
      "::1",
      "--api-key",
      "k",
      "a.gguf",
    ]);
    assert.deepEqual(own("-c 512 -np 2"), ["--parallel", "2", "--ctx", "256", "--kv-tokens", "512"]);
    assert.deepEqual(own("-c 512"), ["--ctx", "512", "--kv-tokens", "512"]);
    assert.deepEqual(own("--ctx-size=512 -np 4 -kvu"), ["--parallel", "4", "--ctx", "512", "--kv-tokens", "512"]);
    assert.deepEqual(own("-c 0 -np -1"), []);
    assert.deepEqual(own("-b 64 -ub 32"), ["--infill-tokens", "64", "--chunk", "32"]);
    assert.deepEqual(own("-ctk q8_0 -ctv q8_0"), ["--kv", "q8_0"]);
    assert.deepEqual(own("-ctk q8_0 -ctv q4_0"), ["--kv", "q8_0:q4_0"]);
    assert.deepEqual(own("-ctv q8_0"), ["--kv", "f16:q8_0"]);
    assert.deepEqual(own("--no-mmap --no-slots --no-webui"), ["--io", "direct", "--no-slots", "--no-page"]);
    assert.deepEqual(own("-n 5 --temp 0 --cors-origins a,b"), [
      "--max-tokens",
      "5",
      "--temp",
      "0",
      "--cors",
      "a",
      "--cors",
      "b",
    ]);
    assert.deepEqual(own("model.gguf --ctx 100 --log-requests"), ["model.gguf", "--ctx", "100", "--log-requests"]);
  });

  it("are explained in a line each where they mean nothing", () => {
    const { args, notes } = ownArguments("-ngl 99 -fa on --jinja --mlock -fa --cont-batching".split(" "));
    assert.deepEqual(args, []);
    assert.deepEqual(
      notes.map((note) => note.split(" ")[0]),
      ["-ngl", "-fa", "--jinja", "--mlock", "-fa", "--cont-batching"],
    );
    for (const note of notes) assert.match(note, /^\S+ has no effect: \S/);
  });

  it("are refused where an answer would be another one", () => {
    for (const line of [
      "--control-vector a.gguf",
      "-mm p.gguf",
      "--rope-scale 2",
      "-ctk f16 -ctv iq4_nl",
      "-hf a/b",
      "-t",
      "-np 0",
    ]) {
      assert.throws(() => own(line), { code: "OPTION_INVALID" }, line);
    }
  });
});

describe("llama-server's routes", { skip: needsThreads }, () => {
  let server: RunningServer;
  const post = async (path: string, body: object): Promise<Any> => {
    const answer = await postJson(server.url + path, body);
    const json = await answer.json();
    assert.equal(answer.status, 200, JSON.stringify(json));
    return json;
  };
  const prompt = "And the king said";

  before(async () => {
    const answers = { sampling: { seed: 42, temperature: 0 }, variables: {}, maxTokens: 8 };
    const engine = { threads: 1, sequences: 2, contextTokens: 64, chunkRows: 16 };
    server = await serveForTests({ modelPath: await chatModel(), engine, config: { answers, tags: ["small"] } });
  });

  it("complete a text in its shape, whole and streamed", async () => {
    const whole = await post("/completion", { prompt, n_predict: 5, return_tokens: true });
    assert.deepEqual([whole.stop, whole.stop_type, whole.truncated, whole.tokens.length], [true, "limit", false, 5]);
    assert.equal(whole.tokens_evaluated, whole.timings.prompt_n + whole.timings.cache_n);
    assert.deepEqual([whole.generation_settings.n_predict, whole.generation_settings.seed], [5, 42]);
    assert.equal(whole.prompt, `<s>${prompt}`);
    assert.equal(whole.timings.predicted_n, 5);
    const events = sseEvents(
      await (await postJson(`${server.url}/completions`, { prompt, n_predict: 5, stream: true })).text(),
    );
    const chunks = events
      .filter((event) => event.startsWith("data: "))
      .map((event) => JSON.parse(event.slice(6)) as Any);
    assert.equal(chunks.map(({ content }) => content).join(""), whole.content);
    assert.deepEqual(
      chunks.map(({ stop }) => stop),
      [...Array(chunks.length - 1).fill(false), true],
    );
    assert.deepEqual(
      chunks.flatMap(({ tokens }) => tokens),
      whole.tokens,
    );
    const chosen = await post("/completion", {
      prompt,
      n_predict: 1,
      response_fields: ["content", "timings/prompt_n", "none"],
    });
    assert.deepEqual(Object.keys(chosen), ["content", "timings/prompt_n"]);
    const full = await post("/completion", { prompt: [1, 2, 3], n_predict: -1, ignore_eos: true });
    assert.deepEqual([full.truncated, full.stop_type], [true, "limit"]);
    const { logit_bias: banned } = full.generation_settings;
    assert.ok(banned.length > 0 && banned.every(({ bias }: Any) => bias === null));
    const word = await post("/completion", { prompt, n_predict: 30, stop: [whole.content.trim().split(" ")[1]] });
    assert.deepEqual([word.stop_type, word.stopping_word], ["word", whole.content.trim().split(" ")[1]]);
  });

  it("take ids, texts, both in one list, and lists of them", async () => {
    const { tokens } = await post("/tokenize", { content: prompt, add_special: true });
    const texts: string[] = [];
    for (const one of [prompt, tokens, [tokens[0], prompt], { prompt_string: prompt }]) {
      texts.push((await post("/completion", { prompt: one, n_predict: 4 })).content);
    }
    assert.deepEqual(new Set(texts).size, 1, texts.join("|"));
    const several = await post("/completion", { prompt: [prompt, tokens], n_predict: 4 });
    assert.deepEqual(
      several.map(({ index, content }: Any) => [index, content]),
      [0, 1].map((index) => [index, texts[0]]),
    );
    for (const wrong of [[], [[1], 2], { multimodal_data: "x" }, [1e9], 5]) {
      assert.equal((await postJson(`${server.url}/completion`, { prompt: wrong })).status, 400, JSON.stringify(wrong));
    }
    for (const more of [{ n_indent: 2 }, { lora: [{ id: 0 }] }, { adaptive_target: 0.5 }]) {
      assert.equal((await postJson(`${server.url}/completion`, { prompt, ...more })).status, 400, JSON.stringify(more));
    }
  });

  it("give probabilities before and after the samplers", async () => {
    const ask = { prompt, n_predict: 3, n_probs: 4, temperature: 1, seed: 1 };
    const before = (await post("/completion", ask)).completion_probabilities as Any[];
    for (const { logprob, top_logprobs: top, bytes } of before) {
      assert.ok(logprob <= 0 && Array.isArray(bytes));
      assert.equal(top.length, 4);
    }
    const sampled = { ...ask, post_sampling_probs: true, top_k: 2, top_p: 1, min_p: 0 };
    const behind = (await post("/completion", sampled)).completion_probabilities as Any[];
    assert.equal(behind.length, 3);
    for (const { prob, top_probs: top } of behind) {
      assert.equal(top.length, 2);
      const sum = top.reduce((all: number, one: Any) => all + one.prob, 0);
      assert.ok(Math.abs(sum - 1) < 1e-6 && prob > 0 && prob <= 1);
    }
    const greedy = await post("/completion", { ...sampled, temperature: 0 });
    assert.ok(greedy.completion_probabilities.every(({ prob }: Any) => prob === 1));
  });

  it("bias tokens by their texts", async () => {
    const { content } = await post("/completion", { prompt, n_predict: 1 });
    for (const logit_bias of [[[content, false]], { [content]: -100 }]) {
      assert.notEqual((await post("/completion", { prompt, n_predict: 1, logit_bias })).content, content);
    }
    const none = { prompt, n_predict: 1, logit_bias: [[1_000_000, 1]] };
    assert.equal((await postJson(`${server.url}/completion`, none)).status, 400);
  });

  it("tell progress by passes, first what was there before", async () => {
    const long = "the king and the people and the land ".repeat(4);
    const ask = { prompt: long, n_predict: 2, stream: true, return_progress: true, timings_per_token: true };
    let before = -1;
    for (const again of [false, true]) {
      const events = sseEvents(await (await postJson(`${server.url}/completion`, ask)).text());
      const chunks = events.filter((e) => e.startsWith("data: ")).map((e) => JSON.parse(e.slice(6)) as Any);
      const told = chunks.flatMap(({ prompt_progress: progress }) => progress ?? []);
      assert.equal(told[0].processed, told[0].cache);
      assert.ok(told[0].cache > before, `again: ${again}`);
      before = told[0].cache;
      assert.equal(told.at(-1).processed, told[0].total);
      for (let i = 1; i < told.length; i++) assert.ok(told[i].processed > told[i - 1].processed);
      assert.deepEqual([chunks[0].timings.prompt_n, chunks[0].timings.predicted_n], [0, 0]);
    }
  });

  it("tell progress and times in Responses where they are asked for", async () => {
    const ask = { input: "the king and the people ".repeat(3), max_output_tokens: 3, stream: true };
    const told = { return_progress: true, timings_per_token: true };
    for (const more of [{}, told]) {
      const text = await (await postJson(`${server.url}/responses`, { ...ask, ...more })).text();
      const events = sseEvents(text).flatMap((event) => /^data: (\{.*)$/m.exec(event)?.[1] ?? []);
      const objects = events.map((event) => JSON.parse(event) as Any);
      const progress = objects.filter((event) => event.prompt_progress !== undefined);
      const timed = objects.filter((event) => event.timings !== undefined);
      if (more !== told) assert.deepEqual([...progress, ...timed], []);
      else {
        assert.ok(progress.length > 0 && progress.every(({ type }) => type === "response.in_progress"));
        const { total, processed } = progress.at(-1).prompt_progress;
        assert.ok(total > 10 && processed === total);
        const deltas = objects.filter(({ type }) => type === "response.output_text.delta");
        assert.ok(deltas.length > 0 && deltas.every((event) => timed.includes(event)));
        assert.ok(
          deltas.every(({ timings }) => timings.prompt_n + timings.cache_n === total),
          "the prompt's tokens",
        );
        assert.equal(timed.at(-1).response.status, "incomplete");
        assert.deepEqual([timed.at(-1).timings.predicted_n, timed.at(-1).response.usage.output_tokens], [3, 3]);
      }
      assert.deepEqual(
        objects.map((event) => event.sequence_number),
        objects.map((_, i) => i),
      );
    }
  });

  it("count by llama-server's names", async () => {
    const names = ["prompt_tokens", "prompt_tokens_cached", "tokens_predicted", "n_decode", "prompt_seconds"];
    const counts = async (): Promise<number[]> => {
      const answer = await fetch(`${server.url}/metrics`);
      assert.match(answer.headers.get("process-start-time-unix") ?? "", /^\d{10}$/);
      const text = await answer.text();
      return names.map((name) => {
        assert.match(text, new RegExp(`^# TYPE llamacpp:${name}_total counter$`, "m"));
        return Number(new RegExp(`^llamacpp:${name}_total (\\S+)$`, "m").exec(text)?.[1]);
      });
    };
    const before = await counts();
    const sums = [0, 0, 0];
    for (const again of [1, 2]) {
      const { timings } = await post("/completion", { prompt: "a quick brown fox", n_predict: 2 * again });
      for (const [i, name] of ["prompt_n", "cache_n", "predicted_n"].entries()) sums[i]! += timings[name];
    }
    assert.ok(sums[1]! > 0, "the second prompt was there before");
    const grown = (await counts()).map((count, i) => count - before[i]!);
    assert.deepEqual(grown.slice(0, 3), sums);
    assert.ok(grown[4]! > 0);
  });

  it("tell of the model and of what is being answered", async () => {
    const get = async (path: string): Promise<Any> => (await fetch(server.url + path)).json();
    const props = await get("/props");
    assert.deepEqual([props.total_slots, props.default_generation_settings.n_ctx], [2, 64]);
    assert.equal(props.default_generation_settings.params.seed, 42);
    assert.match(props.model_path, /\.gguf$/);
    assert.equal(props.chat_template_caps.supports_system_role, true);
    const slots = await get("/slots");
    assert.deepEqual(
      slots.map(({ id, n_ctx, is_processing }: Any) => [id, n_ctx, is_processing]),
      [0, 1].map((id) => [id, 64, false]),
    );
    const [model] = (await get("/models")).data;
    assert.deepEqual([model.tags, model.meta.n_ctx, model.meta.n_params > 1e6], [["small"], 64, true]);
    assert.equal(
      (await post("/chat/completions/input_tokens", { messages: [{ role: "user", content: "a" }] })).input_tokens > 3,
      true,
    );
    for (const path of ["/slots/0?action=save"]) {
      assert.equal((await postJson(server.url + path, {})).status, 501, path);
    }
  });

  it("say which methods a path has, also with a slash at the end", async () => {
    for (const [path, allow] of [
      ["/completion", "POST"],
      ["/completion/", "POST"],
      ["/slots", "GET, HEAD"],
      ["/props/", "GET, HEAD"],
      ["/v1/models/any/name", "GET, HEAD"],
      ["/api/chat", "POST"],
    ] as const) {
      const answer = await fetch(server.url + path, { method: "PUT" });
      assert.deepEqual([answer.status, answer.headers.get("allow")], [405, allow], path);
    }
  });

  it("make vectors in its shape", async () => {
    const [one, two] = await post("/embeddings", { content: ["a king", [1, 2]] });
    assert.deepEqual([one.index, two.index, one.embedding.length], [0, 1, 1]);
    const both = await postJson(`${server.url}/embeddings`, { content: "a king", input: "a queen" });
    assert.equal(both.status, 400);
    assert.match(await both.text(), /content: input is there already: give one of them/);
    const [rows] = await post("/embedding", { input: [1, 2, 3], pooling: "none" });
    assert.equal(rows.embedding.length, 3);
  });

  it("say what was made of a request when asked", async () => {
    const ask = { messages: [{ role: "user", content: "hello" }], max_tokens: 1 };
    assert.match((await post("/v1/chat/completions", { ...ask, verbose: true })).__verbose.prompt, /hello/);
    assert.equal((await post("/v1/chat/completions", ask)).__verbose, undefined);
  });
});

describe("texts with a gap", { skip: needsThreads }, () => {
  const folder = mkdtempSync(join(tmpdir(), "hundredweight-gap-"));
  after(() => rmSync(folder, { recursive: true, force: true }));
  let server: RunningServer;
  let engine: FakeEngine;
  const fim = { pre: 11, suf: 12, mid: 13, rep: 14, sep: 15 };

  before(async () => {
    const path = join(folder, "gap.gguf");
    copyFileSync(demoModel, path);
    const { editHeader } = await import(new URL("../../../scripts/lib-gguf-header.mjs", import.meta.url).href);
    const keys = Object.entries(fim).map(([name, id]) => [`tokenizer.ggml.fim_${name}_token_id`, id]);
    editHeader(path, path, { ...Object.fromEntries(keys), "tokenizer.ggml.add_bos_token": false });
    engine = new FakeEngine((job) => job.finish(), { contextTokens: 60, vocab: 2048 });
    server = await serveFake(engine, { infillTokens: 32 }, path);
  });

  const idsOf = async (content: string): Promise<number[]> => {
    const answer = await postJson(`${server.url}/tokenize`, { content, parse_special: false });
    return ((await answer.json()) as { tokens: number[] }).tokens;
  };
  const asked = (): number[] => {
    const { prompt } = engine.jobs.at(-1)!.request;
    return prompt.kind === "tokens" ? [...prompt.tokens] : [];
  };

  it("are repository, files, prefix, suffix, middle and what the answer begins with", async () => {
    const body = { input_prefix: "a king", input_suffix: "a land", prompt: "and", n_predict: 0 };
    assert.equal((await postJson(`${server.url}/infill`, body)).status, 200);
    const [prefix, suffix, begun] = [await idsOf("a king"), await idsOf("a land"), await idsOf("and")];
    const own = [fim.sep, ...(await idsOf("filename\n"))];
    const name = [fim.rep, ...(await idsOf("myproject\n"))];
    const gap = [fim.pre, ...prefix, fim.suf, ...suffix, fim.mid, ...begun];
    assert.deepEqual(asked(), [...name, ...own, ...gap]);
    await postJson(`${server.url}/infill`, { ...body, input_extra: [{ filename: "b", text: "the sea" }] });
    const file = [fim.sep, ...(await idsOf("b\n")), ...(await idsOf("the sea"))];
    // What is left of the context behind the 32 tokens around the gap: the last of the files.
    assert.deepEqual(asked(), [...[...name, ...file, ...own].slice(-(60 - 32)), ...gap]);
  });

  it("are cut three to one around the gap", async () => {
    const words = "the king ".repeat(40);
    await postJson(`${server.url}/infill`, { input_prefix: words, input_suffix: words, n_predict: 0 });
    const ids = asked();
    const [from, gap, to] = [fim.pre, fim.suf, fim.mid].map((id) => ids.lastIndexOf(id)) as [number, number, number];
    assert.deepEqual([gap - from - 1, to - gap - 1], [24, 6]);
  });

  it("are filled by completions with a suffix, uncut", async () => {
    const answer = await postJson(`${server.url}/v1/completions`, { prompt: "a king", suffix: "a land" });
    assert.equal(answer.status, 200);
    const gap = [fim.pre, ...(await idsOf("a king")), fim.suf, ...(await idsOf("a land")), fim.mid];
    assert.deepEqual(asked().slice(-gap.length), gap);
    const long = await postJson(`${server.url}/v1/completions`, { prompt: "the king ".repeat(40), suffix: "a" });
    assert.equal(long.status, 400);
  });

  it("are refused where the model has no tokens for them", async () => {
    const other = await serveFake(new FakeEngine());
    const infill = await postJson(`${other.url}/infill`, { input_prefix: "a", input_suffix: "b" });
    assert.equal(infill.status, 400);
    assert.equal((await postJson(`${other.url}/v1/completions`, { prompt: "a", suffix: "b" })).status, 400);
    for (const input_extra of [[{}], [{ filename: 1, text: "a" }], [{ filename: "ok" }]]) {
      const body = { input_prefix: "a", input_suffix: "b", input_extra };
      assert.equal((await postJson(`${server.url}/infill`, body)).status, 400);
    }
  });
});

describe("a server whose answers go on behind their contexts", { skip: needsThreads }, () => {
  let server: RunningServer;
  before(async () => {
    const answers = { sampling: { seed: 42, temperature: 0 }, variables: {}, maxTokens: 8 };
    const whenFull = { how: "reread" } as const;
    const engine = { threads: 1, sequences: 1, contextTokens: 64, chunkRows: 16, whenFull };
    server = await serveForTests({ modelPath: await chatModel(), engine, config: { answers, tags: [] } });
  });

  it("tells it in streams, and in the end", async () => {
    const asked = { prompt: [1, 2, 3], n_predict: 90, ignore_eos: true, n_keep: 2, n_discard: 20 };
    const whole = (await (await postJson(`${server.url}/completion`, asked)).json()) as Any;
    assert.deepEqual([whole.truncated, whole.stop_type, whole.tokens_predicted], [true, "limit", 90]);
    assert.deepEqual([whole.generation_settings.n_keep, whole.generation_settings.n_discard], [2, 20]);
    const chunksOf = async (path: string, body: object): Promise<Any[]> =>
      sseEvents(await (await postJson(server.url + path, { ...body, stream: true })).text())
        .filter((event) => event.startsWith("data: {"))
        .map((event) => JSON.parse(event.slice(6)) as Any);
    const told = (chunks: Any[]): Any[] => chunks.flatMap((chunk) => chunk.context_rolled ?? []);
    const streamed = await chunksOf("/completion", asked);
    assert.equal(streamed.map(({ content }) => content).join(""), whole.content);
    const first = { how: "reread", n_keep: 2, n_discard: 20, left_out: 20 };
    assert.deepEqual(told(streamed), [first, { ...first, left_out: 40 }]);
    const messages = [{ role: "user", content: "go on" }];
    const chat = await chunksOf("/v1/chat/completions", { messages, max_tokens: 90, ignore_eos: true });
    assert.ok(told(chat).length > 0 && told(chat)[0].how === "reread");
  });
});
