/** Embeddings and reranking over HTTP: all models, all spellings, all shapes. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { rerankPaths } from "../../src/server/http/paths.js";
import { makeTinyModel } from "../../src/synth/tiny.js";
import { type FailureBody, needsThreads, postJson, serveForTests } from "./support.js";

const folder = mkdtempSync(join(tmpdir(), "hundredweight-vectors-"));
after(() => rmSync(folder, { recursive: true, force: true }));

interface Embeddings {
  readonly object: string;
  readonly model: string;
  readonly data: readonly { readonly object: string; readonly index: number; readonly embedding: unknown }[];
  readonly usage: { readonly prompt_tokens: number; readonly total_tokens: number };
}
interface Ranked {
  readonly object: string;
  readonly model: string;
  readonly usage: { readonly prompt_tokens: number; readonly total_tokens: number };
  readonly results: readonly {
    readonly index: number;
    readonly relevance_score: number;
    readonly document?: { readonly text: string };
  }[];
}

const length = (v: readonly number[]): number => Math.hypot(...v);

async function serveTiny(arch: string, variant: string): Promise<(path: string, body: object) => Promise<Response>> {
  const modelPath = join(folder, `${arch}-${variant}.gguf`);
  await makeTinyModel(modelPath, arch, { variant });
  const server = await serveForTests({ modelPath, engine: { threads: 1, sequences: 4, contextTokens: 96 } });
  return (path, body) => postJson(server.url + path, body);
}

const json = async <T>(answer: Promise<Response>): Promise<T> => (await (await answer).json()) as T;

describe("an encoder", { skip: needsThreads }, () => {
  let post: (path: string, body: object) => Promise<Response>;
  const vectors = async (body: object): Promise<number[][]> => {
    const answer = await json<Embeddings & FailureBody>(post("/v1/embeddings", body));
    assert.equal(answer.error, undefined, answer.error?.message);
    return answer.data.map(({ embedding }) => embedding as number[]);
  };
  before(async () => {
    post = await serveTiny("bert", "mean");
  });

  it("takes a text, texts, tokens and lists of tokens; in any number they are the same", async () => {
    const input = Array.from({ length: 20 }, (_, i) => "and so on ".repeat(1 + (i % 5)) + i);
    const answer = await json<Embeddings>(post("/v1/embeddings", { input }));
    assert.deepEqual([answer.object, answer.model, answer.data.length], ["list", "bert-mean", 20]);
    assert.equal(answer.usage.prompt_tokens, answer.usage.total_tokens);
    assert.deepEqual(
      answer.data.map(({ object, index }) => [object, index]),
      input.map((_, i) => ["embedding", i]),
    );
    const all = answer.data.map(({ embedding }) => embedding as number[]);
    for (const vector of all) assert.ok(Math.abs(length(vector) - 1) < 1e-5);
    for (const i of [0, 7]) assert.deepEqual(await vectors({ input: input[i] }), [all[i]]);
    const { tokens } = await json<{ tokens: number[] }>(post("/tokenize", { content: input[3], add_special: true }));
    assert.deepEqual(await vectors({ input: tokens }), [all[3]]);
    assert.deepEqual(await vectors({ input: [tokens, [1, 2, 3]] }), [all[3], ...(await vectors({ input: [1, 2, 3] }))]);
  });

  it("gives base64, fewer dimensions, other norms and other poolings", async () => {
    const input = "in the beginning";
    const [whole] = await vectors({ input });
    const packed = await json<Embeddings>(post("/v1/embeddings", { input, encoding_format: "base64" }));
    const bytes = Buffer.from(packed.data[0]!.embedding as string, "base64");
    assert.deepEqual([...new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4)], whole);
    const [cut] = await vectors({ input, dimensions: 10 });
    assert.equal(cut!.length, 10);
    const size = length(whole!.slice(0, 10));
    for (const [i, v] of cut!.entries()) assert.ok(Math.abs(v - whole![i]! / size) < 1e-6);
    const [raw] = await vectors({ input, embd_normalize: -1 });
    const [first] = await vectors({ input, pooling: "cls" });
    const [last] = await vectors({ input, pooling: "last" });
    assert.notDeepEqual(first, last);
    assert.ok(Math.abs(length(raw!) - 1) > 1e-3);
    const rows = (await json<Embeddings>(post("/v1/embeddings", { input, pooling: "none" }))).data[0]!
      .embedding as number[][];
    assert.deepEqual([rows[0], rows.at(-1)], [first, last]);
  });

  it("refuses what cannot be, and says why", async () => {
    const fault = async (path: string, body: object) => {
      const answer = await post(path, body);
      const { error } = (await answer.json()) as FailureBody;
      return [answer.status, error.param, error.message] as const;
    };
    const long = await fault("/v1/embeddings", { input: "word ".repeat(200) });
    assert.deepEqual(long.slice(0, 2), [400, "input"]);
    assert.match(long[2], /has \d+ tokens, the context of this server 96/);
    assert.match((await fault("/v1/embeddings", { input: "a", dimensions: 65 }))[2], /have 64 numbers, 65 cannot/);
    assert.match((await fault("/v1/embeddings", { input: "a", pooling: "rank" }))[2], /pooling/);
    assert.match((await fault("/v1/rerank", { query: "a", documents: ["b"] }))[2], /no reranker/);
    const text = await json<FailureBody>(post("/v1/completions", { prompt: "a", max_tokens: 3 }));
    assert.match(text.error.message, /makes no text but vectors/);
  });
});

describe("a reranker", { skip: needsThreads }, () => {
  let post: (path: string, body: object) => Promise<Response>;
  const query = "what does the fox say";
  const documents = ["a fox says nothing", "the weather is fine", "what does the fox say"];
  before(async () => {
    post = await serveTiny("bert", "reranker");
  });

  it("answers under all its names, best first", async () => {
    const first = await json<Ranked>(post(rerankPaths[0]!, { query, documents }));
    assert.deepEqual([first.object, first.model, first.results.length], ["list", "bert-reranker", 3]);
    const scores = first.results.map(({ relevance_score }) => relevance_score);
    assert.deepEqual(
      scores,
      scores.slice().sort((a, b) => b - a),
    );
    assert.deepEqual(new Set(first.results.map(({ index }) => index)), new Set([0, 1, 2]));
    assert.ok(first.usage.prompt_tokens > 3);
    for (const path of rerankPaths) assert.deepEqual(await json<Ranked>(post(path, { query, documents })), first);
  });

  it("takes objects, gives documents back, the best so many", async () => {
    const plain = await json<Ranked>(post("/v2/rerank", { query, documents }));
    const body = { query, documents: documents.map((text) => ({ text })), top_n: 2, return_documents: true };
    const best = await json<Ranked>(post("/v2/rerank", body));
    assert.deepEqual(
      best.results,
      plain.results.slice(0, 2).map((r) => ({ ...r, document: { text: documents[r.index]! } })),
    );
  });

  it("has the shape of text-embeddings-inference beside `texts`", async () => {
    const plain = await json<Ranked>(post("/rerank", { query, documents }));
    const raw = await json<{ index: number; score: number }[]>(
      post("/rerank", { query, texts: documents, raw_scores: true }),
    );
    assert.deepEqual(
      raw,
      plain.results.map(({ index, relevance_score: score }) => ({ index, score })),
    );
    const bent = await json<{ index: number; score: number; text: string }[]>(
      post("/rerank", { query, texts: documents, return_text: true }),
    );
    for (const [i, { index, score, text }] of bent.entries()) {
      assert.ok(Math.abs(score - 1 / (1 + Math.exp(-raw[i]!.score))) < 1e-6);
      assert.equal(text, documents[index]);
    }
  });

  it("refuses pairs that are too long with both counts, or cuts documents when told to", async () => {
    const long = ["word ".repeat(200), "short"];
    const answer = await post("/v1/rerank", { query, documents: long });
    const { error } = (await answer.json()) as FailureBody;
    assert.deepEqual([answer.status, error.param, error.code], [400, "documents[0]", "context_length_exceeded"]);
    assert.match(error.message, /has \d+ tokens, the context of this server 96/);
    const cut = await json<Ranked>(post("/v1/rerank", { query, documents: long, max_tokens_per_doc: 20 }));
    assert.equal(cut.results.length, 2);
    for (const body of [{ query }, { query, documents: [], top_n: 1 }, { query, documents, texts: documents }])
      assert.equal((await post("/v1/rerank", body)).status, 400);
    const none = await json<FailureBody>(post("/v1/embeddings", { input: "a" }));
    assert.match(none.error.message, /reranker/);
  });
});
