/** Every symptom of a guide's table of troubles, provoked, and what `doctor MODEL` says of it. */
import assert from "node:assert/strict";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { symptoms } from "../src/cli/doctor/symptoms.js";
import { openGguf } from "../src/formats/index.js";
import { packageRoot } from "../src/package-root.js";
import { runCli } from "./support/cli.js";

const demo = join(packageRoot(), "models", "demo.gguf");
const folder = mkdtempSync(join(tmpdir(), "hw-doctor-"));
after(() => rmSync(folder, { recursive: true, force: true }));

interface Told {
  readonly findings: readonly { readonly check: string; readonly state: string; readonly text: string }[];
  readonly symptoms: readonly { readonly name: string; readonly words: string; readonly remedy: string }[];
}
const doctor = async (args: readonly string[], env: NodeJS.ProcessEnv = {}) => {
  const done = await runCli(["doctor", ...args, "--json"], "", env);
  assert.notEqual(done.out, "", done.err);
  const told = JSON.parse(done.out) as Told;
  return {
    code: done.code,
    names: told.symptoms.map(({ name }) => name),
    faults: told.findings.filter(({ state }) => state === "fault"),
    of: (check: string) => told.findings.filter((finding) => finding.check === check),
  };
};
/** A copy of the demonstration model with a change. */
const changed = (name: string, change: (bytes: Buffer) => void): string => {
  const path = join(folder, name);
  const bytes = readFileSync(demo);
  change(bytes);
  writeFileSync(path, bytes);
  return path;
};
/** Where a text stands in the file's header. */
const after_ = (bytes: Buffer, text: string): number => bytes.indexOf(text) + Buffer.byteLength(text);

test("a sound model: every check, exit code 0", async () => {
  const { code, names, of, faults } = await doctor([demo]);
  assert.equal(code, 0);
  assert.deepEqual([names, faults], [[], []]);
  const states = ["container", "names and shapes", "tokenizer", "special tokens", "numbers", "memory", "first tokens"];
  for (const check of states)
    assert.deepEqual(
      of(check).map(({ state }) => state),
      ["ok"],
      check,
    );
  const text = await runCli(["doctor", demo, "--no-read"]);
  assert.match(text.out, /^ok +tokenizer +bpe \(gpt-2\), 2048 tokens; a sample comes back as it was$/m);
  assert.doesNotMatch(text.out, /numbers/);
});

test("out of memory at start-up", async () => {
  const { code, names, faults } = await doctor([demo, "--memory", "64MiB"]);
  assert.equal(code, 1);
  assert.deepEqual(names, ["memory"]);
  assert.match(faults[0]!.text, /^it does not run in 64\.0 MiB: at least [\d.]+ MiB are needed$/);
  const text = await runCli(["doctor", demo, "--memory", "64MiB"]);
  assert.ok(
    text.out.includes(`\nout of memory at start-up\n  why   ${symptoms.memory.cause}\n  do    give more (--memory`),
  );
});

test("NaN or Inf in logits: the tensor is named, by reading and by running", async () => {
  const weight = openGguf(demo).tensors.get("blk.1.ffn_down.weight")!;
  const { offset } = weight.planes.blocks![0]!;
  const path = changed("nan.gguf", (bytes) => bytes.writeUInt16LE(0x7e00, offset));
  const { code, names, of } = await doctor([path]);
  assert.equal(code, 1);
  assert.deepEqual(names, ["notFinite"]);
  assert.match(of("numbers")[0]!.text, /^1 blocks are not finite: blk\.1\.ffn_down\.weight; inspect --verify/);
  const ran = await doctor([path, "--no-read"]);
  assert.match(ran.of("first tokens")[0]!.text, /^layer 1: linear with 'blk\.1\.ffn_down\.weight' gave NaN/);
});

test("slow generation: no addon, scalar kernels, weights from the disk", async () => {
  const without = await doctor([demo, "--no-read"], { HUNDREDWEIGHT_NATIVE: "off" });
  assert.deepEqual(without.names, ["slow"]);
  assert.match(without.of("kernels")[0]!.text, /^the native addon is not loaded \(.*\): the plain reference runs$/);
  const least = /at least ([\d.]+) MiB/.exec((await doctor([demo, "--memory", "64MiB"])).faults[0]!.text)![1]!;
  const streamed = await doctor([demo, "--no-read", "--memory", `${Math.ceil(Number(least))}MiB`]);
  assert.deepEqual(streamed.names.includes("slow"), true);
  assert.match(streamed.of("memory")[0]!.text, /^streamed in [\d.]+ MiB, about .*; fits whole from [\d.]+ MiB$/);
});

test("tokenizer and vocabulary do not match the model", async () => {
  // The embedding loses a row: the tokenizer has one token more.
  const rows = changed("rows.gguf", (bytes) => {
    const at = after_(bytes, "token_embd.weight") + 4 + 8;
    assert.equal(bytes.readBigUInt64LE(at), 2048n);
    bytes.writeBigUInt64LE(2047n, at);
  });
  const short = await doctor([rows]);
  assert.equal(short.code, 1);
  assert.deepEqual(short.names, ["vocabulary"]);
  assert.match(short.faults[0]!.text, /the vocabulary has 2048 tokens but 'token_embd\.weight' only 2047 rows/);
  const ids = changed("ids.gguf", (bytes) => {
    bytes.writeUInt32LE(999_999, after_(bytes, "tokenizer.ggml.eos_token_id") + 4);
  });
  const wrong = await doctor([ids, "--no-read"]);
  assert.deepEqual(wrong.names, ["vocabulary"]);
  assert.match(wrong.of("special tokens")[0]!.text, /^tokenizer\.ggml\.eos_token_id 999999: ids are 0 to 2047$/);
});

test("conversion fails on this system: a Core ML package", async () => {
  const path = join(folder, "model.mlpackage");
  mkdirSync(path);
  writeFileSync(join(path, "Manifest.json"), "{}");
  const { code, names, faults } = await doctor([path]);
  assert.equal(code, 1);
  assert.deepEqual(names, ["conversion"]);
  assert.match(faults[0]!.text, /a Core ML model$/);
});

test("a file that was cut off, and a folder of models, which is none", async () => {
  const path = join(folder, "cut.gguf");
  copyFileSync(demo, path);
  truncateSync(path, 100_000);
  const { code, names, faults } = await doctor([path]);
  assert.equal(code, 1);
  assert.deepEqual(names, ["damaged"]);
  assert.equal(faults[0]!.check, "container");
  const machine = await runCli(["doctor", folder, "--json"]);
  assert.ok(JSON.parse(machine.out).memory.totalBytes > 0);
});
