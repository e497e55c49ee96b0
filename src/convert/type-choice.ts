/** Which type a matrix gets in the file that is written. */
import { HundredweightError } from "../errors.js";
import { blocksBytes, type Dtype, dtypeByName, dtypeOf } from "../formats/dtypes.js";
import type { TensorInfo } from "../formats/types.js";

/** `keep`: the type it has, or another that holds the same values. */
export const wishedTypes = ["keep", "f32", "f16", "bf16", "q8_0"] as const;
export type WishedType = (typeof wishedTypes)[number];

export interface ChosenType {
  readonly dtype: Dtype;
  /** Values are rounded to it. */
  readonly rounded: boolean;
}

export interface TypeChoice {
  /**
   * @param exact finds the type that holds the same values, if there is one
   * @throws FORMAT_UNSUPPORTED when values would be rounded that nobody has said may be
   */
  of(info: TensorInfo, exact: () => Dtype | undefined): ChosenType;
  /**
   * For a matrix that adapters were merged into: F32, F16 or BF16.
   * @throws FORMAT_UNSUPPORTED where it was quantized and nobody has said of which of them it may be, OPTION_INVALID
   */
  changed(info: TensorInfo): ChosenType;
}

/** Types that hold all values of others. */
const within: Readonly<Record<string, readonly string[]>> = {
  F32: ["F32", "F16", "BF16"],
  F16: ["F16"],
  BF16: ["BF16"],
};

/**
 * @param type of every matrix
 * @param inexact the type of those whose values none holds, under `keep`; undefined: they are refused
 * @param container that is written, for errors
 */
export function typeChoice(
  type: WishedType,
  inexact: Exclude<WishedType, "keep"> | undefined,
  container: "GGUF" | "safetensors" = "GGUF",
): TypeChoice {
  const asked = (wish: Exclude<WishedType, "keep">, info: TensorInfo): ChosenType => {
    const wanted = dtypeByName(wish.toUpperCase())!;
    const inputs = info.transposed ? info.shape[1]! : info.shape[0]!;
    // As llama.cpp's converter does with rows that are not whole blocks.
    const dtype = blocksBytes(wanted, inputs) === undefined ? dtypeByName("F16")! : wanted;
    const held = info.layout.folded?.values ?? info.layout.name;
    const exact = info.layout === dtype || (within[dtype.name]?.includes(held) ?? false);
    return { dtype, rounded: !exact };
  };
  return {
    changed(info) {
      const wish = type === "keep" ? (inexact ?? (info.layout.folded?.values ?? info.layout.name).toLowerCase()) : type;
      if (wish === "f32" || wish === "f16" || wish === "bf16") return { ...asked(wish, info), rounded: wish !== "f32" };
      throw new HundredweightError(
        type === "keep" ? "FORMAT_UNSUPPORTED" : "OPTION_INVALID",
        `tensor '${info.name}' is changed by an adapter, and ${wish.toUpperCase()} would round that away in part: ` +
          "use --type f32, f16 or bf16, and quantize the result",
        { tensor: info.name },
      );
    },
    of(info, exact) {
      if (type !== "keep") return asked(type, info);
      const found = exact();
      if (found !== undefined) return { dtype: found, rounded: false };
      if (inexact !== undefined) return asked(inexact, info);
      const own = dtypeOf(info.layout) === undefined ? info.layout.name : `${info.layout.name}, turned round`;
      throw new HundredweightError(
        "FORMAT_UNSUPPORTED",
        container === "GGUF"
          ? `tensor '${info.name}' is of ${own}, whose values no type of GGUF holds exactly; ` +
              "use --inexact q8_0 (or f16, bf16, f32) to have such matrices rounded to that"
          : `tensor '${info.name}' is of ${info.layout.name}, and a safetensors file holds plain floats; ` +
              "use --inexact f16 (or bf16, f32) to have such matrices decoded and rounded to that",
        { tensor: info.name, layout: info.layout.name },
      );
    },
  };
}
