/** Folders of the fixtures of transformers, with a tokenizer: llama.cpp evaluates nothing without one. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { byteAlphabet } from "../../src/synth/tiny-tokenizer.js";
import { type Fixture, type Stored, writeFolder } from "../huggingface/folder.js";

/** A byte-level vocabulary without merges, of the first so many bytes. */
export function writeByteTokenizer(folder: string, tokens: number): void {
  const vocab = Object.fromEntries(
    byteAlphabet()
      .slice(0, tokens)
      .map((text, id) => [text, id]),
  );
  const bytes = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true };
  const model = { type: "BPE", vocab, merges: [], byte_fallback: false };
  writeFileSync(
    join(folder, "tokenizer.json"),
    JSON.stringify({ version: "1.0", added_tokens: [], pre_tokenizer: bytes, decoder: bytes, model }),
  );
}

export function writeModelFolder(at: string, fixture: Fixture, dtype: Stored = "F32", shards = 1): string {
  const folder = writeFolder(at, fixture, dtype, shards);
  writeByteTokenizer(folder, fixture.config.vocab_size as number);
  return folder;
}
