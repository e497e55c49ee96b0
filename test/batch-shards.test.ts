/** `batch --shard` and `--merge`: what several machines write is, put together, what one writes. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { runCli } from "./support/cli.js";

const folder = mkdtempSync(join(tmpdir(), "hundredweight-shards-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const at = (name: string): string => join(folder, name);
const input = at("in.jsonl");
const tool = { type: "function", function: { name: "f", parameters: { type: "object", properties: {} } } };

writeFileSync(
  input,
  Array.from({ length: 40 }, (_, i) => {
    if (i === 7) return "{ no JSON\n";
    if (i === 9) return "\n";
    const about = { custom_id: i === 33 ? "c30" : `c${i}`, method: "POST" };
    const content = `You are ${i % 3}. `.repeat(5);
    const messages = [
      { role: "system", content },
      { role: "user", content: `Say ${i}` },
    ];
    const [url, body] = [
      ["/v1/chat/completions", { messages, max_tokens: 3 + (i % 5) }],
      ["/v1/completions", { prompt: `Once upon a time ${i}`, max_tokens: i === 13 ? "many" : 6, temperature: 0 }],
      ["/v1/embeddings", { input: `word ${i}` }],
      ["/v1/chat/completions", { messages, tools: [tool], tool_choice: "required", max_tokens: 30 }],
    ][i % 4]!;
    return `${JSON.stringify({ ...about, url, body })}\n`;
  }).join(""),
);
const batch = (output: string, ...more: string[]): string[] => [
  ...["batch", input, at(output), "--threads", "1", "--no-probe"],
  ...more,
];

test("three shards merged are one machine's file, byte for byte", async () => {
  const one = await runCli(batch("one.jsonl", "--reproducible", "--parallel", "4"));
  assert.equal(one.code, 1, one.err); // of lines that failed
  // Machines differ in what they do at once; shards end in any order.
  for (const shard of [2, 0, 1]) {
    const how = ["--shard", `${shard}/3`, "--reproducible", "--parallel", String(1 + shard), "--json"];
    const end = await runCli(batch(`part-${shard}.jsonl`, ...how));
    const { lines, done } = JSON.parse(end.out) as Record<string, number>;
    assert.equal(done, lines, end.err);
    assert.ok(done! > 6 && done! < 22, `${done} lines of shard ${shard}`);
  }
  const parts = [1, 2, 0].map((shard) => at(`part-${shard}.jsonl`));
  const merged = await runCli(batch("merged.jsonl", "--json", "--merge", ...parts));
  assert.deepEqual(JSON.parse(merged.out), { lines: 39, done: 39, failed: 3, doubled: 0, missing: 0 });
  assert.equal(readFileSync(at("merged.jsonl"), "utf8"), readFileSync(at("one.jsonl"), "utf8"));
});

test("what is missing is said, and answered by the same two files; torn and doubled lines cost nothing", async () => {
  const part = readFileSync(at("part-0.jsonl"));
  writeFileSync(at("torn.jsonl"), part.subarray(0, part.length - 20));
  const merge = ["--merge", at("torn.jsonl"), at("part-1.jsonl"), at("part-1.jsonl"), at("part-2.jsonl")];
  const few = await runCli(batch("few.jsonl", ...merge));
  assert.equal(few.code, 1);
  assert.match(few.err, /38 of 39 lines answered, 3 of them with errors, \d+ were there twice; 1 are missing/);
  await runCli(batch("few.jsonl", "--reproducible"));
  assert.equal(readFileSync(at("few.jsonl"), "utf8"), readFileSync(at("one.jsonl"), "utf8"));
});

test("files of something else are refused, and the output stays as it was", async () => {
  const before = readFileSync(at("one.jsonl"));
  for (const [source, why] of [
    [input, /holds requests, not answers/],
    [at("one.jsonl"), /one file/],
    ["-", /is no file/],
  ] as const) {
    const end = await runCli(batch("one.jsonl", "--merge", source));
    assert.equal(end.code, 2, end.err);
    assert.match(end.err, why);
    assert.deepEqual(readFileSync(at("one.jsonl")), before);
  }
  const gone = await runCli(batch("one.jsonl", "--merge", at("nothing")));
  assert.match(gone.err, /FILE_NOT_FOUND/);
  assert.deepEqual(readFileSync(at("one.jsonl")), before);
});
