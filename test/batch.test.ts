/** `batch`: what goes in comes out, once each, whatever happens in between. */
import assert from "node:assert/strict";
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { finish, runCli, startCli } from "./support/cli.js";

const folder = mkdtempSync(join(tmpdir(), "hundredweight-batch-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const input = join(folder, "in.jsonl");
const lines = 120;

writeFileSync(
  input,
  Array.from({ length: lines }, (_, i) => {
    if (i % 30 === 11) return "{ no JSON\n";
    if (i % 30 === 12) return "\n";
    if (i % 30 === 13) return `${JSON.stringify({ custom_id: `c${i}`, method: "GET", url: "/v1/models", body: {} })}\n`;
    const about = { custom_id: `c${i}`, method: "POST" };
    if (i % 30 === 14) return `${JSON.stringify({ ...about, url: "/v1/embeddings", body: { input: `word ${i}` } })}\n`;
    const prompt = `Once upon a time there were ${i}`;
    const max_tokens = i % 30 === 15 ? "many" : 20 + (i % 20);
    // Greedy, with a seed of its own, and with that of the line.
    const how = [{ temperature: 0 }, { seed: i }, {}][i % 3];
    return `${JSON.stringify({ ...about, url: "/v1/completions", body: { prompt, max_tokens, ...how } })}\n`;
  }).join(""),
);
const wanted = lines - lines / 30;

interface Out {
  readonly id: string;
  readonly custom_id: string | null;
  readonly response: { status_code: number; body: Record<string, unknown> } | null;
  readonly error: { code: string } | null;
}

/** By line, without what says when and by whom it was answered. */
function answersIn(path: string): Map<string, unknown> {
  const text = readFileSync(path, "utf8");
  assert.ok(text.endsWith("\n"));
  const found = new Map<string, unknown>();
  for (const line of text.trimEnd().split("\n")) {
    const out = JSON.parse(line) as Out;
    assert.ok(!found.has(out.id), `${out.id} is there twice`);
    const { choices, data, error } = out.response?.body ?? {};
    found.set(out.id, {
      custom_id: out.custom_id,
      status: out.response?.status_code,
      choices,
      data,
      error,
      fault: out.error,
    });
  }
  return found;
}

const batchTo = (output: string): string[] => [
  "batch",
  input,
  output,
  "--threads",
  "1",
  "--parallel",
  "4",
  "--no-probe",
];

const whole = join(folder, "whole.jsonl");
const uninterrupted = runCli([...batchTo(whole), "--json"]);

test("every line is answered once; a bad one gets an error and stops nobody", async () => {
  const end = await uninterrupted;
  // Some lines failed.
  assert.equal(end.code, 1, end.err);
  const answers = answersIn(whole);
  assert.equal(answers.size, wanted);
  const of = (line: number) => answers.get(`batch_req_${line}`) as Record<string, unknown>;
  assert.deepEqual((of(12).fault as Out["error"])?.code, "invalid_line");
  assert.equal(of(14).custom_id, "c13");
  assert.ok(Array.isArray(of(15).data));
  assert.equal(of(16).status, 400);
  assert.equal(of(1).status, 200);
  const { done, failed, resumed } = JSON.parse(end.out) as Record<string, number>;
  assert.deepEqual([done, failed, resumed], [wanted, 3 * 4, 0]);
});

test("killed at ten random moments, it ends with what an uninterrupted run gives", async (t) => {
  await uninterrupted;
  const output = join(folder, "killed.jsonl");
  const counts: number[] = [];
  for (let kills = 0; kills < 10; kills++) {
    const child = startCli(batchTo(output));
    const before = existsSync(output) ? readFileSync(output).length : 0;
    // From the start of the work on, at a moment that nobody chose.
    const ended = finish(child);
    const poll = setInterval(() => {
      if (!existsSync(output) || readFileSync(output).length === before) return;
      clearInterval(poll);
      setTimeout(() => child.kill("SIGKILL"), Math.random() * 400);
    }, 5);
    const end = await ended;
    clearInterval(poll);
    if (end.signal === null) assert.equal(end.code, 1, end.err);
    counts.push(readFileSync(output, "utf8").split("\n").length - 1);
    // What a kill inside a write, or a loss of power, leaves behind.
    if (kills % 3 === 1) appendFileSync(output, '{"id":"batch_req_1","custom_id":"c');
    if (kills % 3 === 2) truncateSync(output, readFileSync(output).length - 3);
  }
  t.diagnostic(`lines after each kill: ${counts.join(" ")}`);
  assert.ok(counts[0]! < wanted);
  const end = await runCli(batchTo(output));
  // Also when the lines that failed were answered before.
  assert.equal(end.code, 1, end.err);
  assert.deepEqual(new Map([...answersIn(output)].sort()), new Map([...answersIn(whole)].sort()));
  assert.ok(!existsSync(`${output}.lock`));
});

test("an output of another input, of something else, or in use is refused and not touched", async () => {
  await uninterrupted;
  const other = join(folder, "other.jsonl");
  writeFileSync(other, readFileSync(input, "utf8").replaceAll('"c', '"d'));
  const before = readFileSync(whole);
  const refused = async (args: string[], why: RegExp): Promise<void> => {
    const end = await runCli(args);
    assert.equal(end.code, 2, end.err);
    assert.match(end.err, why);
  };
  await refused(["batch", other, whole], /belongs to another input/);
  const notes = join(folder, "notes.txt");
  writeFileSync(notes, "dear diary\nfirst line\n");
  await refused(["batch", input, notes], /something else/);
  assert.equal(readFileSync(notes, "utf8"), "dear diary\nfirst line\n");
  writeFileSync(`${whole}.lock`, String(process.pid));
  await refused(batchTo(whole), new RegExp(`process ${process.pid} writes`));
  rmSync(`${whole}.lock`);
  assert.deepEqual(readFileSync(whole), before);
});

test("answers that fill their contexts go on where that is asked for, and end where it is not", async () => {
  const long = join(folder, "long.jsonl");
  const body = { prompt: "Once upon a time", max_tokens: 600, temperature: 0, ignore_eos: true };
  writeFileSync(long, `${JSON.stringify({ custom_id: "l", method: "POST", url: "/v1/completions", body })}\n`);
  for (const [how, tokens] of [
    ["stop", 506],
    ["shift", 600],
  ] as const) {
    const output = join(folder, `long-${how}.jsonl`);
    const end = await runCli([
      "batch",
      long,
      output,
      "--threads",
      "1",
      "--ctx",
      "512",
      "--when-full",
      how,
      "--no-probe",
    ]);
    const { response } = JSON.parse(readFileSync(output, "utf8")) as Out;
    const { usage } = (response?.body ?? {}) as { usage?: { completion_tokens: number } };
    assert.equal(usage?.completion_tokens, tokens, `${how}: ${end.err} ${JSON.stringify(response?.body)}`);
  }
});
