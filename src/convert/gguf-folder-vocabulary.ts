/** Makes tokenizer.json of a GGUF file's vocabulary: model, pre-tokenizer, decoder, added tokens, template. */
import { type AddedToken, isolated, preTokenizerOf, sequence } from "../containers/index.js";
import { PackedStrings } from "../formats/metadata.js";
import type { Metadata } from "../formats/types.js";
import { describePreTokenizer, type Tokenizer } from "../tokenizer/index.js";
import { scoredMerges } from "./scored-merges.js";

type Json = Record<string, unknown>;

/** Under this key a file that was made of a folder holds all of its tokenizer.json but vocabulary and merges. */
const pipelineKey = "tokenizer.huggingface.pipeline";

const mark = "\u2581";

/** @returns why there is none, in words, or the content of the file */
export function tokenizerModel(metadata: Metadata, tokenizer: Tokenizer): Json | string {
  const own = metadata.string(pipelineKey);
  const model = metadata.string("tokenizer.ggml.model");
  const tokens = metadata.strings("tokenizer.ggml.tokens") ?? [];
  if (own !== undefined) return asItWas(JSON.parse(own) as Json, metadata, tokenizer, tokens);
  switch (model) {
    case "gpt2":
      return byteLevel(metadata, tokenizer, tokens);
    case "llama":
      return sentencePiece(metadata, tokenizer, tokens);
    default:
      return `vocabularies of '${model}' are not written, only those of 'gpt2' and 'llama'`;
  }
}

function fileOf(parts: Json): Json {
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: null,
    post_processor: null,
    decoder: null,
    ...parts,
  };
}

function asItWas(own: Json, metadata: Metadata, tokenizer: Tokenizer, tokens: readonly string[]): Json | string {
  const { kind, settings, added, ...parts } = own as {
    readonly kind: string;
    readonly settings: Json;
    readonly added: readonly AddedToken[];
  };
  if (kind === "WordPiece") return "GGUF marks the beginnings of words, and WordPiece what goes on";
  const added_tokens = added.map(({ singleWord, ...rest }) => ({ ...rest, single_word: singleWord }));
  const vocab = kind === "Unigram" ? scored(metadata, tokens) : idsOf(tokenizer, tokens);
  const merges = kind === "BPE" ? mergesOf(metadata) : undefined;
  return fileOf({ added_tokens, ...parts, model: { type: kind, ...settings, vocab, ...(merges && { merges }) } });
}

/** Text -> id of all that are tokens. */
function idsOf(tokenizer: Tokenizer, tokens: readonly string[]): Record<string, number> {
  const vocab: Record<string, number> = Object.create(null);
  for (const [id, text] of tokens.entries())
    if (text !== "" && tokenizer.tokenKind(id) !== "unused" && vocab[text] === undefined) vocab[text] = id;
  return vocab;
}

/** As pairs where a text holds a space, else in the form that older versions of the library read as well. */
function mergesOf(metadata: Metadata): (string | [string, string])[] {
  const packed = metadata.packedStrings("tokenizer.ggml.merges");
  if (packed === undefined) return [];
  const all = new PackedStrings(packed.bytes, packed.offsets);
  const border = packed.bytes.includes(0xff) ? 0xff : 0x20;
  return Array.from({ length: all.length }, (_, i) => {
    const bytes = Buffer.from(all.at(i));
    const at = bytes.indexOf(border, 1);
    const pair: [string, string] = [bytes.toString("utf8", 0, at), bytes.toString("utf8", at + 1)];
    return border === 0xff ? pair : pair.join(" ");
  });
}

/** Tokens that are found in a text before it is cut. */
function addedTokens(tokenizer: Tokenizer, tokens: readonly string[]): Json[] {
  const out: Json[] = [];
  for (const [id, content] of tokens.entries()) {
    const kind = tokenizer.tokenKind(id);
    if (content === "" || (kind !== "control" && kind !== "user" && kind !== "unknown")) continue;
    const special = kind !== "user";
    out.push({ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special });
  }
  return out;
}

/** Puts BOS and EOS round a text; null where nothing is put. */
function template(tokenizer: Tokenizer): Json | null {
  const { bos, eos } = tokenizer.special;
  const before = tokenizer.addBos && bos !== undefined ? [bos] : [];
  const after = tokenizer.addEos && eos !== undefined ? [eos] : [];
  if (before.length + after.length === 0) return null;
  const special = (ids: readonly number[], type: number) =>
    ids.map((id) => ({ SpecialToken: { id: tokenizer.piece(id), type_id: type } }));
  const around = (name: string, type: number) => [
    ...special(before, type),
    { Sequence: { id: name, type_id: type } },
    ...special(after, type),
  ];
  const known = [...before, ...after].map((id) => [
    tokenizer.piece(id),
    { id: tokenizer.piece(id), ids: [id], tokens: [tokenizer.piece(id)] },
  ]);
  return {
    type: "TemplateProcessing",
    single: around("A", 0),
    pair: [...around("A", 0), ...around("B", 1)],
    special_tokens: Object.fromEntries(known),
  };
}

function byteLevel(metadata: Metadata, tokenizer: Tokenizer, tokens: readonly string[]): Json | string {
  const name = metadata.string("tokenizer.ggml.pre") || "default";
  const described = describePreTokenizer(name);
  const { rawUtf8, idsAreRanks, wholeNewlines, ignoreMerges } = described?.traits ?? {};
  const cannot = `the pre-tokenizer '${name}' has no form there`;
  if (described === undefined || rawUtf8 || wholeNewlines || (idsAreRanks && mergesOf(metadata).length === 0))
    return cannot;
  const bytes = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false };
  const known = described.names.map(preTokenizerOf).find((found) => found !== undefined);
  const cuts = known ?? (described.patterns && sequence([...described.patterns.map(isolated), bytes]));
  if (cuts === undefined) return cannot;
  const ends = template(tokenizer);
  return fileOf({
    added_tokens: addedTokens(tokenizer, tokens),
    pre_tokenizer: cuts,
    post_processor: ends ?? bytes,
    decoder: bytes,
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: ignoreMerges ?? false,
      vocab: idsOf(tokenizer, tokens),
      merges: mergesOf(metadata),
    },
  });
}

/** Metaspace would put no mark before a text that begins with a space, and SentencePiece puts one. */
const spaces = (tokenizer: Tokenizer): Json[] => [
  ...(tokenizer.addSpacePrefix ? [{ type: "Prepend", prepend: mark }] : []),
  { type: "Replace", pattern: { String: " " }, content: mark },
];

/** Marks become spaces again, and the one before a text is taken away. */
function decoder(tokenizer: Tokenizer): Json {
  const decoders = [
    { type: "Replace", pattern: { String: mark }, content: " " },
    { type: "ByteFallback" },
    { type: "Fuse" },
    ...(tokenizer.addSpacePrefix ? [{ type: "Strip", content: " ", start: 1, stop: 0 }] : []),
  ];
  return { type: "Sequence", decoders };
}

/** SentencePiece's BPE has scores, tokenizer.json merges in their order. */
function sentencePiece(metadata: Metadata, tokenizer: Tokenizer, tokens: readonly string[]): Json | string {
  const unknown = tokenizer.special.unknown;
  // GGUF's readers take such a character byte by byte, each unknown.
  if (tokenizer.tokenId("<0x0A>") === undefined) return "a vocabulary without bytes reads unknown characters otherwise";
  return fileOf({
    added_tokens: addedTokens(tokenizer, tokens),
    normalizer: { type: "Sequence", normalizers: spaces(tokenizer) },
    decoder: decoder(tokenizer),
    post_processor: template(tokenizer),
    model: {
      type: "BPE",
      dropout: null,
      unk_token: unknown === undefined ? null : tokenizer.piece(unknown),
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: true,
      byte_fallback: true,
      ignore_merges: false,
      vocab: idsOf(tokenizer, tokens),
      merges: scoredMerges(metadata, tokenizer, tokens),
    },
  });
}

function scored(metadata: Metadata, tokens: readonly string[]): [string, number][] {
  const scores = metadata.numbers("tokenizer.ggml.scores");
  return tokens.map((text, id) => [text, scores?.[id] ?? 0]);
}
