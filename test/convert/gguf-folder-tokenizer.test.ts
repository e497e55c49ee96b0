/**
 * tokenizer.json made of a GGUF file's vocabulary: the same ids and texts. BPE over bytes, with whichever
 * pre-tokenizer; SentencePiece's BPE; with HUNDREDWEIGHT_VECTORS a vocabulary of 32,000 tokens.
 */
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { gunzipSync } from "node:zlib";
import { MetadataBuilder } from "../../src/containers/huggingface/metadata.js";
import { sentencePieceKeys } from "../../src/containers/huggingface/sentencepiece-keys.js";
import { openCheckpoint } from "../../src/containers/index.js";
import { folderTokenizer } from "../../src/convert/gguf-folder-tokenizer.js";
import { TypedMetadata, type TypedValue } from "../../src/formats/index.js";
import type { Metadata } from "../../src/formats/types.js";
import { packageRoot } from "../../src/package-root.js";
import { tinyTokenizer } from "../../src/synth/tiny-tokenizer.js";
import { createTokenizer, preTokenizerGroups } from "../../src/tokenizer/index.js";
import { readSentencePieceFixture, folderTokenizer as tokenizerOfFile } from "../huggingface/tokenizer-of.js";

const texts = [
  ...["the and  in", "  two spaces", " one", "I'm you'LL don't", "12 123456 x7", "a\n\n\tb \r\n c", "naïve 世界 😀 é"],
  ...["<|user|>the<|end|>", "</s><unk> <0x0A>", "_-+=//...?!", "\u2581\u2581 x", "straße ÉTÉ \u0301", ""],
];
const vectors = process.env.HUNDREDWEIGHT_VECTORS;
const large = join(vectors ?? "", "vectors", "tokenizer", "ggml-vocab-llama-spm.gguf.gz");

describe("tokenizer.json of GGUF vocabularies", () => {
  let folder = "";
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "hundredweight-vocabulary-"));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  /** @returns why there is none, where there is none */
  const compare = (metadata: Metadata, more: readonly string[] = []): readonly string[] => {
    const { files, notes } = folderTokenizer(metadata);
    const write = files.get("tokenizer.json");
    if (write === undefined) return notes;
    const path = join(folder, "tokenizer.json");
    write(path);
    const [own, made] = [createTokenizer(metadata), tokenizerOfFile(path)];
    for (const text of [...texts, ...more])
      for (const parseSpecial of [false, true]) {
        const ids = own.encode(text, { parseSpecial });
        assert.deepEqual([...made.encode(text, { parseSpecial })], [...ids], JSON.stringify(text));
        assert.equal(made.decode(ids), own.decode(ids));
      }
    return notes;
  };

  test("bytes: every pre-tokenizer, or the reason why not", () => {
    const without = new Set<string>();
    for (const pre of preTokenizerGroups) {
      const values = new Map<string, TypedValue>(tinyTokenizer());
      values.set("tokenizer.ggml.pre", { type: "string", value: pre });
      const notes = compare(new TypedMetadata(values));
      if (notes.length > 0) without.add(pre);
      assert.ok(notes.every((note) => note.includes(`pre-tokenizer '${pre}'`)));
    }
    // Digits in threes from the right, a class of letters that only llama.cpp has, and vocabularies without bytes.
    const expected = ["afmoe", "tiny_aya", "superbpe", "kimi-k2", "gemma4", "sarvam-moe", "whitespace"];
    assert.deepEqual([...without].sort(), expected.sort());
  });

  const fixtures = join(packageRoot(), "test", "huggingface", "sentencepiece");
  for (const name of readdirSync(fixtures).sort())
    test(`SentencePiece: ${name.replace(".json", "")}`, () => {
      const { model, rows } = readSentencePieceFixture(join(fixtures, name));
      writeFileSync(join(folder, "tokenizer.model"), Buffer.from(model, "base64"));
      const m = new MetadataBuilder("llama");
      sentencePieceKeys(folder, {}, m);
      m.values.delete("tokenizer.huggingface.sentencepiece");
      const notes = compare(
        new TypedMetadata(m.values),
        rows.map(([text]) => text),
      );
      // The charsmap of Unigram is read by whole characters there, and unknown characters are one token each.
      const none = name.startsWith("unigram") ? /'t5' are not written/ : name === "bpe-unknown.json" ? /bytes/ : null;
      assert.equal(notes.length, none === null ? 0 : 1);
      if (none !== null) assert.match(notes[0]!, none);
    });

  test("32,000 tokens of SentencePiece", { skip: existsSync(large) ? false : `SKIPPED: no ${large}` }, async () => {
    const path = join(folder, "large.gguf");
    writeFileSync(path, gunzipSync(readFileSync(large)));
    const { metadata } = await openCheckpoint(path);
    const lines = readFileSync(join(packageRoot(), "README.md"), "utf8").split("\n");
    assert.deepEqual(compare(metadata, lines), []);
  });
});
