/**
 * The gated delta net: a short convolution, then a recurrence in which every row corrects what a matrix of each head
 * says of its key.  @source Yang et al. 2024, "Gated Delta Networks: Improving Mamba2 with Delta Rule"
 */
import type { Activation } from "../../ops/ops.js";
import type { Flow, Pairing, Part, Value } from "../flow/flow.js";
import type { MetadataReader } from "../flow/metadata-reader.js";
import { decayOf } from "./decay.js";
import { convolved } from "./short-conv.js";

export interface DeltaNetConfig {
  readonly taps: number;
  readonly keyHeads: number;
  readonly valueHeads: number;
  /** Width of every head, of keys and of values. */
  readonly stateSize: number;
}

/** Its keys, which are those of state-space models. */
export function deltaNetConfig(m: MetadataReader): DeltaNetConfig {
  const [keyHeads, valueHeads] = [
    m.uint("ssm.group_count", { max: 4096 }),
    m.uint("ssm.time_step_rank", { max: 4096 }),
  ];
  const stateSize = m.uint("ssm.state_size", { max: 4096 });
  const inner = m.uint("ssm.inner_size", { max: 2 ** 22 });
  if (valueHeads % keyHeads !== 0) m.fault(`${valueHeads} value heads cannot share ${keyHeads} key heads`);
  if (inner !== valueHeads * stateSize)
    m.fault(`'${m.arch}.ssm.inner_size' is ${inner}, not ${valueHeads} heads of ${stateSize}`);
  return { taps: m.uint("ssm.conv_kernel", { min: 2, max: 16 }), keyHeads, valueHeads, stateSize };
}

/** Which layers are recurrent: as a list says, or all but the last of every so many. */
export function recurrentLayers(m: MetadataReader, layers: number): (layer: number) => boolean {
  const key = "attention.recurrent_layers";
  const flags = m.list(key);
  if (flags !== undefined && flags.length < layers)
    m.fault(`metadata '${m.arch}.${key}' has ${flags.length} values for ${layers} layers`);
  if (flags !== undefined) return (i) => (flags[i] ?? 0) !== 0;
  const interval = m.uint("full_attention_interval", { max: 4096, default: 4 });
  return (i) => (i + 1) % interval !== 0;
}

export interface DeltaNetOptions extends DeltaNetConfig, Pairing {
  readonly dim: number;
  readonly eps: number;
  /** Strength and decay come from one product, those of a key head side by side. */
  readonly joined?: boolean;
  /** Activation of the gate at the end. Default silu. */
  readonly gateAct?: Activation;
}

export const deltaNet =
  (o: DeltaNetOptions): Part =>
  (f, x) => {
    const { dim, eps, keyHeads, valueHeads: heads, stateSize: size, taps, pairing = "consecutive" } = o;
    const [wide, inner] = [keyHeads * size, heads * size];
    const [mixed, gate, raw, slow] = projected(f, x, o) as [Value, Value, Value, Value];
    const [q, k, v] = f.split(f.act(convolved(f, mixed, { taps }), "silu"), wide, wide, inner) as [Value, Value, Value];
    // x / sqrt(sum of squares + eps)
    const unit = (rows: Value, factor: number) => f.scale(f.headNorm(rows, null, eps / size, size), factor);
    const root = 1 / Math.sqrt(size);
    const memory = f.keep("recurrent", { name: "ssm", heads, keys: size, values: size });
    const beta = f.act(raw, "sigmoid");
    const inputs = { q: unit(q, root * root), k: unit(k, root), v, decay: decays(f, slow, heads), beta };
    const read = f.deltaRule(memory, inputs, { pairing });
    const y = f.headNorm(read, f.vector("ssm_norm", size, "norm"), eps);
    const gated = f.multiply(y, f.act(gate, o.gateAct ?? "silu"));
    return f.linear(gated, f.matrix("ssm_out", inner, dim, "attention"))[0]!;
  };

/** exp(a softplus(x + dt)) */
function decays(f: Flow, x: Value, heads: number): Value {
  const dt = f.vector("ssm_dt", heads, "attention", { suffix: "bias", fill: [0, 0.5] });
  return decayOf(f, f.act(f.addVector(x, dt), "softplus"), heads);
}

/** Products of the input: what is convolved, the gate, strength and decay. */
function projected(
  f: Flow,
  x: Value,
  { dim, keyHeads, valueHeads, stateSize: size, joined }: DeltaNetOptions,
): Value[] {
  const [wide, inner] = [keyHeads * size, valueHeads * size];
  const product = (name: string, rows: number) => f.matrix(name, dim, rows, "attention");
  if (!joined) {
    const [qkv, z] = [product("attn_qkv", 2 * wide + inner), product("attn_gate", inner)];
    const [mixed, gate, slow, raw] = f.linear(
      x,
      qkv,
      z,
      product("ssm_alpha", valueHeads),
      product("ssm_beta", valueHeads),
    );
    return [mixed!, gate!, raw!, slow!];
  }
  const share = valueHeads / keyHeads;
  // Old files have one tensor of everything, in which each key head has its queries, keys, values and gates.
  if (f.has("ssm_in.weight")) {
    const [all, both] = f.linear(x, product("ssm_in", 2 * wide + 2 * inner), product("ssm_ba", 2 * valueHeads));
    const [q, k, v, gate] = f.splitHeads(all!, keyHeads, size, size, share * size, share * size);
    return [f.join(q!, k!, v!), gate!, ...f.splitHeads(both!, keyHeads, share, share)];
  }
  const [qkv, z] = [product("attn_qkv", 2 * wide + inner), product("attn_gate", inner)];
  const [mixed, gate, both] = f.linear(x, qkv, z, product("ssm_ba", 2 * valueHeads));
  return [mixed!, gate!, ...f.splitHeads(both!, keyHeads, share, share)];
}
