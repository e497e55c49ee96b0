/**
 * The mixer of Mamba-1: every channel is a head of one value with decays of its own, and all of them share what they
 * are written and read by; that and the step sizes are made of the convolved rows, each with a norm.
 * @source Gu and Dao 2023, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces"
 */
import type { Flow, Part, Value } from "../flow/flow.js";
import type { MetadataReader } from "../flow/metadata-reader.js";
import { decayOf } from "./decay.js";
import { convolved } from "./short-conv.js";
import { rms } from "./transformer.js";

export interface SelectiveScanConfig {
  readonly taps: number;
  /** Channels. */
  readonly inner: number;
  readonly stateSize: number;
  /** Width between the two products that make the step sizes. */
  readonly rank: number;
}

export const selectiveScanConfig = (m: MetadataReader): SelectiveScanConfig => ({
  taps: m.uint("ssm.conv_kernel", { min: 2, max: 16 }),
  inner: m.uint("ssm.inner_size", { max: 2 ** 16 }),
  // A decay is kept for each state of each channel: a pass has as many values for every row.
  stateSize: m.uint("ssm.state_size", { max: 256 }),
  rank: m.uint("ssm.time_step_rank", { max: 2 ** 16 }),
});

export interface SelectiveScanOptions extends SelectiveScanConfig {
  readonly dim: number;
  readonly eps: number;
}

export const selectiveScan =
  (o: SelectiveScanOptions): Part =>
  (f, x) => {
    const { dim, inner, stateSize, rank, taps, eps } = o;
    const joined = f.linear(x, f.matrix("ssm_in", dim, 2 * inner, "attention"))[0]!;
    const [raw, z] = f.split(joined, inner, inner) as [Value, Value];
    const rows = f.act(convolved(f, raw, { taps, bias: "required" }), "silu");
    const made = f.linear(rows, f.matrix("ssm_x", inner, rank + 2 * stateSize, "attention", { gain: 1.4 }))[0]!;
    const [low, b, c] = f.split(made, rank, stateSize, stateSize) as [Value, Value, Value];
    const normed = (name: string, y: Value) => rms(name, { dim: y.cols, eps })(f, y);
    const step = f.matrix("ssm_dt", rank, inner, "attention", { bias: "required" });
    const dt = f.act(f.linear(normed("ssm_dt_norm", low), step)[0]!, "softplus");
    const memory = f.keep("recurrent", { name: "ssm", heads: inner, keys: stateSize, values: 1 });
    const skip = f.vector("ssm_d", inner, "attention", { suffix: "", fill: [1, 0.3] });
    const inputs = { c: normed("ssm_c_norm", c), b: normed("ssm_b_norm", b), x: rows, decay: decays(f, dt, o), dt };
    const y = f.multiply(f.scan(memory, inputs, { skip }), f.act(z, "silu"));
    return f.linear(y, f.matrix("ssm_out", inner, dim, "attention"))[0]!;
  };

/** exp(a dt) for each state of each channel. */
function decays(f: Flow, dt: Value, { inner, stateSize }: SelectiveScanOptions): Value {
  const repeated = f.joinHeads(inner, ...Array.from({ length: stateSize }, () => dt));
  return decayOf(f, repeated, inner * stateSize, { shape: [stateSize, inner] });
}
