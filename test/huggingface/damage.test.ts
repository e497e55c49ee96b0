/**
 * Damaged folders: every file of one with bytes changed, cut short or doubled, in safetensors, in a PyTorch checkpoint
 * and offloaded. Whatever is in them, opening and describing ends with a model or an error of ours, soon and in little
 * memory. HUNDREDWEIGHT_FUZZ_FILES=20000 makes many.
 */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { openCheckpoint } from "../../src/containers/index.js";
import { pytorchBytes } from "../../src/containers/pytorch/write.js";
import { HundredweightError } from "../../src/errors.js";
import { describeModel } from "../../src/models/index.js";
import { packageRoot } from "../../src/package-root.js";
import { createTokenizer } from "../../src/tokenizer/index.js";
import { entriesOf, readFixture, writeFolder } from "./folder.js";

const tries = Number(process.env.HUNDREDWEIGHT_FUZZ_FILES ?? 300);
const mostMs = 10_000;
const mostBytes = 512 * 2 ** 20;

function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** Words that a mutation puts somewhere: what JSON and lengths are made of. */
const words = [
  '"',
  "{",
  "}",
  "[",
  "]",
  ",",
  "-1",
  "1e999",
  "9007199254740993",
  "null",
  "NaN",
  '"\\ud800"',
  "\0",
  "[[[[",
  // Of pickles and archives.
  "cos\nsystem\n",
  "\x8a\xff",
  "(((((",
  "tR",
  "h\xff",
  "X\xff\xff\xff\x7f",
  "PK\x05\x06",
  "\xff\xff\xff\xff\xff\xff\xff\xff",
];

function damaged(bytes: Buffer, below: (n: number) => number): Buffer {
  let out = Buffer.from(bytes);
  // Weights are not read here; what is damaged is the header, or the directory at the end of an archive.
  const ends = out.toString("latin1", 0, 2) === "PK" && below(3) === 0;
  const [from, reach] = ends ? [Math.max(0, out.length - 5000), 5000] : [0, Math.min(out.length, 20_000)];
  for (let n = 1 + below(3); n > 0; n--) {
    const at = Math.min(out.length, from + below(Math.max(1, reach)));
    const kind = below(4);
    if (kind === 0) out[at] = below(256);
    else if (kind === 1) out = out.subarray(0, at);
    else if (kind === 2) {
      const word = Buffer.from(words[below(words.length)]!, "latin1");
      out = Buffer.concat([out.subarray(0, at), word, out.subarray(at + below(word.length + 1))]);
    } else out = Buffer.concat([out.subarray(0, at), out.subarray(Math.max(0, at - below(200)))]);
  }
  return out;
}

describe("damaged folders", () => {
  let folder = "";
  /** Paths below the folder. */
  const originals = new Map<string, Buffer>();
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "hundredweight-damage-"));
    writeFolder(folder, readFixture("mixtral"), "BF16", 2);
    const kinds = join(packageRoot(), "test", "huggingface", "tokenizers");
    const { tokenizer } = JSON.parse(readFileSync(join(kinds, "llama3.json"), "utf8")) as { tokenizer: unknown };
    writeFileSync(join(folder, "tokenizer.json"), JSON.stringify(tokenizer));
    writeFileSync(
      join(folder, "tokenizer_config.json"),
      '{"bos_token": {"content": "<s>"}, "chat_template": "{{ 1 }}"}',
    );
    writeFileSync(join(folder, "generation_config.json"), '{"eos_token_id": [1, 2], "do_sample": true, "top_k": 5}');
    const names =
      "config.json tokenizer.json tokenizer_config.json generation_config.json model.safetensors.index.json " +
      "model-00001-of-00002.safetensors";
    for (const name of names.split(" ")) originals.set(name, readFileSync(join(folder, name)));
    const fixture = readFixture("llama");
    const entries = entriesOf(fixture, "BF16");
    for (const kind of ["pytorch", "offload"]) {
      mkdirSync(join(folder, kind));
      writeFileSync(join(folder, kind, "config.json"), JSON.stringify(fixture.config));
    }
    const sources = entries.map(({ bytes, ...rest }) => ({ ...rest, bytes: bytes.length, data: () => [bytes] }));
    const archive = Buffer.concat([...pytorchBytes(sources)]);
    const index = Object.fromEntries(entries.map(({ name, shape }) => [name, { dtype: "bfloat16", shape }]));
    for (const { name, bytes } of entries) writeFileSync(join(folder, "offload", `${name}.dat`), bytes);
    originals.set("pytorch/pytorch_model.bin", archive);
    originals.set("offload/index.json", Buffer.from(JSON.stringify(index)));
    for (const [name, bytes] of originals) writeFileSync(join(folder, name), bytes);
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  test("a vocabulary larger than the embedding is refused with both sizes", async () => {
    const checkpoint = await openCheckpoint(folder);
    assert.throws(() => describeModel(checkpoint), {
      code: "TOKENIZER_INVALID",
      message: /vocabulary has 904 tokens but 'token_embd.weight' only 96 rows/,
    });
  });

  test(`${tries} damages: an error of ours or none, soon`, async (t) => {
    const below = random(11);
    const codes = new Map<string, number>();
    const before = process.memoryUsage().rss;
    let [slowest, largest] = [0, 0];
    for (let i = 0; i < tries; i++) {
      const name = [...originals.keys()][below(originals.size)]!;
      const bytes = damaged(originals.get(name)!, below);
      writeFileSync(join(folder, name), bytes);
      const begun = performance.now();
      let code = "none";
      try {
        const checkpoint = await openCheckpoint(join(folder, dirname(name)));
        if (!name.includes("/")) createTokenizer(checkpoint.metadata).encode("don't <s> 123", { parseSpecial: true });
        describeModel(checkpoint);
      } catch (error) {
        if (!(error instanceof HundredweightError)) writeFileSync(join(tmpdir(), "hundredweight-damage"), bytes);
        assert.ok(error instanceof HundredweightError, `damage ${i} of ${name}: ${(error as Error).stack}`);
        assert.notEqual(error.code, "INTERNAL", `damage ${i} of ${name}: ${error.stack}`);
        code = error.code;
      }
      codes.set(code, (codes.get(code) ?? 0) + 1);
      assert.ok(performance.now() - begun < mostMs, `damage ${i} of ${name} took ${performance.now() - begun} ms`);
      slowest = Math.max(slowest, performance.now() - begun);
      const { rss } = process.memoryUsage();
      assert.ok(rss - before < mostBytes, `damage ${i} of ${name}: ${rss} bytes of memory, ${before} before`);
      largest = Math.max(largest, rss - before);
      writeFileSync(join(folder, name), originals.get(name)!);
    }
    t.diagnostic(`slowest ${slowest.toFixed(0)} ms, memory at most ${(largest / 2 ** 20).toFixed(0)} MiB more`);
    t.diagnostic([...codes].map(([code, count]) => `${code} ${count}`).join(", "));
  });
});
