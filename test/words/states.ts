/** Tiny architectures whose layers keep something else than keys and values: recurrences, latent vectors. */
import type { AttendedState, Flow, Part, Selection, Value } from "../../src/models/flow/flow.js";
import { decayOf } from "../../src/models/parts/decay.js";
import { rms, tinyTransformer } from "../../src/models/parts/transformer.js";
import { ffn, mixer, type TinyConfig, tiny } from "./tiny.js";

/** The inputs of a delta rule from one convolved product, as Qwen's and Kimi's layers have them. */
interface DeltaShape {
  readonly heads: number;
  readonly keyHeads: number;
  readonly keys: number;
  readonly values: number;
  /** Factors of decay of a head. */
  readonly decays: number;
  readonly pairing: "consecutive" | "tiled";
}

const vectorOf = (f: Flow, name: string, length: number, fill: readonly [number, number], suffix: "bias" | "" = "") =>
  f.vector(name, length, "attention", { suffix, fill });

function convolved(f: Flow, x: Value, taps: number, biased = false): Value {
  const tail = f.keep("recurrent", { name: "conv", keys: taps - 1, values: x.cols });
  const weight = f.vector("ssm_conv1d", taps * x.cols, "attention", { shape: [taps, x.cols], fill: [0.2, 0.6] });
  const bias = biased ? vectorOf(f, "ssm_conv1d", x.cols, [0, 0.3], "bias") : null;
  return f.act(f.shortConv(x, tail, weight, bias), "silu");
}

/** A recurrent mixer with a short convolution. */
const deltaNet =
  ({ dim, eps }: TinyConfig, o: DeltaShape): Part =>
  (f, x) => {
    const { heads, keyHeads, keys, values, decays, pairing } = o;
    const [inner, wide] = [heads * values, keyHeads * keys];
    const product = (name: string, rows: number) => f.matrix(name, dim, rows, "attention");
    const [mixed, gate, alpha, strength] = f.linear(
      x,
      product("attn_qkv", 2 * wide + inner),
      product("attn_gate", inner),
      product("ssm_alpha", heads * decays),
      product("ssm_beta", heads),
    ) as [Value, Value, Value, Value];
    const [q, k, v] = f.split(convolved(f, mixed, 4), wide, wide, inner) as [Value, Value, Value];
    // x / sqrt(sum x² + eps)
    const unit = (heads: Value, factor: number) => f.scale(f.headNorm(heads, null, eps / keys, keys), factor);
    const step = f.act(f.addVector(alpha, vectorOf(f, "ssm_dt", heads * decays, [0, 0.5], "bias")), "softplus");
    const decay = decayOf(f, step, heads * decays);
    const memory = f.keep("recurrent", { name: "ssm", heads, keys, values });
    const root = 1 / Math.sqrt(keys);
    const inputs = { q: unit(q, root * root), k: unit(k, root), v, decay, beta: f.act(strength, "sigmoid") };
    const y = f.headNorm(f.deltaRule(memory, inputs, { pairing }), f.vector("ssm_norm", values, "norm"), eps);
    return f.linear(f.multiply(y, f.act(gate, "silu")), f.matrix("ssm_out", inner, dim, "attention"))[0]!;
  };

/** One decay a head, one for each key, attention between them. */
export const delta = tiny(["keep recurrent", "shortConv", "deltaRule", "recurrent beside kv", "addVector"], {
  name: "words-delta",
  layer(c, i) {
    const shape = { heads: 4, keyHeads: 2, keys: 16, values: c.dim / 4 };
    const nets: Part[] = [
      deltaNet(c, { ...shape, decays: 1, pairing: "tiled" }),
      mixer(c).part,
      deltaNet(c, { ...shape, decays: 16, pairing: "consecutive" }),
    ];
    return [{ ...mixer(c), part: nets[i % 3]! }, ffn(c)];
  },
});

/** Mamba-2's mixer: no attention anywhere, so nothing is kept of every position. */
export const scanned = tiny(["keep recurrent", "scan", "shortConv", "states without pages"], {
  name: "words-scan",
  layer: (c) => [{ site: "mixer", before: rms("attn_norm", c), part: stateSpace(c) }],
});

const stateSpace =
  ({ dim, eps }: TinyConfig): Part =>
  (f, x) => {
    const [heads, groups, size] = [4, 2, 16];
    const width = 2 * groups * size + dim;
    const joined = f.linear(x, f.matrix("ssm_in", dim, dim + width + heads, "attention"))[0]!;
    const [z, mixed, raw] = f.split(joined, dim, width, heads) as [Value, Value, Value];
    const [inner, b, cc] = f.split(convolved(f, mixed, 3, true), dim, groups * size, groups * size) as [
      Value,
      Value,
      Value,
    ];
    const dt = f.act(f.addVector(raw, vectorOf(f, "ssm_dt", heads, [0, 0.5], "bias")), "softplus");
    const decay = decayOf(f, dt, heads);
    const memory = f.keep("recurrent", { name: "ssm", heads, keys: size, values: dim / heads });
    const y = f.scan(memory, { c: cc, b, x: inner, decay, dt }, { skip: vectorOf(f, "ssm_d", heads, [1, 0.3]) });
    const gated = f.multiply(y, f.act(z, "silu"));
    const normed = f.multiplyVector(f.headNorm(gated, null, eps, dim / groups), f.vector("ssm_norm", dim, "norm"));
    return f.linear(normed, f.matrix("ssm_out", dim, dim, "attention"))[0]!;
  };

/** Every head looks back upon one vector of 64, of which half is rotated and half is values as well. */
export const latentAttention = tiny(["keep latent", "joinHeads"], {
  name: "words-latent-kv",
  layer: (c) => [{ ...mixer(c), part: oneVector(c) }, ffn(c)],
});

const oneVector =
  ({ dim, heads, rope }: TinyConfig): Part =>
  (f, x) => {
    const [values, rotated] = [32, 32];
    const product = (name: string, rows: number) => f.matrix(name, dim, rows, "attention", { gain: 1.4 });
    const turn = { ...rope, dims: rotated };
    const [q, turnedQ, row, turnedK] = f.linear(
      x,
      product("attn_q", heads * values),
      product("attn_q_pe", heads * rotated),
      product("attn_kv_a", values),
      product("attn_k_pe", rotated),
    ) as [Value, Value, Value, Value];
    const past = f.keep("latent", { row: f.join(row, f.rope(turnedK, rotated, turn)), values });
    const queries = f.joinHeads(heads, q, f.rope(turnedQ, rotated, turn));
    const mixed = f.attention(queries, [past], { heads, scale: 0.15, reach: "all" });
    return f.linear(mixed, f.matrix("attn_output", heads * values, dim, "attention"))[0]!;
  };

/**
 * Latent attention in the absorbed form from a file that has `attn_kv_b` only, as converters write it: for each head
 * its rows of keys, then those of values. What is kept of a position is one vector; keys and values of the heads are
 * rows of that one tensor, multiplied along either axis, for every number of rows.
 * @source DeepSeek-AI 2024, "DeepSeek-V2", section 2.1
 */
export const absorbed = tiny(["headLinear", "from: split by heads", "latent attention, absorbed"], {
  name: "words-absorbed",
  layer: (c) => [{ ...mixer(c), part: absorbedAttention(c) }, ffn(c)],
});

function absorbedAttention({ dim, heads, rope, eps }: TinyConfig): Part {
  const [rank, keys, turned, values] = [64, 32, 32, 64];
  const turn = { ...rope, dims: turned };
  return (f, x) => {
    const ofHeads = (name: string, first: number, rows: number) => {
      const from = f.has(`${name}.weight`) ? undefined : { split: "attn_kv_b", of: keys + values, first, heads };
      return f.matrix(name, rank, heads * rows, "attention", { gain: 1.4, from });
    };
    const [q, both] = f.linear(
      x,
      f.matrix("attn_q", dim, heads * (keys + turned), "attention", { gain: 1.4 }),
      f.matrix("attn_kv_a_mqa", dim, rank + turned, "attention", { gain: 1.4 }),
    ) as [Value, Value];
    const [plainQ, turnedQ] = f.splitHeads(q, heads, keys, turned) as [Value, Value];
    const [low, turnedK] = f.split(both, rank, turned) as [Value, Value];
    const latent = f.norm(low, f.vector("attn_kv_a_norm", rank, "norm"), eps);
    const past = f.keep("latent", { row: f.join(latent, f.rope(turnedK, turned, turn)), values: rank });
    const lowQ = f.headLinear(plainQ, ofHeads("attn_k_b", 0, keys), { heads, along: "rows" });
    const queries = f.joinHeads(heads, lowQ, f.rope(turnedQ, turned, turn));
    const seen = f.attention(queries, [past], { heads, scale: 1 / Math.sqrt(keys + turned), reach: "all" });
    const mixed = f.headLinear(seen, ofHeads("attn_v_b", keys, values), { heads, along: "inputs" });
    return f.linear(mixed, f.matrix("attn_output", heads * values, dim, "attention"))[0]!;
  };
}

/**
 * Beside a window of its own vectors each row sees one for each block of positions that is whole: all of them in one
 * layer, in the other those that an indexer of blocks chose, and there blocks overlap.
 * @source DeepSeek-AI 2026, DeepSeek-V4
 */
export const blocks = tiny(["compress", "rows of several positions", "rope at a block's start"], {
  name: "words-blocks",
  layer: (c, i) => [{ ...mixer(c), part: ofBlocks(c, i % 2 === 0) }, ffn(c)],
  tiny: [{ variant: "tiny", metadata: (dims) => ({ ...tinyTransformer(dims), block_count: 2 }) }],
});

function ofBlocks({ dim, heads, rope, eps }: TinyConfig, choosing: boolean): Part {
  const [width, turned, indexHeads, indexDim, every] = [64, 32, 4, 32, choosing ? 4 : 8];
  const turn = { ...rope, dims: turned };
  return (f, x) => {
    const product = (name: string, rows: number, gain = 1.4) => f.matrix(name, dim, rows, "attention", { gain });
    const turnLast = (y: Value, count: number, back = 0): Value => {
      const [still, last] = f.splitHeads(y, count, y.cols / count - turned, turned) as [Value, Value];
      return f.joinHeads(count, still, f.rope(last, turned, turn, null, back));
    };
    /** The row of each block, rotated as its first position. */
    const compressed = (name: string, columns: number): Value => {
      const wide = choosing ? 2 * columns : columns;
      const [values, gates] = f.linear(x, product(`${name}_kv`, wide), product(`${name}_gate`, wide)) as [Value, Value];
      const positions = f.vector(`${name}_ape`, every * wide, "attention", { shape: [wide, every], fill: [0, 1] });
      const row = f.compress(values, gates, { every, overlap: choosing, positions, name });
      return f.norm(row, f.vector(`${name}_norm`, columns, "norm"), eps);
    };
    const [q, own] = f.linear(x, product("attn_q", heads * width), product("attn_kv", width)) as [Value, Value];
    const near = f.keep("latent", { row: turnLast(own, 1), values: width, name: "near" });
    const row = turnLast(compressed("attn_compressor", width), 1, every - 1);
    const far = f.keep("latent", { row, values: width, name: "far", every });
    const selection = choosing ? index() : undefined;
    const sources = [
      { state: near as AttendedState, reach: { window: 12 } },
      { state: far, ...(selection && { selection }) },
    ];
    const sinks = f.vector("attn_sinks", heads, "attention", { fill: [0, 1] });
    const mixed = f.attention(turnLast(q, heads), sources, { heads, scale: 0.125, reach: "all", sinks });
    return f.linear(mixed, f.matrix("attn_output", heads * width, dim, "attention"))[0]!;

    function index(): Selection {
      const keys = f.keep("rows", { row: compressed("indexer_compressor", indexDim), name: "index", every });
      const [q, weights] = f.linear(x, product("indexer_q", indexHeads * indexDim), product("indexer_w", indexHeads));
      return f.select(q!, weights!, keys, 5);
    }
  };
}
