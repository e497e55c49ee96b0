/** `embed` as people run it: lines, files, JSON lines, standard input. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { load } from "../src/library/model.js";
import { makeTinyModel } from "../src/synth/tiny.js";
import { runCli } from "./support/cli.js";

const folder = mkdtempSync(join(tmpdir(), "hundredweight-embed-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const path = join(folder, "bert.gguf");
before(() => makeTinyModel(path, "bert", { variant: "mean" }));

interface Line {
  readonly index: number;
  readonly id?: unknown;
  readonly tokens: number;
  readonly embedding: number[];
}
const lines = (out: string): Line[] =>
  out
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Line);

test("lines of standard input, in their order; what the library says", async () => {
  const texts = Array.from({ length: 40 }, (_, i) => "one and ".repeat(1 + ((i * 7) % 11)) + i);
  const { code, out, err } = await runCli(["embed", path], `${texts.join("\n")}\n\n`);
  assert.equal(code, 0, err);
  const found = lines(out);
  assert.deepEqual(
    found.map(({ index }) => index),
    texts.map((_, i) => i),
  );
  const model = await load(path, { contextTokens: 512, sequences: 3 });
  try {
    const vectors = await model.embed(texts);
    for (const [i, vector] of vectors.entries()) assert.deepEqual(found[i]!.embedding, [...vector]);
    assert.deepEqual(await model.embed(texts[5]!), vectors[5]);
    const [first, second] = await model.embed([[1, 2, 3], texts[0]!]);
    assert.deepEqual(second, vectors[0]);
    assert.equal(first!.length, model.info.dim);
    await assert.rejects(model.rerank("a", ["b"]), { code: "OPTION_INVALID" });
  } finally {
    await model.close();
  }
});

test("files of texts, whole files, JSON lines with ids, prefixes, base64", async () => {
  const [a, b, c] = ["a.txt", "b.txt", "c.jsonl"].map((name) => join(folder, name)) as [string, string, string];
  writeFileSync(a, "first text\nsecond text\n");
  writeFileSync(b, "third text");
  writeFileSync(c, `{"id": "x", "text": "first text"}\n"second text"\n{"id": 7, "input": [5, 6, 7]}\n`);
  const embed = async (...args: string[]): Promise<Line[]> => {
    const { code, out, err } = await runCli(["embed", path, ...args]);
    assert.equal(code, 0, err);
    return lines(out);
  };
  const [first, second, third] = (await embed(a, b)) as [Line, Line, Line];
  const [whole] = (await embed("--whole", b)) as [Line];
  assert.deepEqual([whole.id, whole.embedding], [b, third.embedding]);
  const parsed = await embed("--jsonl", c);
  assert.deepEqual(
    parsed.map(({ id }) => id),
    ["x", undefined, 7],
  );
  assert.deepEqual([parsed[0]!.embedding, parsed[1]!.embedding], [first.embedding, second.embedding]);
  assert.deepEqual((await embed("--prefix", "first ", "--dimensions", "64", a))[0]!.tokens > first.tokens, true);
  const [packed] = (await embed("--encoding", "base64", b)) as unknown as [{ embedding: string }];
  const bytes = Buffer.from(packed.embedding, "base64");
  assert.deepEqual([...new Float32Array(bytes.buffer, bytes.byteOffset, 64)], third.embedding);
  const [rows] = (await embed("--pooling", "none", "--normalize", "none", b)) as unknown as [
    { embedding: number[][]; tokens: number },
  ];
  assert.deepEqual([rows.embedding.length, rows.embedding[0]!.length], [rows.tokens, 64]);
});

test("what is wrong is told with its place", async () => {
  const bad = join(folder, "bad.jsonl");
  writeFileSync(bad, `"fine"\n{"nothing": 1}\n`);
  const wrong = await runCli(["embed", path, "--jsonl", bad]);
  assert.equal(wrong.code, 2);
  assert.match(wrong.err, /bad\.jsonl: line 2 has no text/);
  const missing = await runCli(["embed", path, join(folder, "none.txt")]);
  assert.match(missing.err, /error\[FILE_NOT_FOUND\]/);
  const long = await runCli(["embed", path, "--ctx", "64"], `short\n${"word ".repeat(100)}\n`);
  assert.match(long.err, /error\[CONTEXT_EXCEEDED\]: text 2: \d+ tokens do not fit the context of 64/);
  const run = await runCli(["run", path, "a king"]);
  assert.equal(run.code, 2);
  assert.match(run.err, /a model of architecture 'bert' makes no text but vectors: embed texts/);
});
