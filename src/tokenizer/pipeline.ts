/**
 * The tokenizer that a tokenizer.json describes, step by step as the library of that format runs it: added tokens,
 * normalizer, pre-tokenizer, model, post-processor. Its ids are those of PyPI `tokenizers`.
 */
import { piecesAround, type TemplatePiece } from "../formats/template-pieces.js";
import type { Metadata } from "../formats/types.js";
import { isObject } from "../json-object.js";
import type { IdList } from "./id-list.js";
import { type Added, AddedPartitioner, AddedTokens } from "./pipeline-added.js";
import { cuttingOf } from "./pipeline-cut.js";
import { normalizerOf } from "./pipeline-normalize.js";
import { pieceEncoder } from "./pipeline-pieces.js";
import { flattened, type Step, unsupported } from "./pipeline-steps.js";
import { applyStripRules, readSpecials } from "./special-tokens.js";
import { VocabularyTokenizer } from "./tokenizer.js";
import type { Tokenizer } from "./types.js";
import { findToken, invalid, readVocabulary, type Vocabulary } from "./vocab.js";

/** Metadata under which a container hands over all of a tokenizer.json but vocabulary and merges. */
export const pipelineKey = "tokenizer.huggingface.pipeline";

interface PipelineJson {
  readonly kind: string;
  readonly settings: Step;
  readonly normalizer: Step | null;
  readonly pre_tokenizer: Step | null;
  readonly post_processor: Step | null;
  readonly added: readonly (Added & { readonly special: boolean; readonly normalized: boolean })[];
}

const kinds = { BPE: "bpe", WordPiece: "wordpiece", Unigram: "unigram", WordLevel: "bpe" } as const;

/** @throws TOKENIZER_UNSUPPORTED for steps that are not known; TOKENIZER_INVALID */
export function createPipeline(metadata: Metadata, source: string): Tokenizer {
  const json = JSON.parse(source) as PipelineJson;
  const kind = kinds[json.kind as keyof typeof kinds];
  if (kind === undefined) throw unsupported("the model", json.kind);
  const cutting = cuttingOf(json.pre_tokenizer);
  const steps = flattened(json.normalizer, "normalizers");
  const vocabulary = readVocabulary(metadata, cutting.bytes ? "bytes" : "utf8");
  const specials = readSpecials(metadata, vocabulary, {});
  applyStripRules(metadata, vocabulary);
  const lastStep = flattened(json.pre_tokenizer, "pretokenizers").at(-1);
  const encodePiece = pieceEncoder(json.kind, {
    metadata,
    vocabulary,
    settings: json.settings,
    unknown: unknownOf(json.settings, vocabulary),
    asText: lastStep?.type === "ByteLevel",
  });
  const normalize = normalizerOf(json.normalizer);
  for (const { id } of json.added)
    if (!(Number.isInteger(id) && id >= 0 && id < vocabulary.size)) throw invalid(`an added token has the id ${id}`);
  const raw = json.added.filter(({ normalized }) => !normalized);
  const normalized = new AddedTokens(
    json.added.filter((token) => token.normalized).map((token) => ({ ...token, content: normalize(token.content) })),
  );
  const encodeText = (bytes: Uint8Array, _first: boolean, out: IdList, start: boolean): void => {
    const text = normalize(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("utf8"));
    let last = 0;
    const pieces = (to: number): void => {
      if (to <= last) return;
      for (const piece of cutting.cut([text.slice(last, to)], start && last === 0)) encodePiece(piece, out);
    };
    for (const { from, to, id } of normalized.find(text, () => true)) {
      pieces(from);
      out.push(id);
      last = to;
    }
    pieces(text.length);
  };
  const ends = endsOf(json.post_processor);
  const { tokens } = specials;
  return new VocabularyTokenizer({
    kind,
    preTokenizer: "tokenizer.json",
    vocabulary,
    specials: ends === undefined ? specials : { ...specials, tokens: { ...tokens, bos: ends.before ?? tokens.bos } },
    addBos: metadata.boolean("tokenizer.ggml.add_bos_token") ?? ends?.before !== undefined,
    addEos: metadata.boolean("tokenizer.ggml.add_eos_token") ?? ends?.after !== undefined,
    addSeparator: kind === "wordpiece",
    ending: ends?.after ?? tokens.eos,
    addSpacePrefix: cutting.prefix || kind === "wordpiece" || steps.some(({ type }) => type === "Prepend"),
    encodeText,
    partitioner: new AddedPartitioner(raw, vocabulary),
  });
}

/** The token of what no token writes, by its text or its id. */
function unknownOf({ unk_token: text, unk_id: id }: Step, vocabulary: Vocabulary): number | undefined {
  if (typeof text === "string") return findToken(vocabulary, text);
  return typeof id === "number" && Number.isInteger(id) && id >= 0 && id < vocabulary.size ? id : undefined;
}

interface Ends {
  readonly before: number | undefined;
  readonly after: number | undefined;
}

/** The tokens around a text; undefined where nothing is said.  @throws TOKENIZER_UNSUPPORTED for several */
function endsOf(processor: Step | null): Ends | undefined {
  for (const step of flattened(processor, "processors")) {
    if (step.type === "TemplateProcessing") return templateEnds(step);
    if (step.type !== "BertProcessing" && step.type !== "RobertaProcessing") continue;
    const idOf = (pair: unknown) => (Array.isArray(pair) && typeof pair[1] === "number" ? pair[1] : undefined);
    return { before: idOf(step.cls), after: idOf(step.sep) };
  }
  return undefined;
}

function templateEnds(step: Step): Ends {
  const { before = [], after = [] } = piecesAround(step.single) ?? {};
  const idsOf = (piece: TemplatePiece): number[] => {
    const name = isObject(piece.SpecialToken) ? String(piece.SpecialToken.id) : undefined;
    const token = isObject(step.special_tokens) && name !== undefined ? step.special_tokens[name] : undefined;
    return isObject(token) && Array.isArray(token.ids) ? (token.ids as number[]) : [];
  };
  const ends = { before: before.flatMap(idsOf), after: after.flatMap(idsOf) };
  if (ends.before.length > 1 || ends.after.length > 1) throw unsupported("a template of", "several tokens at one end");
  return { before: ends.before[0], after: ends.after[0] };
}
