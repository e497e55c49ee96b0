// Runs llama.cpp's own tests of its server against this one, unchanged and from a folder outside of the repository.
// The tests come out of the git bundle that the npm package node-llama-cpp carries; a program called llama-server
// starts `bin/hundredweight.js serve`. By hand: it takes minutes, and Python with pip.
//   node scripts/llama-server-tests.mjs [--folder DIR] [--stories FILE] [--encoder FILE] [--json FILE] [--page]
//                                       [--report FILE] [TESTS...]
// Their models come from a hub and are not fetched; these stand in:
//   --stories FILE   stories260K (default: HUNDREDWEIGHT_VECTORS/models/stories260K/stories260K-f32.gguf): the model
//                    of most tests, with FIM tokens given to it for those of /infill
//   --encoder FILE   a BERT, for bge-small (default: .models/all-MiniLM-L6-v2.F16.gguf where it is, else a random one)
// stories260K is the model with experts and the one that drafts for it, too; the reranker is random.
//   --page           writes docs/llama-server-tests.md; --report FILE (several: later ones count) reads what earlier
//                    runs wrote, and runs nothing
// Whatever else is asked for gets the bundled demonstration model. Exit code 0: each test passed or has its reason in
// lib-llama-server-reasons.mjs. 1: one has none. 3: something is missing.
import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { editHeader } from "./lib-gguf-header.mjs";
import { reasonOf } from "./lib-llama-server-reasons.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const vectors = process.env.HUNDREDWEIGHT_VECTORS ?? "";
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    folder: { type: "string", default: join(tmpdir(), "hundredweight-llama-server-tests") },
    stories: { type: "string", default: join(vectors, "models/stories260K/stories260K-f32.gguf") },
    encoder: { type: "string", default: join(root, ".models/all-MiniLM-L6-v2.F16.gguf") },
    json: { type: "string" },
    page: { type: "boolean", default: false },
    report: { type: "string", multiple: true },
  },
});
const folder = resolve(values.folder);
const source = join(folder, "llama.cpp");
const python = join(folder, "python/bin/python");

function missing(what) {
  console.error(`llama-server-tests: ${what}`);
  process.exit(3);
}
function run(command, args, options = {}) {
  const { status } = spawnSync(command, args, { stdio: ["ignore", "inherit", "inherit"], ...options });
  if (status !== 0) missing(`${command} ${args.slice(0, 3).join(" ")} failed`);
}

const report = join(folder, "report.xml");
if (values.report === undefined) await runTests();

const late = "**the server was not there within 60 s: the machine had other work; to be run again**";
const unknown = "**no reason is known**";

// A line for each file of tests, and the names of what failed.
const files = readReports(values.report ?? [report]);
const failed = [];
const unexplained = [];
for (const [file, { passed, others }] of files) {
  const bad = others.filter(({ state }) => state === "failed");
  console.log(
    `${file.padEnd(30)} ${passed.length} passed, ${bad.length} failed, ${others.length - bad.length} skipped`,
  );
  failed.push(...bad.map(({ name }) => `${file}::${name}`));
  unexplained.push(
    ...others.filter(({ name }) => reasonOf(`${file}::${name}`) === undefined).map(({ name }) => `${file}::${name}`),
  );
}
if (values.json !== undefined) writeFileSync(values.json, JSON.stringify({ failed, unexplained }));
if (values.page) writeFileSync(join(root, "docs/llama-server-tests.md"), pageOf(files));
for (const test of unexplained) console.log(`NO REASON ${test}`);
if (unexplained.length > 0) process.exitCode = 1;

/** File of tests -> what passed and what did not, by the reports that pytest wrote; of a test the last one counts. */
function readReports(paths) {
  const states = new Map();
  for (const path of paths) {
    const xml = readFileSync(path, "utf8");
    for (const [, attributes, rest] of xml.matchAll(/<testcase ([^>]*?)(?:\/>|>([\s\S]*?)<\/testcase>)/g)) {
      const file = plain(/classname="([^"]*)"/.exec(attributes)?.[1] ?? "").replace(/^unit\./, "");
      const name = plain(/name="([^"]*)"/.exec(attributes.replace(/classname="[^"]*"/, ""))?.[1] ?? "");
      const state = rest === undefined ? "passed" : /<skipped/.test(rest) ? "skipped" : "failed";
      const isLate = state === "failed" && rest.includes("Server did not start within");
      states.set(`${file}\n${name}`, { file, name, state, isLate });
    }
  }
  const found = new Map();
  for (const { file, name, state, isLate } of states.values()) {
    const tests = found.get(file) ?? { passed: [], others: [] };
    if (state === "passed") tests.passed.push(name);
    else tests.others.push({ name, state, isLate });
    found.set(file, tests);
  }
  return found;
}

function plain(xml) {
  const names = { lt: "<", gt: ">", quot: '"', apos: "'", amp: "&" };
  return xml.replace(/&(lt|gt|quot|apos|amp);/g, (_, name) => names[name]);
}

/** What passes and why the others do not, test by test: cases of one test that have one reason are one row. */
function pageOf(all) {
  const count = (of) => [...all.values()].reduce((sum, tests) => sum + of(tests), 0);
  const rows = [];
  for (const [file, { passed, others }] of all) {
    rows.push(`\n## ${file}\n`, "| test | passes | why not |", "| --- | ---: | --- |");
    const grouped = new Map();
    const row = (name, reason) => {
      const test = name.replace(/\[[\s\S]*$/, "");
      const key = `${test}\n${reason ?? ""}`;
      grouped.set(key, (grouped.get(key) ?? 0) + 1);
    };
    for (const name of passed) row(name);
    for (const { name, isLate } of others) row(name, reasonOf(`${file}::${name}`) ?? (isLate ? late : unknown));
    for (const [key, cases] of grouped) {
      const [test, reason] = key.split("\n");
      rows.push(`| \`${test}\` | ${reason === "" ? cases : `0 of ${cases}`} | ${reason} |`);
    }
  }
  const [good, bad] = [count(({ passed }) => passed.length), count(({ others }) => others.length)];
  return `# llama.cpp's server tests, one by one

Written by \`node scripts/llama-server-tests.mjs --page\`; what stands in for their models is told in
[clients.md](clients.md#llamacpps-server-tests). ${good} cases pass, ${bad} do not. Of each of those stands why, and the
script fails where its list has no reason.
${rows.join("\n")}
`;
}

/** Runs them, and leaves what they said in the report. */
async function runTests() {
  const bundle = join(root, ".peer/node_modules/node-llama-cpp/llama/gitRelease.bundle");
  if (!existsSync(bundle)) missing("llama.cpp is not installed: node scripts/fetch-peer.mjs");
  if (!existsSync(values.stories)) missing("there is no stories260K: --stories FILE");
  mkdirSync(folder, { recursive: true });
  if (!existsSync(source)) {
    run("git", ["clone", "--quiet", "--no-checkout", "-c", "advice.detachedHead=false", bundle, source]);
    run("git", [
      "-C",
      source,
      "checkout",
      "--quiet",
      "HEAD",
      "--",
      "tools/server/tests",
      "models/templates",
      "tools/mtmd",
    ]);
  }
  if (!existsSync(python)) {
    run("python3", ["-m", "venv", join(folder, "python")]);
    const needed = ["pytest", "pytest-timeout", "requests", "openai", "filelock", "aiohttp", "numpy", "wget"];
    run(python, ["-m", "pip", "install", "--quiet", "prometheus-client", ...needed]);
  }

  const models = join(folder, "models");
  mkdirSync(models, { recursive: true });
  // stories260K with tokens for gaps: three bytes that no story has.
  const infill = join(models, "infill.gguf");
  const gaps = Object.fromEntries(
    ["pre", "suf", "mid"].map((name, i) => [`tokenizer.ggml.fim_${name}_token_id`, 4 + i]),
  );
  editHeader(values.stories, infill, gaps);
  const encoder = join(models, "encoder.gguf");
  if (existsSync(values.encoder)) copyFileSync(values.encoder, encoder);
  else await writeEncoder(encoder, "mean");
  const reranker = join(models, "reranker.gguf");
  await writeEncoder(reranker, "reranker");
  // The model that drafts is looked for here before it is fetched.
  const fetched = join(source, "tools/server/tests/tmp");
  mkdirSync(fetched, { recursive: true });
  copyFileSync(values.stories, join(fetched, "stories15M-q4_0.gguf"));

  // What the tests start. llama-server lets every page in and tells of its models at once; the rest is the same.
  const program = join(folder, "llama-server");
  const known = {
    "ggml-org/test-model-stories260K": resolve(values.stories),
    "ggml-org/test-model-stories260K-infill": infill,
    "ggml-org/stories15M_MOE": resolve(values.stories),
    "bert-bge-small/ggml-model-f16.gguf": encoder,
    "jina-reranker-v1-tiny-en/ggml-model-f16.gguf": reranker,
  };
  writeFileSync(
    program,
    `#!${process.execPath}
  const { spawn } = require("node:child_process");
  const known = ${JSON.stringify(known)};
  const args = [];
  let model;
  let cors = true;
  const given = process.argv.slice(2);
  for (let i = 0; i < given.length; i++) {
    if (/^--(hf-repo|hf-file|model-url|model)$/.test(given[i])) model = known[given[++i]] ?? model;
    else if (/^--mmproj-url$/.test(given[i])) i++;
    else {
      if (given[i] === "--cors-origins") cors = false;
      args.push(given[i]);
    }
  }
  if (model !== undefined) args.push("-m", model);
  if (cors) args.push("--cors", "*");
  const serve = [${JSON.stringify(join(root, "bin/hundredweight.js"))}, "serve", ...args];
  const child = spawn(process.execPath, [...serve, "--data", ${JSON.stringify(join(folder, "data"))}], {
    stdio: "inherit",
  });
  for (const signal of ["SIGTERM", "SIGINT"]) process.on(signal, () => child.kill(signal));
  child.on("exit", (code, signal) => process.exit(signal ? 1 : code ?? 1));
  `,
    { mode: 0o755 },
  );

  const tests = positionals.length > 0 ? positionals : ["unit"];
  spawnSync(
    python,
    ["-m", "pytest", "-q", "--timeout", "120", "-m", "not slow", `--junitxml=${report}`, "--tb=line", ...tests],
    {
      cwd: join(source, "tools/server/tests"),
      stdio: "inherit",
      env: { ...process.env, LLAMA_SERVER_BIN_PATH: program, PORT: process.env.PORT ?? "18080" },
    },
  );
}

/** A random encoder whose vocabulary has the words of the tests: what it says of a text means nothing. */
async function writeEncoder(path, variant) {
  const { makeTinyModel } = await import(join(root, "dist/src/synth/tiny.js"));
  const { vocab } = await makeTinyModel(path, "bert", { variant, overrides: { context_length: 512 } });
  const words =
    "i believe the meaning of life is this a test write joke about ai from very long prompt which will not be";
  const more = "truncated another hello world goodbye string".split(" ");
  const letters = [..."abcdefghijklmnopqrstuvwxyz"];
  const pieces = [...words.split(" "), ...more, ...letters].map((word) => `\u2581${word}`);
  const known = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ...new Set(pieces), ...letters];
  const tokens = Array.from({ length: vocab }, (_, i) => known[i] ?? `[unused${i}]`);
  editHeader(path, path, {
    "tokenizer.ggml.model": "bert",
    "tokenizer.ggml.pre": undefined,
    "tokenizer.ggml.merges": undefined,
    "tokenizer.ggml.tokens": tokens,
    "tokenizer.ggml.token_type": tokens.map((_, i) => (i < 5 ? 3 : i < known.length ? 1 : 5)),
    "tokenizer.ggml.bos_token_id": 2,
    "tokenizer.ggml.eos_token_id": 3,
    "tokenizer.ggml.cls_token_id": 2,
    "tokenizer.ggml.seperator_token_id": 3,
    "tokenizer.ggml.unknown_token_id": 1,
    "tokenizer.ggml.padding_token_id": 0,
    "tokenizer.ggml.mask_token_id": 4,
  });
}
