/** The tokenizer room: a `Tokenizer` from a model's metadata. */
import { HundredweightError } from "../errors.js";
import type { Metadata } from "../formats/types.js";
import { BpeEncoder } from "./bpe.js";
import { preTokenizer } from "./pretokenize.js";
import { applyStripRules, readSpecials, type SpecialDefaults } from "./special-tokens.js";
import { SpmEncoder } from "./spm.js";
import { type EncodeText, VocabularyTokenizer } from "./tokenizer.js";
import type { Tokenizer } from "./types.js";
import { readVocabulary } from "./vocab.js";

export { preTokenizerGroups, preTokenizerNames } from "./pretokenize.js";
export { createStreamDecoder, type StreamDecoderOptions } from "./stream-decoder.js";
export type { EncodeOptions, SpecialTokens, StreamDecoder, Tokenizer, TokenKind } from "./types.js";

/**
 * Builds the tokenizer that a model file describes.
 * @throws TOKENIZER_UNSUPPORTED for a kind or pre-tokenizer that is not known; TOKENIZER_INVALID for a damaged
 *   vocabulary; MODEL_INVALID for metadata of a wrong type
 */
export function createTokenizer(metadata: Metadata): Tokenizer {
  const model = metadata.string("tokenizer.ggml.model");
  switch (model) {
    case "gpt2":
      return createBpe(metadata, metadata.string("tokenizer.ggml.pre") || "default", { bos: 11, eos: 11 });
    case "gemma4":
      return createBpe(metadata, "gemma4", {});
    case "llama":
      return createSpm(metadata);
    case undefined:
      throw new HundredweightError("TOKENIZER_INVALID", "tokenizer.ggml.model is missing: the file has no tokenizer");
    default:
      throw new HundredweightError(
        "TOKENIZER_UNSUPPORTED",
        `tokenizer.ggml.model: '${model}' is not supported; supported are gpt2, gemma4 and llama`,
        { model },
      );
  }
}

function createBpe(metadata: Metadata, preName: string, defaults: SpecialDefaults): Tokenizer {
  const pre = preTokenizer(preName);
  const { traits } = pre;
  const vocabulary = readVocabulary(metadata, traits.rawUtf8 ? "utf8" : "bytes");
  const { bos: _, ...withoutBos } = defaults;
  const specials = readSpecials(metadata, vocabulary, traits.noBos ? withoutBos : defaults);
  applyStripRules(metadata, vocabulary);
  const encoder = new BpeEncoder(metadata, vocabulary, pre);
  const addBos = metadata.boolean("tokenizer.ggml.add_bos_token") ?? traits.addBos ?? false;
  return new VocabularyTokenizer({
    kind: "bpe",
    preTokenizer: preName,
    vocabulary,
    specials,
    addBos: addBos || (traits.forceBos ?? false),
    addEos: metadata.boolean("tokenizer.ggml.add_eos_token") ?? false,
    // The prefix is a SentencePiece rule; for BPE the key only means that decoding strips a space.
    addSpacePrefix: metadata.boolean("tokenizer.ggml.add_space_prefix") ?? false,
    encodeText: (text, _first, out) => encoder.encode(text, out),
  });
}

function createSpm(metadata: Metadata): Tokenizer {
  const vocabulary = readVocabulary(metadata, "utf8");
  const specials = readSpecials(metadata, vocabulary, { bos: 1, eos: 2, unknown: 0 });
  applyStripRules(metadata, vocabulary);
  const encoder = new SpmEncoder(metadata, vocabulary, specials.tokens.unknown);
  vocabulary.pieces.trim();
  const addSpacePrefix = metadata.boolean("tokenizer.ggml.add_space_prefix") ?? true;
  const encodeText: EncodeText = (text, first, out) => encoder.encode(text, first && addSpacePrefix, out);
  return new VocabularyTokenizer({
    kind: "spm",
    preTokenizer: undefined,
    vocabulary,
    specials,
    addBos: metadata.boolean("tokenizer.ggml.add_bos_token") ?? true,
    addEos: metadata.boolean("tokenizer.ggml.add_eos_token") ?? false,
    addSpacePrefix,
    encodeText,
  });
}
