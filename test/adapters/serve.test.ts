/** Adapters of a server and of the library: chosen by each request, never mixed up in what is kept of prompts. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { openGguf } from "../../src/formats/index.js";
import { load } from "../../src/index.js";
import type { RunningServer } from "../../src/server/index.js";
import { chatModel, needsThreads, postJson, serveForTests, testFolder } from "../server/support.js";
import { demoAdapter } from "./fixture.js";

// biome-ignore lint/suspicious/noExplicitAny: answers as a program without types reads them
type Any = any;

describe("adapters of a server", { skip: needsThreads }, () => {
  let server: RunningServer;
  let adapters: { path: string; scale?: number }[];
  const prompt = "And the king said to the men that were with him: ";
  const ask = async (more: object, path = "/completion"): Promise<Any> => {
    const answer = await postJson(server.url + path, { prompt, n_predict: 12, temperature: 0, ...more });
    const json = (await answer.json()) as Any;
    assert.equal(answer.status, 200, JSON.stringify(json));
    return json;
  };

  before(async () => {
    const model = await chatModel();
    const { tensors } = openGguf(model);
    adapters = [
      { path: await demoAdapter(join(testFolder(), "one.gguf"), tensors, 1) },
      { path: await demoAdapter(join(testFolder(), "two.gguf"), tensors, 2), scale: 0 },
    ];
    const engine = { threads: 1, sequences: 4, contextTokens: 1024, kvTokens: 4096, chunkRows: 16, adapters };
    server = await serveForTests({ modelPath: model, engine, config: { tags: ["small"] } });
  });

  it("are what a request names, whoever shares its passes", async () => {
    const sets = [
      [],
      [{ id: 0, scale: 1 }],
      [{ id: 1, scale: 0.5 }],
      [
        { id: 1, scale: 0.5 },
        { id: 0, scale: 1 },
      ],
    ];
    const together = await Promise.all([...sets, ...sets].map(async (lora) => (await ask({ lora })).content as string));
    assert.deepEqual(together.slice(4), together.slice(0, 4));
    assert.equal(new Set(together).size, 4, together.join("|"));
    const model = await load(await chatModel(), { threads: 1, adapters });
    const options = { temperature: 0, maxTokens: 12 };
    const alone: string[] = [];
    for (const scales of [[], [1], [0, 0.5], [1, 0.5]])
      alone.push((await model.generate(prompt, { ...options, adapters: scales }).result()).text);
    assert.deepEqual(alone, together.slice(0, 4));
    // As it was loaded: the first counts, the second does not.
    assert.equal((await model.generate(prompt, options).result()).text, alone[1]);
    await assert.rejects(model.generate(prompt, { adapters: [1, 1, 1] }).result(), { code: "OPTION_INVALID" });
    await model.close();
    const plain = await load(await chatModel(), { threads: 1 });
    assert.equal((await plain.generate(prompt, options).result()).text, alone[0]);
    await plain.close();
  });

  it("are part of what is kept of a prompt", async () => {
    const text = "It was the best of times, it was the worst of times. ";
    const cached = async (lora: object[]): Promise<number> =>
      (await ask({ prompt: text, n_predict: 1, lora })).timings.cache_n;
    const one = [{ id: 0, scale: 1 }];
    // Its first token may be there of other prompts with the same adapters.
    for (const lora of [one, [], [{ id: 0, scale: 0.5 }], [{ id: 1, scale: 1 }]])
      assert.ok((await cached(lora)) <= 1, JSON.stringify(lora));
    assert.ok((await cached(one)) > 5);
    assert.ok((await cached([{ id: 1, scale: 0 }])) > 5);
  });

  it("are listed and set as in llama-server", async () => {
    const list = async (): Promise<Any> => (await fetch(`${server.url}/lora-adapters`)).json();
    const told = (scales: readonly number[]) =>
      adapters.map(({ path }, id) => ({ id, path, scale: scales[id], task_name: "", prompt_prefix: "" }));
    assert.deepEqual(await list(), told([1, 0]));
    const [first, second] = [(await ask({})).content, (await ask({ lora: [{ id: 1, scale: 1 }] })).content];
    const set = async (body: unknown) => postJson(`${server.url}/lora-adapters`, body);
    assert.deepEqual(await (await set([{ id: 1, scale: 1 }])).json(), { success: true });
    assert.deepEqual(await list(), told([0, 1]));
    assert.equal((await ask({})).content, second);
    const chat = { messages: [{ role: "user", content: "Who are you?" }], max_tokens: 12, seed: 1 };
    const said = async (more: object) =>
      (await ask({ ...chat, prompt: undefined, ...more }, "/v1/chat/completions")).choices[0].message.content;
    assert.equal(await said({}), await said({ lora: [{ id: 1, scale: 1 }] }));
    assert.notEqual(await said({}), await said({ lora: [] }));
    assert.equal((await set([{ id: 0, scale: 1 }])).status, 200);
    assert.equal((await ask({})).content, first);
    for (const wrong of [[{ id: 2, scale: 1 }], [{ id: 0 }], { id: 0, scale: 1 }, [{ id: -1, scale: 1 }], 5])
      assert.equal((await set(wrong)).status, 400, JSON.stringify(wrong));
    for (const lora of [[{ id: 2, scale: 1 }], [{ id: 0 }], {}, "x"])
      assert.equal((await postJson(`${server.url}/completion`, { prompt, lora })).status, 400, JSON.stringify(lora));
    assert.deepEqual(await list(), told([1, 0]));
  });

  after(() => server.stop());
});
