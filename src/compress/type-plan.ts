/** Which type every tensor of a model gets: the rules of a mix, and what the user says instead. */
import { HundredweightError } from "../errors.js";
import { blocksBytes, type Dtype, dtypeByName, dtypeOf, type Metadata, type TensorInfo } from "../formats/index.js";
import { fittingType, isQuantizable, type Mix, mixBase, mixType } from "./mix.js";
import { type MixModel, mixPlaces } from "./mix-places.js";

export interface TypeWishes {
  readonly mix: Mix;
  /** All of the mix's own type. */
  readonly pure?: boolean;
  readonly weighed?: boolean;
  readonly output?: Dtype;
  readonly embedding?: Dtype;
  /** The first pattern that is found in a name decides. */
  readonly named?: readonly { readonly pattern: RegExp; readonly dtype: Dtype }[];
  readonly keepOutput?: boolean;
}

export interface PlannedType {
  readonly tensor: TensorInfo;
  readonly from: Dtype;
  readonly to: Dtype;
  /** The type the rules say, where rows are no whole number of its blocks. */
  readonly unfit?: Dtype;
}

const copied: Readonly<Record<string, true>> = { F32: true, F16: true, BF16: true };

/**
 * @returns in the order of `tensors`
 * @throws FORMAT_UNSUPPORTED for a tensor of several planes
 * @source llama.cpp, src/llama-quant.cpp
 */
export function planTypes(wishes: TypeWishes, model: MixModel, tensors: readonly TensorInfo[]): PlannedType[] {
  const { mix, pure = false, named = [] } = wishes;
  const weighed: MixModel = { ...model, weighed: wishes.weighed ?? false };
  const base = mixBase(mix);
  const changed = tensors.filter((t) => isQuantizable(t) && !(wishes.keepOutput && t.name === "output.weight"));
  const wordFor = (name: string) => named.find(({ pattern }) => pattern.test(name))?.dtype;
  const isTable = (name: string) => name === "token_embd.weight" || name === "per_layer_token_embd.weight";
  /** The type that is said before any rule, and for whatever shape. */
  const given = (name: string): Dtype | undefined => {
    if (isTable(name)) return name === "token_embd.weight" || !wordFor(name) ? wishes.embedding : undefined;
    return name === "output.weight" ? wishes.output : undefined;
  };
  const places = mixPlaces(weighed, changed, (name) => !pure && given(name) === undefined && !wordFor(name));
  return tensors.map((tensor) => {
    const from = dtypeOf(tensor.layout);
    if (from === undefined)
      throw new HundredweightError(
        "FORMAT_UNSUPPORTED",
        `tensor '${tensor.name}' is of ${tensor.layout.name}; convert the model to GGUF first`,
        { tensor: tensor.name },
      );
    const place = places.get(tensor.name);
    if (place === undefined) return { tensor, from, to: from };
    const said = given(tensor.name);
    if (said !== undefined) return { tensor, from, to: checked(said, tensor) };
    if (copied[base.name]) return { tensor, from, to: base };
    const byRule = (): Dtype => {
      if (pure) return base;
      const asHead = place.kind === "head" && mix !== "F32" ? wishes.output : undefined;
      return asHead ?? mixType(mix, weighed, tensor, place);
    };
    const wanted = wordFor(tensor.name) ?? byRule();
    const to = fittingType(wanted, tensor.shape[0]!);
    return { tensor, from, to, ...(to !== wanted && { unfit: wanted }) };
  });
}

/** @throws OPTION_INVALID */
function checked(dtype: Dtype, tensor: TensorInfo): Dtype {
  if (blocksBytes(dtype, tensor.shape[0]!) !== undefined) return dtype;
  throw new HundredweightError(
    "OPTION_INVALID",
    `'${tensor.name}' has rows of ${tensor.shape[0]} values, no whole number of ${dtype.name} blocks of ` +
      `${dtype.blockValues}; ${fittingType(dtype, tensor.shape[0]!).name} fits`,
  );
}

/** llama.cpp wants importance for these; without it the result is of no use. */
const wantImportance: readonly string[] = ["IQ3_XXS", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ1_M", "IQ1_S"];

export function needsImportance(name: string, dtype: Dtype, mix: Mix): boolean {
  if (/^(per_layer_)?token_embd\.weight$|^output\.weight$/.test(name)) return false;
  return wantImportance.includes(dtype.name) || (mix === "Q2_K_S" && dtype.name === "Q2_K");
}

/** Reads from the metadata what the rules count. */
export function mixModelOf(metadata: Metadata): MixModel {
  const arch = metadata.string("general.architecture") ?? "";
  const first = (key: string): number | undefined => {
    const value = metadata.get(`${arch}.${key}`);
    if (typeof value === "object") return Number((value as ArrayLike<number>)[0] ?? 0);
    return value === undefined ? undefined : Number(value);
  };
  const heads = first("attention.head_count") ?? 0;
  return {
    layers: first("block_count") ?? 0,
    heads,
    kvHeads: first("attention.head_count_kv") ?? heads,
    experts: first("expert_count") ?? 0,
    falcon: arch === "falcon",
  };
}

/** @throws OPTION_INVALID */
export function parseType(text: string, option: string): Dtype {
  const found = dtypeByName(text);
  // Activations and integers are no types of weights.
  if (found?.acts !== undefined) return found;
  throw new HundredweightError("OPTION_INVALID", `${option}: '${text}' is no type that weights can have`);
}
