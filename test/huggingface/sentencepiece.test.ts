/**
 * tokenizer.model of every kind: the ids are those of PyPI `sentencepiece` on random texts. More texts:
 * `node dist/test/huggingface/compare-ids.js FIXTURE.json IDS.jsonl`.
 */
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { openCheckpoint } from "../../src/containers/index.js";
import { HundredweightError } from "../../src/errors.js";
import { packageRoot } from "../../src/package-root.js";
import { createTokenizer } from "../../src/tokenizer/index.js";
import { wholeSweeps } from "../support/sweeps.js";
import { readFixture, writeFolder } from "./folder.js";
import { readSentencePieceFixture, sentencePieceTokenizer } from "./tokenizer-of.js";

const fixtures = join(packageRoot(), "test", "huggingface", "sentencepiece");
const folder = mkdtempSync(join(tmpdir(), "hundredweight-sentencepiece-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const modelOf = (name: string): Buffer => Buffer.from(readSentencePieceFixture(join(fixtures, name)).model, "base64");

for (const name of readdirSync(fixtures).sort())
  test(name.replace(".json", ""), () => {
    const { rows } = readSentencePieceFixture(join(fixtures, name));
    const tokenizer = sentencePieceTokenizer(modelOf(name));
    assert.ok(rows.length >= 100);
    for (const [text, ids] of rows) assert.deepEqual([...tokenizer.encode(text)], ids, JSON.stringify(text));
  });

test("a folder with a tokenizer.model alone: special ids, added tokens, texts come back", async () => {
  const fixture = readFixture("llama");
  const path = writeFolder(join(folder, "llama"), { ...fixture, config: { ...fixture.config, vocab_size: 96 } });
  writeFileSync(join(path, "tokenizer.model"), modelOf("bpe.json"));
  const added = { 620: { content: "<|user|>", special: true }, 621: { content: "xyzzy", special: false } };
  writeFileSync(
    join(path, "tokenizer_config.json"),
    JSON.stringify({ added_tokens_decoder: added, eos_token: "<|user|>" }),
  );
  const { metadata } = await openCheckpoint(path);
  assert.equal(metadata.string("tokenizer.ggml.model"), "llama");
  assert.equal(metadata.number("tokenizer.ggml.bos_token_id"), 1);
  assert.equal(metadata.number("tokenizer.ggml.eos_token_id"), 620);
  const tokenizer = createTokenizer(metadata);
  const plain = sentencePieceTokenizer(modelOf("bpe.json"));
  const ids = [...tokenizer.encode("the word<|user|>xyzzy", { parseSpecial: true })];
  assert.deepEqual(ids, [1, ...plain.encode("the word"), 620, 621]);
  assert.ok(!tokenizer.encode("<|user|>").includes(620));
  assert.equal(tokenizer.decode(plain.encode("naïve 世界 x")), "naïve 世界 x");
});

test("damaged models: an error, whatever is damaged", () => {
  const whole = modelOf("unigram.json");
  const seen = new Set<string>();
  const count = wholeSweeps ? 4000 : 150;
  for (let n = 0; n < count; n++) {
    const bytes = Buffer.from(whole);
    const at = (n * 7919) % bytes.length;
    if (n % 3 === 0) bytes[at] = bytes[at]! ^ (1 << (n % 8));
    else if (n % 3 === 1) bytes.fill(0xff, at, at + 9);
    try {
      sentencePieceTokenizer(n % 3 === 2 ? bytes.subarray(0, at) : bytes).encode("the word 世界");
    } catch (error) {
      assert.ok(error instanceof HundredweightError, String(error));
      seen.add(error.code);
    }
  }
  assert.ok(seen.has("TOKENIZER_INVALID"));
  assert.ok(
    [...seen].every((code) => ["TOKENIZER_INVALID", "TOKENIZER_UNSUPPORTED", "FILE_IO"].includes(code)),
    [...seen].join(),
  );
});
