/**
 * The mixer of Mamba-2: a short convolution, then a matrix for each head that decays and takes up what every row
 * writes. Heads of a group share what they are written and read by.
 * @source Dao and Gu 2024, "Transformers are SSMs"
 */
import type { Flow, Part, Value } from "../flow/flow.js";
import type { MetadataReader } from "../flow/metadata-reader.js";
import { decayOf } from "./decay.js";
import { convolved } from "./short-conv.js";

export interface StateSpaceConfig {
  readonly taps: number;
  /** Width of all heads. */
  readonly inner: number;
  readonly stateHeads: number;
  readonly groups: number;
  readonly stateSize: number;
}

export function stateSpaceConfig(m: MetadataReader): StateSpaceConfig {
  const [inner, stateHeads] = [m.uint("ssm.inner_size", { max: 2 ** 20 }), m.uint("ssm.time_step_rank", { max: 4096 })];
  const groups = m.uint("ssm.group_count", { max: 4096 });
  if (inner % stateHeads !== 0)
    m.fault(`'${m.arch}.ssm.inner_size' ${inner} is not a whole number of ${stateHeads} heads`);
  if (stateHeads % groups !== 0) m.fault(`${stateHeads} heads cannot be shared among ${groups} groups`);
  const stateSize = m.uint("ssm.state_size", { max: 4096 });
  return { taps: m.uint("ssm.conv_kernel", { min: 2, max: 16 }), inner, stateHeads, groups, stateSize };
}

export interface StateSpaceOptions extends StateSpaceConfig {
  readonly dim: number;
  readonly eps: number;
  /** The norm of each group before the last product. Default required. */
  readonly norm?: "required" | "optional";
  /** The convolution's. Default optional. */
  readonly bias?: "required" | "optional";
}

export const stateSpace =
  (o: StateSpaceOptions): Part =>
  (f, x) => {
    const { dim, inner, stateHeads: heads, groups, stateSize, taps, bias = "optional" } = o;
    const written = groups * stateSize;
    const mixedWidth = inner + 2 * written;
    const joined = f.linear(x, f.matrix("ssm_in", dim, inner + mixedWidth + heads, "attention"))[0]!;
    const [z, raw, step] = f.split(joined, inner, mixedWidth, heads) as [Value, Value, Value];
    const mixed = f.act(convolved(f, raw, { taps, bias }), "silu");
    const [rows, b, c] = f.split(mixed, inner, written, written) as [Value, Value, Value];
    const shift = f.vector("ssm_dt", heads, "attention", { suffix: "bias", fill: [0, 0.5] });
    const dt = f.act(f.addVector(step, shift), "softplus");
    const shape = [1, heads];
    const decay = decayOf(f, dt, heads, { shape });
    const skip = f.vector("ssm_d", heads, "attention", { suffix: "", fill: [1, 0.3], shape });
    const memory = f.keep("recurrent", { name: "ssm", heads, keys: stateSize, values: inner / heads });
    const y = f.scan(memory, { c, b, x: rows, decay, dt }, { skip });
    const gated = f.multiply(y, f.act(z, "silu"));
    return f.linear(normed(f, gated, o), f.matrix("ssm_out", inner, dim, "attention"))[0]!;
  };

/** RMSNorm of every group, with a weight for each value. */
function normed(f: Flow, x: Value, { inner, groups, eps, norm = "required" }: StateSpaceOptions): Value {
  const shape = [inner / groups, groups];
  const optional = norm === "optional";
  const weight = f.vector("ssm_norm", inner, "norm", optional ? { shape, optional } : { shape });
  return weight === null ? x : f.multiplyVector(f.headNorm(x, null, eps, inner / groups), weight);
}

/** Metadata of a tiny model: heads of 32 or less, two groups. */
export const tinyStateSpace = (dims: 64 | 256) => ({
  "ssm.conv_kernel": 4,
  "ssm.state_size": 16,
  "ssm.inner_size": 2 * dims,
  "ssm.time_step_rank": dims === 64 ? 8 : 16,
  "ssm.group_count": 2,
});

export const stateSpaceMechanisms = ["convolution", "decay", "strength", "skip", "gate", "pairing"] as const;
