/** Which tokens are special: ids from metadata, tokens known by their text, and those that end a generation. */
import type { Metadata } from "../formats/types.js";
import type { FimTokens, SpecialTokens } from "./types.js";
import { attributes, findToken, tokenText, type Vocabulary } from "./vocab.js";

export interface Specials {
  readonly tokens: SpecialTokens;
  readonly fim: FimTokens;
  readonly endOfGeneration: ReadonlySet<number>;
  /**
   * Control tokens that are shown in the output (gpt-oss channel markers). llama.cpp makes them user-defined, which
   * would also let a user's text contain them; here they stay control tokens for parsing.
   */
  readonly shownControl: ReadonlySet<number>;
}

export interface SpecialDefaults {
  readonly bos?: number;
  readonly eos?: number;
  readonly unknown?: number;
  readonly padding?: number;
  readonly separator?: number;
  readonly mask?: number;
}

/** Texts that mark the end of a turn or of the text, whatever the metadata says. */
const endTexts = [
  ..."<|eot_id|> <|im_end|> <|end|> <|return|> <|call|> <|flush|> <|calls|> <end_of_turn> <|endoftext|> </s>".split(
    " ",
  ),
  ..."<|eom_id|> <EOT> _<EOT> [EOT] [EOS] <|end_of_text|> <end_of_utterance> <eos> <turn|> <|tool_response>".split(" "),
  "<\uff5cend\u2581of\u2581sentence\uff5c>",
  "[e~[",
];

/** Text by which a special id is found when the metadata has none; the first that exists. */
const textsOf = {
  eot: [
    ..."<|eot_id|> <|im_end|> <|end|> <end_of_turn> <|endoftext|> <|end_of_text|> <EOT> _<EOT> [EOT]".split(" "),
    "<\uff5cend\u2581of\u2581sentence\uff5c>",
    "<end_of_utterance>",
  ],
  eom: ["<|eom_id|>"],
  fimPrefix: [
    ..."<|fim_prefix|> <fim-prefix> <fim_prefix> <\uff5cfim\u2581begin\uff5c> <PRE> \u2581<PRE>".split(" "),
    ..."<|code_prefix|> <|prefix|>".split(" "),
  ],
  fimSuffix: [
    ..."<|fim_suffix|> <fim-suffix> <fim_suffix> <\uff5cfim\u2581hole\uff5c> <SUF> \u2581<SUF>".split(" "),
    ..."<|code_suffix|> <|suffix|>".split(" "),
  ],
  fimMiddle: [
    ..."<|fim_middle|> <fim-middle> <fim_middle> <\uff5cfim\u2581end\uff5c> <MID> \u2581<MID>".split(" "),
    ..."<|code_middle|> <|middle|>".split(" "),
  ],
  fimPad: "<|fim_pad|> <fim-pad> <fim_pad> <PAD> [PAD]".split(" "),
  fimRepo: "<|fim_repo|> <|repo_name|> <fim-repo> <REPO> <reponame>".split(" "),
  fimSeparator: ["<|file_sep|>"],
} as const;

/** Later keys win: the second is the older name. */
const keysOf: Record<string, readonly string[]> = {
  bos: ["bos"],
  eos: ["eos"],
  eot: ["eot"],
  eom: ["eom"],
  unknown: ["unknown"],
  padding: ["padding"],
  // Spelt so in the files.
  separator: ["seperator"],
  mask: ["mask"],
  fimPrefix: ["fim_pre", "prefix"],
  fimSuffix: ["fim_suf", "suffix"],
  fimMiddle: ["fim_mid", "middle"],
  fimPad: ["fim_pad"],
  fimRepo: ["fim_rep"],
  fimSeparator: ["fim_sep"],
};

/** Also corrects the attributes of tokens whose text says that they are control tokens. */
export function readSpecials(metadata: Metadata, vocabulary: Vocabulary, defaults: SpecialDefaults): Specials {
  const ids = new Map<string, number>();
  const inRange = (id: number | undefined) =>
    id !== undefined && Number.isInteger(id) && id >= 0 && id < vocabulary.size;
  for (const [name, id] of Object.entries(defaults)) if (inRange(id)) ids.set(name, id);
  for (const [name, keys] of Object.entries(keysOf)) {
    for (const key of keys) {
      // An id outside the vocabulary is ignored, as llama.cpp does: such files exist and work.
      const id = metadata.number(`tokenizer.ggml.${key}_token_id`);
      if (id !== undefined && inRange(id)) ids.set(name, id);
    }
  }

  const attributesOf = vocabulary.attributes;
  for (const [name, texts] of Object.entries(textsOf)) {
    if (ids.has(name)) continue;
    const id = texts.map((text) => findToken(vocabulary, text)).find((found) => found !== undefined);
    if (id === undefined) continue;
    ids.set(name, id);
    attributesOf[id]! |= attributes.control;
  }

  const end = new Set<number>();
  for (const name of ["fimPad", "fimRepo", "fimSeparator"]) addIfDefined(end, ids.get(name));
  for (const text of endTexts) {
    const id = findToken(vocabulary, text);
    if (id === undefined) continue;
    end.add(id);
    attributesOf[id]! |= attributes.control;
  }
  for (const name of ["eos", "eot", "eom"]) addIfDefined(end, ids.get(name));
  // A Hugging Face folder may name several.
  const several = metadata.numbers("tokenizer.huggingface.eos_token_ids") ?? [];
  for (let i = 0; i < several.length; i++) if (inRange(several[i])) end.add(several[i]!);

  const shownControl = new Set<number>();
  for (const text of ["<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"]) {
    const id = findToken(vocabulary, text);
    if (id === undefined) continue;
    shownControl.add(id);
    attributesOf[id] = attributes.control;
  }
  removeExceptions(vocabulary, end, shownControl);

  const tokens = {
    bos: ids.get("bos"),
    eos: ids.get("eos"),
    eot: ids.get("eot"),
    unknown: ids.get("unknown"),
    padding: ids.get("padding"),
    separator: ids.get("separator"),
    mask: ids.get("mask"),
  };
  const fim = {
    prefix: ids.get("fimPrefix"),
    suffix: ids.get("fimSuffix"),
    middle: ids.get("fimMiddle"),
    pad: ids.get("fimPad"),
    repository: ids.get("fimRepo"),
    file: ids.get("fimSeparator"),
  };
  return { tokens, fim, endOfGeneration: end, shownControl };
}

/** Two families use an end text for something else. */
function removeExceptions(vocabulary: Vocabulary, end: Set<number>, shownControl: Set<number>): void {
  const byText = new Map([...end].map((id) => [tokenText(vocabulary, id), id]));
  const call = byText.has("<|call|>") || byText.has("<|calls|>");
  const endOfChannel = byText.get("<|end|>");
  // gpt-oss and solar-open: <|end|> ends a channel, not the answer.
  if (call && (byText.has("<|return|>") || byText.has("<|flush|>")) && endOfChannel !== undefined) {
    end.delete(endOfChannel);
    shownControl.add(endOfChannel);
    vocabulary.attributes[endOfChannel] = attributes.control;
  }
  // gemma4: </s> is an HTML tag.
  const tag = byText.get("</s>");
  if (byText.has("<|tool_response>") && tag !== undefined) {
    end.delete(tag);
    vocabulary.attributes[tag] = attributes.normal;
  }
}

/** Token attributes that a GGUF file does not carry and llama.cpp knows by the model's name. */
export function applyStripRules(metadata: Metadata, vocabulary: Vocabulary): void {
  const name = metadata.string("general.name")?.toLowerCase() ?? "";
  const pre = metadata.string("tokenizer.ggml.pre") ?? "";
  const architecture = metadata.string("general.architecture") ?? "";
  const bits = vocabulary.attributes;
  const set = (text: string, bit: number, on: boolean) => {
    const id = findToken(vocabulary, text);
    if (id !== undefined) bits[id] = on ? bits[id]! | bit : bits[id]! & ~bit;
  };
  if (/jina-v2-(de|es|code)/.test(pre) || /nomic-bert-moe|jina-bert-v3/.test(architecture)) {
    set("<mask>", attributes.stripLeft, true);
  } else if (/phi-?3/.test(name)) {
    const special = attributes.control | attributes.user | attributes.unknown;
    for (let id = 0; id < vocabulary.size; id++) if (bits[id]! & special) bits[id]! |= attributes.stripRight;
    set("</s>", attributes.stripRight, true);
    for (const text of ["<unk>", "<s>", "<|endoftext|>"]) set(text, attributes.stripRight, false);
  } else if (name.includes("modern-bert")) {
    set("[MASK]", attributes.stripLeft, true);
  }
}

function addIfDefined(set: Set<number>, id: number | undefined): void {
  if (id !== undefined) set.add(id);
}
