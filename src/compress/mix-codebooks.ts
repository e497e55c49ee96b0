/**
 * Mixes of the code book and ternary types: what llama-quantize gives the tensors that are worth more bits. Those it
 * would not make without an importance matrix are here too, for random models.
 * @source llama.cpp, src/llama-quant.cpp
 */
import { type MixModel, type MixPlace, moreBits } from "./mix-places.js";

/** Mix -> the type of what no rule names. */
export const codebookBases = {
  IQ1_S: "IQ1_S",
  IQ1_M: "IQ1_M",
  IQ2_XXS: "IQ2_XXS",
  IQ2_XS: "IQ2_XS",
  IQ2_S: "IQ2_XS",
  IQ2_M: "IQ2_S",
  IQ3_XXS: "IQ3_XXS",
  IQ3_XS: "IQ3_S",
  IQ3_S: "IQ3_S",
  IQ3_M: "IQ3_S",
  TQ1_0: "TQ1_0",
  TQ2_0: "TQ2_0",
  Q1_0: "Q1_0",
  Q2_0: "Q2_0",
  NVFP4: "NVFP4",
} as const;
export type CodebookMix = keyof typeof codebookBases;

const fourBits = (mix: CodebookMix) => mix === "IQ2_S" || mix === "IQ2_M";
/** IQ1 and IQ2. */
const isLow = (mix: CodebookMix) => /^IQ[12]/.test(mix);

export function isCodebookMix(mix: string): mix is CodebookMix {
  return mix in codebookBases;
}

export function codebookHead(mix: CodebookMix): string {
  return isLow(mix) || mix === "IQ3_XXS" ? "Q5_K" : "Q6_K";
}

export function codebookType(mix: CodebookMix, model: MixModel, place: MixPlace): string {
  if (place.kind === "table") return embeddingType(mix);
  if (isLow(mix)) return lowType(mix, model, place);
  return mix.startsWith("IQ3") ? middleType(mix, model, place) : codebookBases[mix];
}

function embeddingType(mix: CodebookMix): string {
  if (fourBits(mix) || mix === "IQ3_XXS") return "IQ3_S";
  if (isLow(mix)) return "Q2_K";
  return mix === "TQ1_0" || mix === "TQ2_0" || mix === "Q2_0" ? "Q4_K" : codebookBases[mix];
}

function lowType(mix: CodebookMix, { layers, heads, kvHeads, experts }: MixModel, { kind, before }: MixPlace): string {
  const base = codebookBases[mix];
  const more = fourBits(mix) ? "IQ3_S" : "Q2_K";
  switch (kind) {
    case "value":
      return heads / kvHeads >= 4 || experts >= 4 ? "Q4_K" : more;
    case "key":
      return experts === 8 ? "Q4_K" : base;
    case "down":
      return before < Math.floor(layers / 8) ? more : base;
    case "output":
      if (experts === 8) return "Q5_K";
      return mix.startsWith("IQ1") ? "IQ2_XXS" : fourBits(mix) ? "IQ3_S" : base;
    default:
      return base;
  }
}

function middleType(mix: CodebookMix, model: MixModel, { kind, index, count }: MixPlace): string {
  const { layers, heads, kvHeads, experts, weighed = false } = model;
  const base = codebookBases[mix];
  const eighth = Math.floor(count / 8);
  const xxs = mix === "IQ3_XXS";
  switch (kind) {
    case "value":
      if (experts === 8) return "Q8_0";
      // A model of 80 layers under grouped queries is taken for a 70B, whose values are shared by eight heads.
      if (layers === 80 && heads !== kvHeads) return "Q5_K";
      if (mix === "IQ3_M" || heads / kvHeads >= 4) return "Q4_K";
      return xxs && !weighed ? "IQ3_S" : base;
    case "key":
    case "query":
      if (experts === 8 && kind === "key") return "Q8_0";
      return xxs ? "IQ2_S" : mix === "IQ3_XS" ? "IQ3_XXS" : base;
    case "output":
      if (experts === 8) return "Q5_K";
      return xxs ? "IQ3_S" : mix === "IQ3_M" ? "Q4_K" : base;
    case "down":
      if (xxs && !weighed) return index < eighth ? "Q4_K" : "Q3_K";
      return mix === "IQ3_M" && (index < eighth || (experts === 8 && moreBits(index, count))) ? "Q4_K" : base;
    case "gate":
    case "up":
      return mix === "IQ3_XS" && index >= eighth && index < Math.floor((7 * count) / 8) ? "IQ3_XXS" : base;
    default:
      return base;
  }
}
