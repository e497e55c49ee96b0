/** A folder's `tokenizer.model` under GGUF's keys, with what else the folder says of tokens. */
import { join } from "node:path";
import { HundredweightError } from "../../errors.js";
import { isObject, type JsonObject } from "../../formats/json-reader.js";
import { PackedStrings } from "../../formats/metadata.js";
import { readJsonFile } from "../../formats/small-file.js";
import type { MetadataBuilder } from "./metadata.js";
import { readSentencePiece, type SentencePieceModel } from "./sentencepiece-model.js";

const limits = { settingsBytes: 64 * 2 ** 20, tokens: 2 ** 22 } as const;
const types = { control: 3, user: 4, unused: 5 } as const;

export interface SentencePieceTokens {
  readonly tokens: PackedStrings;
  readonly model: SentencePieceModel;
}

/**
 * Writes vocabulary, scores and types; what runs the tokenizer as it stands is in a key of its own.
 * @throws TOKENIZER_INVALID, TOKENIZER_UNSUPPORTED, FORMAT_INVALID, FILE_*
 */
export function sentencePieceKeys(folder: string, settings: JsonObject, m: MetadataBuilder): SentencePieceTokens {
  const path = join(folder, "tokenizer.model");
  const model = readSentencePiece(path);
  const added = addedTokens(folder, settings);
  const count = Math.max(model.pieces.length, ...[...added.keys()].map((id) => id + 1));
  if (count > limits.tokens)
    throw new HundredweightError("TOKENIZER_INVALID", `${path}: a token is added with the id ${count - 1}`);
  const kinds = new Int32Array(count).fill(types.unused);
  kinds.set(model.types);
  const scores = new Float32Array(count);
  scores.set(model.scores);
  const texts: Uint8Array[] = Array.from({ length: count }, (_, id) =>
    id < model.pieces.length ? model.pieces.at(id) : new Uint8Array(),
  );
  for (const [id, { content, special }] of added) {
    const known = id < model.pieces.length && Buffer.from(content).equals(model.pieces.at(id));
    if (!known) texts[id] = Buffer.from(content);
    if (special) kinds[id] = types.control;
    else if (!known) kinds[id] = types.user;
  }
  const tokens = PackedStrings.from(texts);
  m.text("/tokenizer.ggml.model", model.kind === "bpe" ? "llama" : "t5");
  m.text("/tokenizer.ggml.pre", "default");
  m.strings("/tokenizer.ggml.tokens", tokens);
  m.floats("/tokenizer.ggml.scores", scores);
  m.ints("/tokenizer.ggml.token_type", kinds);
  m.flag("/tokenizer.ggml.add_space_prefix", model.addDummyPrefix);
  m.flag("/tokenizer.ggml.remove_extra_whitespaces", model.removeExtraWhitespaces);
  if (model.charsmap.length > 0) m.bytes("/tokenizer.ggml.precompiled_charsmap", model.charsmap);
  const { kind, byteFallback, spaceBehind, unknown, addDummyPrefix, removeExtraWhitespaces, escapeWhitespaces } = model;
  const own = { kind, byteFallback, spaceBehind, unknown, addDummyPrefix, removeExtraWhitespaces, escapeWhitespaces };
  m.text("/tokenizer.huggingface.sentencepiece", JSON.stringify({ ...own, added: [...added.keys()] }));
  return { tokens, model };
}

/** Tokens of the folder beside those of the model, by id. */
function addedTokens(folder: string, settings: JsonObject): Map<number, { content: string; special: boolean }> {
  const found = new Map<number, { content: string; special: boolean }>();
  const add = (id: number, content: unknown, special: boolean): void => {
    if (Number.isSafeInteger(id) && id >= 0 && typeof content === "string" && content !== "")
      found.set(id, { content, special });
  };
  const older = readJsonFile(join(folder, "added_tokens.json"), limits.settingsBytes) ?? {};
  for (const [content, id] of Object.entries(older)) if (typeof id === "number") add(id, content, false);
  const newer = settings.added_tokens_decoder;
  if (isObject(newer))
    for (const [id, token] of Object.entries(newer))
      if (isObject(token)) add(Number(id), token.content, token.special === true);
  return found;
}
