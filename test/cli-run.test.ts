/** The commands on a small random model, as processes: documents, files, signals, pipes. */
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { load } from "../src/library/model.js";
import { makeTinyModel } from "../src/synth/tiny.js";
import { finish, runCli, startCli } from "./support/cli.js";
import { firstOf } from "./support/wait.js";

const folder = mkdtempSync(join(tmpdir(), "hw-run-"));
const model = join(folder, "tiny.gguf");
let vocab = 0;
before(async () => {
  ({ vocab } = await makeTinyModel(model, "llama"));
});
after(() => rmSync(folder, { recursive: true }));

const greedy = ["--raw", "--temperature", "0", "--ignore-eos"];

test("run --json: exactly the fields of the contract, consistent with each other", async () => {
  const { code, out, err } = await runCli([
    "run",
    model,
    "the cat and the dog",
    ...greedy,
    "-n",
    "12",
    "--chunk",
    "4",
    "--draft",
    "off",
    "--json",
  ]);
  assert.equal(code, 0, err);
  assert.equal(out.trimEnd().split("\n").length, 1);
  const document = JSON.parse(out);
  assert.deepEqual(Object.keys(document), [
    "text",
    "promptTokens",
    "tokens",
    "finishReason",
    "timings",
    "memory",
    "ledger",
  ]);
  assert.deepEqual(Object.keys(document.timings), ["loadMs", "prefillMs", "prefillTps", "decodeMs", "decodeTps"]);
  assert.deepEqual(Object.keys(document.memory), [
    "budgetBytes",
    "peakRssBytes",
    "pinnedBytes",
    "ringBytes",
    "kvBytes",
    "activationBytes",
    "unaccountedBytes",
  ]);
  assert.equal(document.tokens.length, 12);
  assert.equal(document.finishReason, "length");
  const prefillPasses = Math.ceil(document.promptTokens.length / 4);
  assert.equal(document.ledger.length, prefillPasses + 11);
  for (const [i, entry] of document.ledger.entries()) {
    assert.deepEqual(Object.keys(entry), [
      "position",
      "rows",
      "diskBytes",
      "pinnedBytes",
      "stallMs",
      "computeMs",
      "expertHits",
      "expertMisses",
      "drafts",
      "acceptedDrafts",
    ]);
    if (i > 0) assert.equal(entry.position, document.ledger[i - 1].position + document.ledger[i - 1].rows);
  }
  assert.ok(document.memory.kvBytes > 0 && document.memory.peakRssBytes > document.memory.kvBytes);

  const opened = await load(model);
  try {
    assert.deepEqual(await opened.tokenize("the cat and the dog", { special: true }), document.promptTokens);
    assert.equal(await opened.detokenize(document.tokens), document.text);
  } finally {
    await opened.close();
  }
});

test("run tells guesses by their source, in the document and at the end", async () => {
  const args = ["run", model, "one two three one two three", ...greedy, "-n", "60", "--draft", "4"];
  const { drafts, ledger } = JSON.parse((await runCli([...args, "--json"])).out);
  const sum = (name: string) => ledger.reduce((all: number, entry: Record<string, number>) => all + entry[name]!, 0);
  assert.deepEqual(Object.keys(drafts), ["lookup"]);
  assert.ok(drafts.lookup.tried > 0);
  assert.deepEqual(drafts.lookup, { tried: sum("drafts"), right: sum("acceptedDrafts") });
  const told = (await runCli([...args, "--progress"])).err;
  const { tried, right } = drafts.lookup;
  assert.ok(told.includes(`\n[drafts: ${right} of ${tried} right from the text]\n`), told);
});

test("run: the text is stdout; the seed repeats it, also in another process and chunking", async () => {
  const args = ["run", model, "one two three", "--raw", "--temperature", "1.2", "--seed", "7", "-n", "20"];
  const first = await runCli(args);
  assert.equal(first.code, 0, first.err);
  assert.equal(first.err, "");
  assert.equal((await runCli([...args, "--chunk", "1"])).out, first.out);
  const other = await runCli(args.map((arg) => (arg === "7" ? "8" : arg)));
  assert.notEqual(other.out, first.out);
  const fromStdin = await runCli(
    args.map((arg) => (arg === "one two three" ? "-" : arg)),
    "one two three",
  );
  assert.equal(fromStdin.out, first.out);
});

test("run: piped text is the prompt, or comes before an argument; nothing at all is a usage error", async () => {
  const args = ["run", model, ...greedy, "-n", "3", "--json"];
  const promptOf = ({ code, out, err }: { code: number | null; out: string; err: string }) => {
    assert.equal(code, 0, err);
    return (JSON.parse(out) as { promptTokens: number[] }).promptTokens;
  };
  const given = async (argument: string, input = "") =>
    promptOf(await runCli(["run", model, argument, ...args.slice(2)], input));
  assert.deepEqual(promptOf(await runCli(args, "the cat")), await given("the cat"));
  assert.deepEqual(await given("and the dog", "the cat\n"), await given("the cat\n and the dog"));
  assert.deepEqual(await given("the cat", " \n"), await given("the cat"));
  const nothing = await runCli(args);
  assert.equal(nothing.code, 2);
  assert.match(nothing.err, /^error\[OPTION_INVALID\]: no prompt: [^\n]+\n$/);
});

test("run: a pipe that nobody writes to or closes does not hold an argument up", async () => {
  const child = startCli(["run", model, "the cat", ...greedy, "-n", "3"]);
  const { code, out, err } = await finish(child); // its standard input stays open
  assert.equal(code, 0, err);
  assert.notEqual(out, "");
});

test("a prompt longer than the context: CONTEXT_EXCEEDED with both numbers, exit code 1", async () => {
  const { code, out, err } = await runCli(["run", model, "x ".repeat(400), ...greedy, "--ctx", "64", "--json"]);
  assert.equal(code, 1);
  assert.equal(out, "");
  assert.match(err, /^error\[CONTEXT_EXCEEDED\]: \d+ tokens do not fit the context of 64[^\n]*\n$/);
});

test("a KV cache beyond all memory is refused before it is allocated", async () => {
  const { code, err } = await runCli(["run", model, "x", ...greedy, "--ctx", "134217728", "--memory", "64MiB"]);
  assert.equal(code, 1);
  assert.match(err, /^(warning: [^\n]*\n)?error\[MEMORY_BUDGET\]: [^\n]*--ctx[^\n]*\n$/);
});

test("logits: raw little-endian f32, the last row or all; a full disk is one line", async () => {
  const out = join(folder, "logits.bin");
  const all = await runCli(["logits", model, "--tokens", "1,2,3,4,5", "--all", "--out", out, "--json"]);
  assert.equal(all.code, 0, all.err);
  assert.deepEqual(JSON.parse(all.out), { out, rows: 5, vocab, from: 0 });
  const rows = readFileSync(out);
  assert.equal(rows.length, 5 * vocab * 4);
  const opened = await load(model);
  try {
    const expected = await opened.logits([1, 2, 3, 4, 5], { from: 0 });
    for (const [r, row] of expected.entries())
      for (const [v, value] of row.entries()) assert.equal(rows.readFloatLE((r * vocab + v) * 4), value);
  } finally {
    await opened.close();
  }
  assert.equal((await runCli(["logits", model, "--tokens", "1,2,3,4,5", "--out", out])).code, 0);
  assert.deepEqual(readFileSync(out), rows.subarray(4 * vocab * 4));

  if (existsSync("/dev/full")) {
    const full = await runCli(["logits", model, "--tokens", "1", "--out", "/dev/full"]);
    assert.equal(full.code, 1);
    assert.match(full.err, /^error\[FILE_IO\]: [^\n]*ENOSPC[^\n]*\n$/);
  }
  const outside = await runCli(["logits", model, "--tokens", `${vocab}`, "--out", out]);
  assert.equal(outside.code, 2);
  assert.match(outside.err, /vocabulary/);
});

test("perplexity: the definition, computed again from logits", async () => {
  const file = join(folder, "text.txt");
  writeFileSync(file, "the rain in the land of the other men is not as it was and all of them went home. ".repeat(6));
  const { code, out, err } = await runCli(["perplexity", model, file, "--ctx", "32", "--json"]);
  assert.equal(code, 0, err);
  const result = JSON.parse(out);
  assert.deepEqual(Object.keys(result), ["perplexity", "tokens", "chunks", "error"]);
  const opened = await load(model);
  try {
    const ids = await opened.tokenize(readFileSync(file, "utf8"), { special: true });
    let sum = 0;
    let count = 0;
    const chunks = Math.floor(ids.length / 32);
    for (let c = 0; c < chunks; c++) {
      const chunk = ids.slice(c * 32, (c + 1) * 32);
      if (opened.info.addBos) chunk[0] = opened.info.special.bos!;
      const rows = await opened.logits(chunk, { from: 0 });
      for (let i = 16; i < 31; i++) {
        const total = rows[i]!.reduce((a, v) => a + Math.exp(v), 0);
        sum -= Math.log(Math.exp(rows[i]![chunk[i + 1]!]!) / total);
        count++;
      }
    }
    assert.equal(result.chunks, chunks);
    assert.equal(result.tokens, count);
    // Sums of a few hundred terms, each within a few hundred roundings.
    assert.ok(Math.abs(result.perplexity / Math.exp(sum / count) - 1) < 1e-10);
    assert.ok(result.error > 0);
  } finally {
    await opened.close();
  }
  writeFileSync(file, "short");
  assert.match((await runCli(["perplexity", model, file])).err, /^error\[OPTION_INVALID\]: [^\n]+\n$/);
});

test("bench --json: runs, medians and spread", async () => {
  const { code, out, err } = await runCli(["bench", model, "-p", "20", "-n", "5", "-r", "3", "--json"]);
  assert.equal(code, 0, err);
  const document = JSON.parse(out);
  for (const [series, tokens] of [
    [document.prefill, 20],
    [document.decode, 5],
  ] as const) {
    assert.equal(series.tokens, tokens);
    assert.equal(series.runs.length, 3);
    assert.equal(series.medianTps, [...series.runs].sort((a, b) => a - b)[1]);
    assert.ok(series.minTps <= series.medianTps && series.medianTps <= series.maxTps);
  }
  assert.ok(document.decodeGBps > 0);
});

test("Ctrl-C ends run with one line and exit code 130, SIGTERM with 143", {
  skip: process.platform === "win32" ? "no SIGINT" : false,
}, async () => {
  for (const [signal, expected] of [
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const) {
    const child = startCli(["run", model, "the", ...greedy, "-n", "-1"]);
    const done = finish(child);
    await firstOf(child, "data");
    child.kill(signal);
    const { code, err, out } = await done;
    assert.equal(code, expected);
    assert.equal(err, "error[CANCELLED]: stopped by the caller\n");
    assert.ok(out.length > 0);
  }
});

test("a closed pipe ends run quietly", { skip: process.platform === "win32" ? "no EPIPE" : false }, async () => {
  const child = startCli(["run", model, "the", ...greedy, "-n", "-1"]);
  const done = finish(child);
  child.stdout?.once("data", () => child.stdout?.destroy());
  const { code, err } = await done;
  assert.equal(err, "");
  assert.equal(code, 0);
});

test("chat: commands, answers, template errors", async () => {
  const missing = await runCli(
    ["chat", model, "--raw", "--temperature", "0", "-n", "8", "--ignore-eos"],
    "/help\nthe cat\n/nope\n/regen\n/exit\n",
  );
  assert.equal(missing.code, 0, missing.err);
  assert.match(missing.out, /\/clear/);
  assert.match(missing.out, /unknown command \/nope/);
  assert.match(missing.out, /no message to answer/);
});

test("run --when-full: an answer goes on behind its context and says so, or is refused", async () => {
  const long = ["run", model, "the cat and the dog", ...greedy, "--ctx", "64", "-n", "150"];
  const { code, out, err } = await runCli([...long, "--when-full", "reread", "--keep", "4", "--json"]);
  assert.equal(code, 0, err);
  assert.equal(JSON.parse(out).tokens.length, 150);
  assert.match(err, /the context was full: 30 tokens behind the first 4 were left out, .*read again \(30 in all\)/);
  const refused = async (reason: RegExp, ...options: string[]): Promise<void> => {
    const ended = await runCli([...long, ...options]);
    assert.equal(ended.code, 2, ended.err);
    assert.match(ended.err, reason);
  };
  await refused(/OPTION_INVALID.*256 tokens at least: a context of 64 .*too short/s, "--context-shift");
  await refused(/no session/, "--when-full", "shift", "--session", join(folder, "none"));
});
