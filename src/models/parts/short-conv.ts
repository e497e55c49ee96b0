/** Short convolutions: each column over the few rows before its own, with taps of its own. */
import type { Flow, Part, Value } from "../flow/flow.js";
import type { Bias } from "../flow/tensors.js";

export interface ConvolvedOptions {
  /** Name of its tensors; it also tells the tails of a layer apart. Default `ssm_conv1d`. */
  readonly name?: string;
  readonly taps: number;
  readonly bias?: Bias;
  /** Files have the weights with a dimension of one between taps and columns. */
  readonly spaced?: boolean;
  /** Rows between two taps. Default 1. */
  readonly apart?: number;
}

/** Before any activation. A random model's rows before count as much as its own, so that their absence shows. */
export function convolved(
  f: Flow,
  x: Value,
  { name = "ssm_conv1d", taps, bias = "none", spaced, apart = 1 }: ConvolvedOptions,
): Value {
  const tail = f.keep("recurrent", { name, keys: (taps - 1) * apart, values: x.cols });
  const weight = f.vector(name, taps * x.cols, "attention", {
    shape: spaced ? [taps, 1, x.cols] : [taps, x.cols],
    fill: [0.2, 0.6],
  });
  const shift = { suffix: "bias", fill: [0, 0.3] } as const;
  const optional = bias === "optional";
  const added = bias === "none" ? null : f.vector(name, x.cols, "attention", optional ? { ...shift, optional } : shift);
  return f.shortConv(x, tail, weight, added, apart);
}

/** A mixer that is a convolution between two gates, both products of its input. @source Liquid AI 2025, LFM2 */
export const gatedConv =
  ({ dim, taps }: { readonly dim: number; readonly taps: number }): Part =>
  (f, x) => {
    const joined = f.linear(x, f.matrix("shortconv.in_proj", dim, 3 * dim, "attention", { gain: 1.4 }))[0]!;
    const [before, after, inner] = f.split(joined, dim, dim, dim) as [Value, Value, Value];
    const y = convolved(f, f.multiply(inner, before), { name: "shortconv.conv", taps });
    return f.linear(f.multiply(y, after), f.matrix("shortconv.out_proj", dim, dim, "attention"))[0]!;
  };
