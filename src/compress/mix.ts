/**
 * Quantization mixes: which type each tensor gets, as llama-quantize decides it. Only mixes whose types all have
 * kernels here.
 * @source llama.cpp, src/llama-quant.cpp; written down in docs/formats.md
 */
import { HundredweightError } from "../errors.js";
import { blocksBytes, type Dtype, dtypeByName, fileTypeName } from "../formats/index.js";
import { codebookBases, codebookHead, codebookType, isCodebookMix } from "./mix-codebooks.js";
import { type MixModel, type MixPlace, type MixTensor, mixPlaces, moreBits } from "./mix-places.js";

/** Mix -> the type of what no rule names. */
const bases = {
  F32: "F32",
  F16: "F16",
  BF16: "BF16",
  Q4_0: "Q4_0",
  Q4_1: "Q4_1",
  Q5_0: "Q5_0",
  Q5_1: "Q5_1",
  Q8_0: "Q8_0",
  Q2_K: "Q2_K",
  Q2_K_S: "Q2_K",
  Q3_K_S: "Q3_K",
  Q3_K_M: "Q3_K",
  Q3_K_L: "Q3_K",
  Q4_K_S: "Q4_K",
  Q4_K_M: "Q4_K",
  Q5_K_S: "Q5_K",
  Q5_K_M: "Q5_K",
  Q6_K: "Q6_K",
  IQ4_NL: "IQ4_NL",
  IQ4_XS: "IQ4_XS",
  MXFP4_MOE: "MXFP4",
  ...codebookBases,
} as const;
export type Mix = keyof typeof bases;
export const mixes = Object.keys(bases) as readonly Mix[];

const aliases: Readonly<Record<string, Mix>> = { Q3_K: "Q3_K_M", Q4_K: "Q4_K_M", Q5_K: "Q5_K_M", MXFP4: "MXFP4_MOE" };

/** @throws OPTION_INVALID for a name that is no mix, or one with types that cannot be computed */
export function parseMix(text: string): Mix {
  const name = text.toUpperCase();
  const found = aliases[name] ?? mixes.find((mix) => mix === name);
  if (found !== undefined) return found;
  throw new HundredweightError("OPTION_INVALID", `quantization '${text}' is not one of ${mixes.join(", ")}`);
}

/** Number of a mix in `general.file_type`. */
export function mixFileType(mix: Mix): number {
  for (let id = 0; id < 64; id++) if (fileTypeName(id) === mix) return id;
  throw new HundredweightError("INTERNAL", `no file type number for ${mix}`);
}

/** Small products that stay as the converter left them, and tables that are read by row. */
const kept32 = new RegExp(
  "_norm\\.weight$|ffn_gate_inp|tid2eid|ssm_conv1d|shortconv\\.conv|position_embd|token_types|attn_rel_b\\.weight|" +
    "time_mix_(first|w[012]|v[012]|a[012]|g[12]|decay_w[12]|lerp_fused)\\.weight|sam\\.(pos_embd|neck\\.|net_)|" +
    "\\.rel_pos|\\.patch_embd|\\.patch_merger|a\\.rvq\\.codebook|mm\\.a\\.code_embd",
);
const kept16 = /altup|laurel|per_layer_model_proj|indexer\.[qk]_proj/;

/** Norms, routers, biases and everything else small stays as the converter left it. */
export function isQuantizable({ name, shape }: MixTensor): boolean {
  return isMatrix({ name, shape }) && !kept32.test(name) && !kept16.test(name);
}

const isMatrix = ({ name, shape }: MixTensor) => name.endsWith(".weight") && shape.slice(1).some((size) => size > 1);

/** The type of what no rule names. */
export const mixBase = (mix: Mix): Dtype => named(bases[mix]);

/** The type that the rules of a mix give a tensor in its place, whether its rows fit or not. */
export const mixType = (mix: Mix, model: MixModel, tensor: MixTensor, place: MixPlace): Dtype =>
  named(chosen(mix, model, tensor, place));

/** The types that the tensors of a whole model get, in their order. */
export function mixTypes(mix: Mix, model: MixModel, tensors: readonly MixTensor[]): Dtype[] {
  const places = mixPlaces(model, tensors.filter(isQuantizable));
  return tensors.map((tensor) => {
    const place = places.get(tensor.name);
    if (place !== undefined) return fittingType(mixType(mix, model, tensor, place), tensor.shape[0]!);
    const isHalf = isMatrix(tensor) && kept16.test(tensor.name) && mix !== "F32";
    return named(isHalf ? (mix === "F16" ? "F16" : "BF16") : "F32");
  });
}

function chosen(mix: Mix, model: MixModel, tensor: MixTensor, place: MixPlace): string {
  const base = bases[mix];
  if (base === "F32" || base === "F16" || base === "BF16") return base;
  if (place.kind === "head") return model.falcon ? "Q8_0" : headType(mix, tensor.shape[0]!);
  if (mix === "MXFP4_MOE") return (tensor.shape[2] ?? 1) > 1 ? "MXFP4" : "Q8_0";
  if (isCodebookMix(mix)) return codebookType(mix, model, place);
  switch (place.kind) {
    case "value":
      return valueType(mix, model, place);
    case "key":
      return model.experts === 8 ? "Q8_0" : base;
    case "output":
      return outputType(mix, model);
    case "down":
      return downType(mix, model, place);
    default:
      return base;
  }
}

function headType(mix: Mix, cols: number): string {
  const base = bases[mix];
  if (mix === "MXFP4_MOE" || blocksBytes(named(base), cols) === undefined) return "Q8_0";
  if (isCodebookMix(mix)) return codebookHead(mix);
  return base === "Q8_0" ? base : "Q6_K";
}

/** Values of attention; there are few of them under grouped queries, and they are worth more bits. */
function valueType(mix: Mix, { layers, heads, kvHeads, experts }: MixModel, { index, count }: MixPlace): string {
  if (experts === 8) return "Q8_0";
  const grouped = heads / kvHeads >= 4;
  const type = ((): string => {
    switch (mix) {
      case "Q2_K":
        return grouped ? "Q4_K" : "Q3_K";
      case "Q2_K_S":
        return grouped ? "Q4_K" : "Q2_K";
      case "Q3_K_M":
        return index < 2 ? "Q5_K" : "Q4_K";
      case "Q3_K_L":
        return "Q5_K";
      case "Q4_K_S":
        return index < 4 ? "Q5_K" : "Q4_K";
      case "Q4_K_M":
      case "Q5_K_M":
        return moreBits(index, count) ? "Q6_K" : bases[mix];
      case "IQ4_NL":
      case "IQ4_XS":
        return grouped ? "Q5_K" : bases[mix];
      default:
        return bases[mix];
    }
  })();
  // A model of 80 layers under grouped queries is taken for a 70B, whose values are shared by eight heads.
  const is70B = layers === 80 && heads !== kvHeads;
  return is70B && (type === "Q3_K" || type === "Q4_K") ? "Q5_K" : type;
}

const fiveBitsWith8Experts: readonly Mix[] = ["Q2_K", "Q3_K_S", "Q3_K_M", "Q4_K_S", "Q4_K_M", "IQ4_NL", "IQ4_XS"];

function outputType(mix: Mix, { experts, falcon }: MixModel): string {
  if (falcon) return mix === "Q3_K_L" ? "Q4_K" : bases[mix];
  if (experts === 8 && fiveBitsWith8Experts.includes(mix)) return "Q5_K";
  if (experts === 8) return bases[mix];
  const types: Partial<Record<Mix, string>> = { Q2_K: "Q3_K", Q3_K_M: "Q4_K", Q3_K_L: "Q5_K" };
  return types[mix] ?? bases[mix];
}

function downType(mix: Mix, { weighed, falcon }: MixModel, { index, count }: MixPlace): string {
  const first = (share: number) => index < Math.floor(count / share);
  const more = moreBits(index, count);
  switch (mix) {
    // Four and five bits without a smallest value can lose the first layers even with an importance matrix.
    case "Q4_0":
      return weighed && first(8) ? "Q4_1" : "Q4_0";
    case "Q5_0":
      return weighed && first(8) ? "Q5_1" : "Q5_0";
    case "Q2_K":
      return "Q3_K";
    case "Q2_K_S":
      return first(8) ? "Q4_K" : "Q2_K";
    case "Q3_K_M":
      return first(16) ? "Q5_K" : falcon && !more ? "Q3_K" : "Q4_K";
    case "Q3_K_L":
      return falcon ? "Q4_K" : "Q5_K";
    case "Q4_K_S":
      return first(8) && !falcon ? "Q5_K" : "Q4_K";
    case "Q4_K_M":
      if (falcon) return first(16) ? "Q6_K" : more ? "Q5_K" : "Q4_K";
      return more ? "Q6_K" : "Q4_K";
    case "Q5_K_M":
      return more ? "Q6_K" : "Q5_K";
    case "IQ4_NL":
    case "IQ4_XS":
      return first(8) && !weighed ? "Q5_K" : bases[mix];
    default:
      return bases[mix];
  }
}

/** Rows that are no whole number of blocks get a type of blocks of 32, or F16. */
export function fittingType(type: Dtype, cols: number): Dtype {
  if (blocksBytes(type, cols) !== undefined) return type;
  const smaller: Readonly<Record<string, string>> = {
    IQ1_S: "IQ4_NL",
    IQ1_M: "IQ4_NL",
    IQ2_XXS: "IQ4_NL",
    IQ2_XS: "IQ4_NL",
    IQ2_S: "IQ4_NL",
    IQ3_XXS: "IQ4_NL",
    IQ3_S: "IQ4_NL",
    TQ1_0: "Q4_0",
    TQ2_0: "Q4_0",
    Q2_0: "Q4_0",
    IQ4_XS: "IQ4_NL",
    Q2_K: "Q4_0",
    Q3_K: "Q4_0",
    Q4_K: "Q5_0",
    Q5_K: "Q5_1",
    Q6_K: "Q8_0",
  };
  const next = named(smaller[type.name] ?? "F16");
  return blocksBytes(next, cols) === undefined ? named("F16") : next;
}

function named(name: string): Dtype {
  return dtypeByName(name)!;
}
