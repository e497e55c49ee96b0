/** `synth` and `plan` as a user runs them. */
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, truncateSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { loadAddon } from "../src/native/addon.js";
import { runCli } from "./support/cli.js";

const folder = mkdtempSync(join(tmpdir(), "hundredweight-plan-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const path = join(folder, "model.gguf");
const skip = loadAddon() === undefined && "no addon: nothing is ever measured";
const spec = "qwen3-30b-a3b,layers=3,dim=256,heads=4,kv-heads=2,expert-hidden=256,vocab=1000";

test("a gate of a shared expert is no router: skew leaves it alone", async () => {
  const shared = join(folder, "shared.gguf");
  const size = "qwen3.6-35b-a3b,layers=1,dim=256,expert-hidden=256,vocab=600,experts=16,top-k=4";
  const made = await runCli(["synth", size, shared, "--router-skew", "0.7", "--json"]);
  assert.deepEqual([made.code, made.err], [0, ""]);
  rmSync(shared);
});

test("synth writes what plan, tokenize and logits read", async () => {
  const made = await runCli(["synth", spec, path, "--experts", "16", "--top-k", "4", "--router-skew", "1", "--json"]);
  assert.equal(made.err, "");
  assert.equal(made.code, 0);
  const report = JSON.parse(made.out);
  assert.equal(report.bytes, statSync(path).size);
  assert.ok(report.bytesPerSecond > 0 && report.quant === "Q4_K_M" && report.architecture === "qwen3moe");

  const plan = await runCli(["plan", path, "--memory", "1GiB", "--ctx", "1024", "--json"]);
  const document = JSON.parse(plan.out);
  assert.equal(document.strategy, "resident");
  assert.equal(document.contextTokens, 1024);
  const { passes, texts } = document.predictedDrafts;
  assert.equal(passes[0].seconds, document.predictedSecondsPerToken);
  assert.deepEqual(
    texts.map((kind: { text: string }) => kind.text),
    ["edit", "talk", "code"],
  );
  const purposes = [
    "pinned",
    "adapter",
    "expertSlot",
    "ring",
    "kv",
    "activation",
    "tokenizer",
    "constraint",
    "runtime",
  ];
  assert.equal(
    document.totalBytes,
    purposes.reduce((sum, name) => sum + document[`${name}Bytes`], 0),
  );

  const tokens = await runCli(["tokenize", path, "hello there", "--json"]);
  assert.equal(JSON.parse(tokens.out).pieces.join(""), "helloĠthere");
  const logits = join(folder, "logits.f32");
  assert.equal((await runCli(["logits", path, "--tokens", "1,2,3", "--out", logits])).code, 0);
  assert.equal(statSync(logits).size, 4000);

  // A cut file is refused from its header alone.
  truncateSync(path, 100_000);
  const cut = await runCli(["plan", path]);
  assert.match(cut.err, /^error\[FORMAT_INVALID\]: /);
});

test("plan without a file: table, advice, too little memory", async () => {
  const flags = [
    "--memory",
    "16GiB",
    "--disk-rate",
    "2GB/s",
    "--memory-rate",
    "24GB",
    "--gemm-rate",
    "200GB",
    "--threads",
    "2",
  ];
  const table = await runCli(["plan", "--params", "100B", "--active", "5B", ...flags]);
  assert.equal(table.code, 0);
  for (const line of [
    /^budget +16\.0 GiB +works from \d/m,
    /^ {2}expert slots +\d/m,
    /^decode +\d/m,
    /^ {2}a file edited +\d+ ms +97 % of drafts right: \d+\.\d tokens in \d+ rows$/m,
    /^ {2}a pass of 2 +\d.* rows; 4: \d/m,
    /^advice: `--memory \d+(\.\d)?GiB`/m,
    /^about [\d.]+ tokens\/s: a 300-token answer takes \d+ (s|min)[^\n]*\n$/m,
  ])
    assert.match(table.out, line);
  const little = await runCli(["plan", "--preset", "llama-70b", "--memory", "300MiB"]);
  assert.equal(little.code, 1);
  assert.match(little.err, /^error\[MEMORY_BUDGET\]: .*smallest budget that works is \d+ MiB/);
  const json = await runCli(["plan", "--preset", "llama-70b", "--memory", "300MiB", "--json"]);
  assert.equal(json.code, 1);
  assert.equal(JSON.parse(json.out).fits, false);
});

test("rates that nobody has measured are measured, once, or said to be guessed", { skip }, async () => {
  const env = { HUNDREDWEIGHT_PROBE: "on", XDG_CACHE_HOME: join(folder, "cache") };
  const args = ["plan", "--preset", "llama-1b", "--memory", "4GiB", "--ctx", "512"];
  const unmeasured = await runCli([...args, "--no-probe"], "", env);
  assert.match(unmeasured.out, /guessed, not measured/);
  assert.match(unmeasured.out, /^note: times rest on guessed rates/m);
  assert.equal(unmeasured.err, "");

  const first = await runCli([...args, "--json"], "", env);
  assert.match(first.err, /^measuring memory for the first time/);
  const { machine, sources } = JSON.parse(first.out);
  assert.match(sources.memory, /^measured on \d{4}-/);
  assert.match(sources.disk, /guessed/, "everything is in memory: the disk does not matter");

  const second = await runCli([...args, "--json"], "", env);
  assert.equal(second.err, "");
  assert.equal(JSON.parse(second.out).machine.memoryReadBytesPerSecond, machine.memoryReadBytesPerSecond);
});

test("wrong use is exit code 2, and leaves no file", async () => {
  const out = join(folder, "never.gguf");
  for (const args of [
    ["synth", "llama-1b"],
    ["synth", "nothing", out],
    ["synth", "llama-1b", out, "--quant", "Q8_K"],
    ["synth", "llama-1b", out, "--heads", "7"],
    ["plan"],
    ["plan", "--params", "12"],
    ["plan", "--preset", "llama-1b", "--memory", "0B"],
  ]) {
    const { code, err } = await runCli(args);
    assert.equal(code, 2, args.join(" "));
    assert.match(err, /^error\[OPTION_INVALID\]: [^\n]+\n$/);
  }
  assert.ok(!existsSync(out));
  assert.deepEqual(
    readdirSync(folder).filter((name) => name.endsWith(".partial")),
    [],
  );
});

test("plan --profile: a machine on paper, many models or one, with an accelerator as arithmetic only", async () => {
  const table = JSON.parse((await runCli(["plan", "--profile", "rtx4090+128g", "--json"])).out);
  assert.equal(table.profile.arithmeticOnly, true);
  const rows = new Map(table.models.map((row: { model: string }) => [row.model, row]));
  const dense = rows.get("mistral-large") as { strategy: string; boundSecondsPerToken: number };
  assert.equal(dense.strategy, "resident");
  // 68 GiB, 22 of them on the card: not the 13 tokens a second that a guide has for 50 GB.
  assert.ok(dense.boundSecondsPerToken > 0.5 && dense.boundSecondsPerToken < 1);
  assert.equal((rows.get("deepseek-v3") as { strategy: string }).strategy, "experts");
  const one = await runCli(["plan", "--params", "100B", "--quant", "Q8_0", "--profile", "m2max-32g"]);
  assert.match(one.out, /^on paper: M2 Max, 32 GiB\n {2}times are bounds from data sheets/);
  assert.match(one.out, /the rest streamed at every pass[\s\S]*^memory +400\.0 GB\/s +of the data sheet/m);
  const card = await runCli(["plan", "llama-70b", "--profile", "7950x+rtx4090+64g"]);
  assert.match(
    card.out,
    /with the RTX 4090, arithmetic only .*: 2\d\.\d GiB of weights on it, 1\d\.\d GiB in memory$/m,
  );
  const wrong = await runCli(["plan", "llama-70b", "--profile", "zx81"]);
  assert.equal(wrong.code, 2);
  assert.match(wrong.err, /^error\[OPTION_INVALID\]: --profile: 'zx81'/);
});
