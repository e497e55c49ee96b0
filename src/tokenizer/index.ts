/** The tokenizer room: a `Tokenizer` from a model's metadata. */
import { HundredweightError } from "../errors.js";
import type { Metadata } from "../formats/types.js";
import { BpeEncoder } from "./bpe.js";
import { Charsmap } from "./charsmap.js";
import { createPipeline, pipelineKey } from "./pipeline.js";
import { type PreTokenizer, preTokenizer } from "./pretokenize.js";
import { createSentencePiece, sentencePieceKey } from "./sentencepiece.js";
import { applyStripRules, readSpecials, type SpecialDefaults } from "./special-tokens.js";
import { SpmEncoder } from "./spm.js";
import { type EncodeText, VocabularyTokenizer } from "./tokenizer.js";
import type { Tokenizer } from "./types.js";
import { UnigramEncoder } from "./unigram.js";
import { UnigramNormalizer } from "./unigram-normalizer.js";
import { readVocabulary } from "./vocab.js";
import { forEachWord } from "./white-space.js";
import { WordPieceEncoder } from "./wordpiece.js";

export { encodeGap, type GapText } from "./infill.js";
export { LongTextEncoder } from "./long-text.js";
export { encodePair, firstTokens, pairTemplate } from "./pair.js";
export { describePreTokenizer, preTokenizerGroups, preTokenizerNames } from "./pretokenize.js";
export { shownText } from "./shown-text.js";
export { createStreamDecoder, type StreamDecoderOptions } from "./stream-decoder.js";
export {
  type EncodeOptions,
  type FimTokens,
  noFim,
  type SpecialTokens,
  type StreamDecoder,
  type Tokenizer,
  type TokenKind,
} from "./types.js";

/**
 * Builds the tokenizer that a model file describes.
 * @throws TOKENIZER_UNSUPPORTED for a kind or pre-tokenizer that is not known; TOKENIZER_INVALID for a damaged
 *   vocabulary; MODEL_INVALID for metadata of a wrong type
 */
export function createTokenizer(metadata: Metadata): Tokenizer {
  const pipeline = metadata.string(pipelineKey);
  if (pipeline !== undefined) return createPipeline(metadata, pipeline);
  const sentencePiece = metadata.string(sentencePieceKey);
  if (sentencePiece !== undefined) return createSentencePiece(metadata, sentencePiece);
  const model = metadata.string("tokenizer.ggml.model");
  switch (model) {
    case "gpt2":
      return createBpe(metadata, metadata.string("tokenizer.ggml.pre") || "default", { bos: 11, eos: 11 });
    case "gemma4":
      return createBpe(metadata, "gemma4", {});
    case "whitespace":
      return createBpe(
        metadata,
        metadata.string("tokenizer.ggml.pre") || "whitespace",
        { bos: 11, eos: 11 },
        { words: true },
      );
    case "llama":
      return createSpm(metadata);
    case "bert":
      return createWordPiece(metadata);
    case "t5":
      return createUnigram(metadata);
    case undefined:
      throw new HundredweightError("TOKENIZER_INVALID", "tokenizer.ggml.model is missing: the file has no tokenizer");
    default:
      throw new HundredweightError(
        "TOKENIZER_UNSUPPORTED",
        `tokenizer.ggml.model: '${model}' is not supported; supported are gpt2, gemma4, whitespace, llama, bert and t5`,
        { model },
      );
  }
}

function createBpe(
  metadata: Metadata,
  preName: string,
  defaults: SpecialDefaults,
  { words = false }: { readonly words?: boolean } = {},
): Tokenizer {
  const pre = withTraitsOf(metadata, preTokenizer(preName));
  const { traits } = pre;
  const vocabulary = readVocabulary(metadata, traits.rawUtf8 ? "utf8" : "bytes");
  const { bos: _, ...withoutBos } = defaults;
  const specials = readSpecials(metadata, vocabulary, traits.noBos ? withoutBos : defaults);
  applyStripRules(metadata, vocabulary);
  const encoder = new BpeEncoder(metadata, vocabulary, pre);
  const addBos = metadata.boolean("tokenizer.ggml.add_bos_token") ?? traits.addBos ?? false;
  const lowercase = metadata.boolean("tokenizer.ggml.normalizer.lowercase") ?? traits.lowercase ?? true;
  return new VocabularyTokenizer({
    kind: "bpe",
    preTokenizer: preName,
    vocabulary,
    specials,
    addBos: addBos || (traits.forceBos ?? false),
    addEos: metadata.boolean("tokenizer.ggml.add_eos_token") ?? false,
    addSeparator: metadata.boolean("tokenizer.ggml.add_sep_token") ?? traits.addSeparator ?? false,
    // The prefix is a SentencePiece rule; for BPE the key only means that decoding strips a space.
    addSpacePrefix: metadata.boolean("tokenizer.ggml.add_space_prefix") ?? false,
    encodeText: words
      ? (text, _first, out) => forEachWord(text, lowercase, (word) => encoder.encode(word, out))
      : (text, _first, out) => encoder.encode(text, out),
  });
}

/** GLM-5.3-Flash names glm4 and takes whole words first, which glm4 elsewhere does not. */
function withTraitsOf(metadata: Metadata, pre: PreTokenizer): PreTokenizer {
  const architecture = metadata.string("general.architecture") ?? "";
  if (pre.name !== "glm4" || !/^glm5_?next$/.test(architecture)) return pre;
  return { ...pre, traits: { ...pre.traits, ignoreMerges: true } };
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
    addSeparator: metadata.boolean("tokenizer.ggml.add_sep_token") ?? false,
    addSpacePrefix,
    encodeText,
  });
}

/** The ids are those of bert-base-uncased; a file that names the class token only means it by BOS. */
function createWordPiece(metadata: Metadata): Tokenizer {
  const vocabulary = readVocabulary(metadata, "utf8");
  const classToken = metadata.number("tokenizer.ggml.cls_token_id") ?? 101;
  const defaults = { bos: classToken, unknown: 100, separator: 102, padding: 0, mask: 103 };
  const specials = readSpecials(metadata, vocabulary, defaults);
  applyStripRules(metadata, vocabulary);
  const lowercase = metadata.boolean("tokenizer.ggml.normalizer.lowercase") ?? true;
  const stripAccents = metadata.boolean("tokenizer.ggml.normalizer.strip_accents") ?? lowercase;
  const { unknown, separator } = specials.tokens;
  const encoder = new WordPieceEncoder(vocabulary, unknown, { lowercase, stripAccents });
  vocabulary.pieces.trim();
  return new VocabularyTokenizer({
    kind: "wordpiece",
    preTokenizer: undefined,
    vocabulary,
    specials,
    // Always both: a model of this kind has seen no text without them.
    addBos: true,
    addEos: true,
    ending: separator,
    addSeparator: metadata.boolean("tokenizer.ggml.add_sep_token") ?? true,
    // Each word has one, the first too.
    addSpacePrefix: true,
    encodeText: (text, _first, out) => encoder.encode(text, out),
  });
}

function createUnigram(metadata: Metadata): Tokenizer {
  const vocabulary = readVocabulary(metadata, "utf8");
  const specials = readSpecials(metadata, vocabulary, { eos: 1, unknown: 2, padding: 0 });
  applyStripRules(metadata, vocabulary);
  const map = metadata.numbers("tokenizer.ggml.precompiled_charsmap");
  const charsmap = map === undefined || map.length === 0 ? undefined : new Charsmap(Uint8Array.from(map));
  const prefix = metadata.boolean("tokenizer.ggml.add_space_prefix") ?? false;
  const merge = metadata.boolean("tokenizer.ggml.remove_extra_whitespaces") ?? false;
  const normalizer = new UnigramNormalizer(charsmap, { prefix, merge });
  const encoder = new UnigramEncoder(metadata, vocabulary, specials.tokens.unknown, normalizer);
  vocabulary.pieces.trim();
  return new VocabularyTokenizer({
    kind: "unigram",
    preTokenizer: undefined,
    vocabulary,
    specials,
    addBos: metadata.boolean("tokenizer.ggml.add_bos_token") ?? false,
    addEos: metadata.boolean("tokenizer.ggml.add_eos_token") ?? true,
    addSeparator: metadata.boolean("tokenizer.ggml.add_sep_token") ?? false,
    addSpacePrefix: prefix || merge,
    encodeText: (text, _first, out) => encoder.encode(text, out),
  });
}
