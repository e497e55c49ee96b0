/** Vocabulary, special tokens, chat templates and sampling settings of a folder, under their GGUF keys. */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { JsonObject, JsonValue } from "../../formats/json-reader.js";
import { isObject } from "../../formats/json-reader.js";
import { PackedStrings } from "../../formats/metadata.js";
import { readJsonFile, readSmallFile } from "../../formats/small-file.js";
import { piecesAround } from "../../formats/template-pieces.js";
import type { HfConfig } from "./config.js";
import type { MetadataBuilder } from "./metadata.js";
import { preName, stepsOf } from "./pre-names.js";
import { sentencePieceKeys } from "./sentencepiece-keys.js";
import { readTokenizerJson, type TokenizerJson } from "./tokenizer-json.js";

const limits = { settingsBytes: 64 * 2 ** 20, templateBytes: 4 * 2 ** 20 } as const;

/** GGUF's numbers of token types. */
const types = { normal: 1, unknown: 2, control: 3, user: 4, unused: 5, byte: 6 } as const;

/**
 * Reads what there is of the tokenizer's files. A folder without any still gives logits of ids.
 * @throws FORMAT_INVALID, TOKENIZER_INVALID, FILE_*
 */
export function tokenizerKeys(folder: string, config: HfConfig, m: MetadataBuilder): void {
  const settings = readJsonFile(join(folder, "tokenizer_config.json"), limits.settingsBytes) ?? {};
  const generation = readJsonFile(join(folder, "generation_config.json"), limits.settingsBytes) ?? {};
  const path = join(folder, "tokenizer.json");
  const sources = { settings, generation, config: config.json };
  if (existsSync(path)) tokenizerFileKeys(path, sources, m);
  else if (existsSync(join(folder, "tokenizer.model"))) sentencePieceFileKeys(folder, sources, m);
  templateKeys(folder, settings, m);
  samplingKeys(generation, m);
}

/** The keys of a tokenizer.json.  @throws FORMAT_INVALID, TOKENIZER_INVALID, FILE_* */
export function tokenizerFileKeys(path: string, sources: Sources, m: MetadataBuilder): void {
  const json = readTokenizerJson(path);
  vocabularyKeys(json, m);
  pipelineKey(json, m);
  specialKeys(json.tokens, json.parts.post_processor, sources, m);
}

/** The keys of a tokenizer.model. Ids of special tokens are those of the model where the folder says no others. */
function sentencePieceFileKeys(folder: string, sources: Sources, m: MetadataBuilder): void {
  const { tokens, model } = sentencePieceKeys(folder, sources.settings, m);
  const { bos, eos, pad, unknown } = model;
  const ids = { bos, eos, pad, unk: unknown };
  specialKeys(tokens, undefined, sources, m, ids);
  // Of the families that come so, those that make text were trained with BOS.
  const usual = model.kind === "bpe" && bos >= 0;
  if (!m.has("/tokenizer.ggml.add_bos_token")) m.flag("/tokenizer.ggml.add_bos_token", usual);
}

function vocabularyKeys(json: TokenizerJson, m: MetadataBuilder): void {
  const { kind, tokens, settings } = json;
  const byteLevel = kind === "BPE" && settings.byte_fallback !== true;
  m.text(
    "/tokenizer.ggml.model",
    { BPE: byteLevel ? "gpt2" : "llama", WordPiece: "bert", Unigram: "t5" }[kind] ?? kind,
  );
  m.strings("/tokenizer.ggml.tokens", kind === "WordPiece" ? withWordStarts(json) : tokens);
  m.ints("/tokenizer.ggml.token_type", tokenTypes(json));
  m.doubles("/tokenizer.ggml.scores", json.scores);
  m.strings("/tokenizer.ggml.merges", json.merges);
  m.text("/tokenizer.ggml.pre", byteLevel ? preName(json.parts.pre_tokenizer) : undefined);
}

/**
 * All of tokenizer.json but vocabulary and merges, for the tokenizer that runs it as it stands. A GGUF file has no such
 * key: there the names above stand for it.
 */
function pipelineKey({ kind, settings, added, parts }: TokenizerJson, m: MetadataBuilder): void {
  m.text("/tokenizer.huggingface.pipeline", JSON.stringify({ kind, settings, added, ...parts }));
}

/** Files of GGUF mark the beginning of a word by "\u2581", and not what goes on. */
function withWordStarts({ tokens, settings, added, modelTokens }: TokenizerJson): PackedStrings {
  const goesOn = typeof settings.continuing_subword_prefix === "string" ? settings.continuing_subword_prefix : "##";
  const whole = new Set(added.flatMap(({ id, special }) => (special || id >= modelTokens ? [id] : [])));
  return PackedStrings.from(
    tokens.decode().map((text, id) => {
      if (whole.has(id) || text === "") return text;
      return text.startsWith(goesOn) ? text.slice(goesOn.length) : `\u2581${text}`;
    }),
  );
}

/** Ids that nobody has are unused; bytes are those of byte fallback. */
function tokenTypes({ tokens, added, settings, kind, modelTokens }: TokenizerJson): Uint8Array {
  const out = new Uint8Array(tokens.length).fill(types.normal);
  for (let id = 0; id < tokens.length; id++) {
    const text = tokens.at(id);
    if (text.length === 0) out[id] = types.unused;
    else if (settings.byte_fallback === true && isByteToken(text)) out[id] = types.byte;
  }
  // A piece of Unigram keeps its score when it is added as well.
  for (const { id, special } of added)
    if (special || kind !== "Unigram" || id >= modelTokens) out[id] = special ? types.control : types.user;
  const { unk_id: unknownId, unk_token: unknown } = settings;
  if (typeof unknownId === "number" && unknownId < out.length) out[unknownId] = types.unknown;
  if (typeof unknown === "string") {
    const found = idOf(tokens, unknown);
    if (found !== undefined) out[found] = types.unknown;
  }
  return out;
}

/** `<0x0A>` */
function isByteToken(text: Uint8Array): boolean {
  return text.length === 6 && /^<0x[0-9A-F]{2}>$/.test(Buffer.from(text).toString("latin1"));
}

function idOf(tokens: TokenizerJson["tokens"], text: string): number | undefined {
  const wanted = Buffer.from(text);
  for (let id = 0; id < tokens.length; id++)
    if (tokens.offsets[id + 1]! - tokens.offsets[id]! === wanted.length && wanted.equals(tokens.at(id))) return id;
  return undefined;
}

/** The other files that name special tokens. */
export interface Sources {
  readonly settings: JsonObject;
  readonly generation: JsonObject;
  readonly config: JsonObject;
}

/** Name here -> name in a GGUF file. */
const specialNames = {
  bos: "bos",
  eos: "eos",
  unk: "unknown",
  sep: "seperator",
  pad: "padding",
  mask: "mask",
  cls: "cls",
} as const;

/**
 * Special tokens go by their texts in tokenizer_config.json, else by the ids of the other two files. Several may end an
 * answer.
 */
function specialKeys(
  tokens: TokenizerJson["tokens"],
  processor: JsonObject | null | undefined,
  { settings, generation, config }: Sources,
  m: MetadataBuilder,
  own: Readonly<Record<string, number>> = {},
): void {
  for (const [name, key] of Object.entries(specialNames)) {
    const text = textOf(settings[`${name}_token`]);
    const ids = [generation, config].map((from) => from[`${name}_token_id`]).flatMap(numbersOf);
    const id =
      (text === undefined ? undefined : idOf(tokens, text)) ?? ids[0] ?? (own[name]! >= 0 ? own[name] : undefined);
    m.uint(`/tokenizer.ggml.${key}_token_id`, id);
    if (name === "eos" && ids.some((other) => other !== id)) m.uints("/tokenizer.huggingface.eos_token_ids", ids);
  }
  const flag = (key: string) => (typeof settings[key] === "boolean" ? (settings[key] as boolean) : undefined);
  const around = templateEnds(processor ?? null);
  m.flag("/tokenizer.ggml.add_bos_token", flag("add_bos_token") ?? around?.before);
  m.flag("/tokenizer.ggml.add_eos_token", flag("add_eos_token") ?? around?.after);
}

/** Whether a text gets a token before it, and one behind it. */
function templateEnds(processor: JsonObject | null): { before: boolean; after: boolean } | undefined {
  const template = stepsOf(processor).find(({ type }) => type === "TemplateProcessing");
  const around = piecesAround(template?.single);
  return around && { before: around.before.length > 0, after: around.after.length > 0 };
}

/** A token is its text, or an object that holds it. */
function textOf(value: JsonValue | undefined): string | undefined {
  const text = isObject(value) ? value.content : value;
  return typeof text === "string" ? text : undefined;
}

function numbersOf(value: JsonValue | undefined): number[] {
  const all = Array.isArray(value) ? value : [value];
  return all.filter((v): v is number => typeof v === "number" && Number.isSafeInteger(v) && v >= 0);
}

/** Newer folders have templates as files, older ones in tokenizer_config.json. */
function templateKeys(folder: string, settings: JsonObject, m: MetadataBuilder): void {
  const put = (name: string, source: string) =>
    m.text(name === "default" ? "/tokenizer.chat_template" : `/tokenizer.chat_template.${name}`, source);
  const own = settings.chat_template;
  if (typeof own === "string") put("default", own);
  if (Array.isArray(own))
    for (const each of own)
      if (isObject(each) && typeof each.name === "string" && typeof each.template === "string")
        put(each.name, each.template);
  const read = (...path: string[]) =>
    Buffer.from(readSmallFile(join(folder, ...path), limits.templateBytes)).toString("utf8");
  const others = join(folder, "additional_chat_templates");
  if (existsSync(others))
    for (const name of readdirSync(others).slice(0, 64))
      if (name.endsWith(".jinja")) put(name.slice(0, -".jinja".length), read("additional_chat_templates", name));
  if (existsSync(join(folder, "chat_template.jinja"))) put("default", read("chat_template.jinja"));
}

/** generation_config.json: what the model's makers recommend. `do_sample` false: the best token. */
function samplingKeys(generation: JsonObject, m: MetadataBuilder): void {
  const number = (key: string) => (typeof generation[key] === "number" ? (generation[key] as number) : undefined);
  if (generation.do_sample !== true) return;
  m.float("/general.sampling.temp", number("temperature"));
  m.uint("/general.sampling.top_k", number("top_k"));
  m.float("/general.sampling.top_p", number("top_p"));
  m.float("/general.sampling.min_p", number("min_p"));
  m.float("/general.sampling.penalty_repeat", number("repetition_penalty"));
}
