/**
 * Quantization mixes: which type each tensor gets, as llama-quantize decides it without an importance matrix.
 * Only mixes whose types all have kernels here.
 * @source llama.cpp, src/llama-quant.cpp; written down in docs/formats.md
 */
import { HundredweightError } from "../errors.js";
import { blocksBytes, type Dtype, dtypeByName, fileTypeName } from "../formats/index.js";
import { codebookBases, codebookHead, codebookType, isCodebookMix } from "./mix-codebooks.js";

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

export interface MixModel {
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly experts: number;
}

export interface MixTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly layer: number;
  /** Makes the logits: `output.weight`, or a tied `token_embd.weight`. */
  readonly head: boolean;
}

/** Norms, routers, biases and everything else small stays as the converter left it. */
export function isQuantizable({ name, shape }: Pick<MixTensor, "name" | "shape">): boolean {
  return (
    name.endsWith(".weight") && shape.length >= 2 && !name.endsWith("_norm.weight") && !name.includes("ffn_gate_inp")
  );
}

/** The type a tensor gets. */
export function mixType(mix: Mix, model: MixModel, tensor: MixTensor): Dtype {
  if (!isQuantizable(tensor)) return named("F32");
  return fitting(named(chosen(mix, model, tensor)), tensor.shape[0]!);
}

function chosen(mix: Mix, model: MixModel, tensor: MixTensor): string {
  const base = bases[mix];
  if (base === "F32" || base === "F16" || base === "BF16") return base;
  if (tensor.head) return headType(mix, tensor.shape[0]!);
  if (mix === "MXFP4_MOE") return (tensor.shape[2] ?? 1) > 1 ? "MXFP4" : "Q8_0";
  if (isCodebookMix(mix)) {
    const local = tensor.name.replace(/^blk\.\d+\./, "").replace(/\.weight$/, "");
    return codebookType(mix, model, local, tensor.layer);
  }
  const kind = /\.(attn_v|attn_k|attn_output|ffn_down)(?:_exps)?\.weight$/.exec(tensor.name)?.[1];
  switch (kind) {
    case "attn_v":
      return valueType(mix, model, tensor.layer);
    case "attn_k":
      return model.experts === 8 ? "Q8_0" : base;
    case "attn_output":
      return outputType(mix, model);
    case "ffn_down":
      return downType(mix, model, tensor.layer);
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
function valueType(mix: Mix, model: MixModel, layer: number): string {
  const { layers, heads, kvHeads, experts } = model;
  if (experts === 8) return "Q8_0";
  const grouped = heads / kvHeads >= 4;
  const type = ((): string => {
    switch (mix) {
      case "Q2_K":
        return grouped ? "Q4_K" : "Q3_K";
      case "Q2_K_S":
        return grouped ? "Q4_K" : "Q2_K";
      case "Q3_K_M":
        return layer < 2 ? "Q5_K" : "Q4_K";
      case "Q3_K_L":
        return "Q5_K";
      case "Q4_K_S":
        return layer < 4 ? "Q5_K" : "Q4_K";
      case "Q4_K_M":
      case "Q5_K_M":
        return moreBits(layer, layers) ? "Q6_K" : bases[mix];
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

function outputType(mix: Mix, { experts }: MixModel): string {
  if (experts === 8 && fiveBitsWith8Experts.includes(mix)) return "Q5_K";
  if (experts === 8) return bases[mix];
  const types: Partial<Record<Mix, string>> = { Q2_K: "Q3_K", Q3_K_M: "Q4_K", Q3_K_L: "Q5_K" };
  return types[mix] ?? bases[mix];
}

function downType(mix: Mix, { layers }: MixModel, layer: number): string {
  const first = (share: number) => layer < Math.floor(layers / share);
  switch (mix) {
    case "Q2_K":
      return "Q3_K";
    case "Q2_K_S":
      return first(8) ? "Q4_K" : "Q2_K";
    case "Q3_K_M":
      return first(16) ? "Q5_K" : "Q4_K";
    case "Q3_K_L":
      return "Q5_K";
    case "Q4_K_S":
      return first(8) ? "Q5_K" : "Q4_K";
    case "Q4_K_M":
    case "Q5_K_M":
      return moreBits(layer, layers) ? "Q6_K" : bases[mix];
    case "IQ4_NL":
    case "IQ4_XS":
      return first(8) ? "Q5_K" : bases[mix];
    default:
      return bases[mix];
  }
}

/** The first and last eighth of the layers, and every third between. */
function moreBits(layer: number, layers: number): boolean {
  const eighth = Math.floor(layers / 8);
  return layer < eighth || layer >= Math.floor((7 * layers) / 8) || (layer - eighth) % 3 === 2;
}

/** Rows that are no whole number of blocks get a type of blocks of 32, or F16. */
function fitting(type: Dtype, cols: number): Dtype {
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
