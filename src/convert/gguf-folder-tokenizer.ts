/**
 * The files of a folder that hold its tokenizer, templates and settings, made of a GGUF file's metadata. The form is
 * that of tokenizer.json; what a vocabulary means is as transformers' own converters say it.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { HundredweightError } from "../errors.js";
import type { Metadata } from "../formats/types.js";
import { createTokenizer, type Tokenizer } from "../tokenizer/index.js";
import { tokenizerModel } from "./gguf-folder-vocabulary.js";
import type { BesideWeights } from "./safetensors-file.js";

export interface FolderTokenizer extends Pick<BesideWeights, "files"> {
  /** Sentences on what could not be written, and why. */
  readonly notes: readonly string[];
}

type Json = Record<string, unknown>;

/** Names here -> in a GGUF file's metadata. */
const specialNames = { bos: "bos", eos: "eos", unk: "unknown", pad: "padding" } as const;

export function folderTokenizer(metadata: Metadata): FolderTokenizer {
  const files = new Map<string, (to: string) => void>();
  const notes: string[] = [];
  const put = (name: string, content: unknown): void => {
    const text = typeof content === "string" ? content : `${JSON.stringify(content, null, 2)}\n`;
    files.set(name, (to) => {
      mkdirSync(dirname(to), { recursive: true });
      writeFileSync(to, text);
    });
  };
  for (const [name, template] of templatesOf(metadata))
    put(name === "default" ? "chat_template.jinja" : `additional_chat_templates/${name}.jinja`, template);
  const tokenizer = tokenizerOf(metadata, notes);
  put("generation_config.json", generationOf(metadata, tokenizer));
  if (tokenizer === undefined) return { files, notes };
  put("tokenizer_config.json", settingsOf(metadata, tokenizer));
  const made = tokenizerModel(metadata, tokenizer);
  if (typeof made === "string") notes.push(`no tokenizer.json: ${made}; take that of the model's own folder`);
  // Vocabularies are too large for a line each.
  else put("tokenizer.json", JSON.stringify(made));
  return { files, notes };
}

function tokenizerOf(metadata: Metadata, notes: string[]): Tokenizer | undefined {
  try {
    return createTokenizer(metadata);
  } catch (error) {
    if (!(error instanceof HundredweightError)) throw error;
    notes.push(`no tokenizer: ${error.message}`);
    return undefined;
  }
}

/** Names of templates become names of files. */
const plainName = /^[A-Za-z0-9_-]{1,64}$/;

function* templatesOf(metadata: Metadata): Generator<[name: string, template: string]> {
  const key = "tokenizer.chat_template";
  for (const full of metadata.keys()) {
    if (full !== key && !full.startsWith(`${key}.`)) continue;
    const name = full === key ? "default" : full.slice(key.length + 1);
    const template = metadata.get(full);
    if (typeof template === "string" && plainName.test(name)) yield [name, template];
  }
}

function settingsOf(metadata: Metadata, tokenizer: Tokenizer): Json {
  const out: Json = { tokenizer_class: "PreTrainedTokenizerFast", clean_up_tokenization_spaces: false };
  for (const [name, key] of Object.entries(specialNames)) {
    const id = metadata.number(`tokenizer.ggml.${key}_token_id`);
    if (id !== undefined && id < tokenizer.size) out[`${name}_token`] = tokenizer.piece(id);
  }
  return out;
}

/** The tokens that end an answer, and the settings that a model's makers recommend. */
function generationOf(metadata: Metadata, tokenizer: Tokenizer | undefined): Json {
  const own = (name: string): number | undefined => metadata.number(`tokenizer.ggml.${name}_token_id`);
  const [bos, eos, pad] = [own("bos"), own("eos"), own("padding")];
  const ends = [...new Set([...(eos === undefined ? [] : [eos]), ...(tokenizer?.endOfGeneration ?? [])])];
  const sampling: Json = {};
  for (const [name, key] of Object.entries({
    temperature: "temp",
    top_k: "top_k",
    top_p: "top_p",
    min_p: "min_p",
    repetition_penalty: "penalty_repeat",
  })) {
    const value = metadata.number(`general.sampling.${key}`);
    if (value !== undefined) sampling[name] = Number(value.toPrecision(6));
  }
  return {
    ...(bos !== undefined && { bos_token_id: bos }),
    ...(ends.length > 0 && { eos_token_id: ends.length === 1 ? ends[0] : ends }),
    ...(pad !== undefined && { pad_token_id: pad }),
    ...(Object.keys(sampling).length > 0 && { do_sample: true, ...sampling }),
  };
}
