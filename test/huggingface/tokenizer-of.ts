/** The tokenizer of a tokenizer.json alone, or of a tokenizer.model. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MetadataBuilder } from "../../src/containers/huggingface/metadata.js";
import { sentencePieceKeys } from "../../src/containers/huggingface/sentencepiece-keys.js";
import { tokenizerFileKeys } from "../../src/containers/huggingface/tokenizer-keys.js";
import { TypedMetadata } from "../../src/formats/index.js";
import { createTokenizer, type Tokenizer } from "../../src/tokenizer/index.js";

export function folderTokenizer(path: string): Tokenizer {
  const m = new MetadataBuilder("llama");
  tokenizerFileKeys(path, { settings: {}, generation: {}, config: {} }, m);
  return createTokenizer(new TypedMetadata(m.values, path));
}

/** A fixture of scripts/fixtures/sentencepiece.py. */
export interface SentencePieceFixture {
  /** Base64 of tokenizer.model. */
  readonly model: string;
  readonly rows: readonly (readonly [text: string, ids: readonly number[]])[];
}

export const readSentencePieceFixture = (path: string): SentencePieceFixture =>
  JSON.parse(readFileSync(path, "utf8")) as SentencePieceFixture;

/** Nothing is said of it but by itself. */
export function sentencePieceTokenizer(model: Uint8Array): Tokenizer {
  const folder = mkdtempSync(join(tmpdir(), "hundredweight-sentencepiece-"));
  try {
    writeFileSync(join(folder, "tokenizer.model"), model);
    const m = new MetadataBuilder("llama");
    sentencePieceKeys(folder, {}, m);
    return createTokenizer(new TypedMetadata(m.values, folder));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
