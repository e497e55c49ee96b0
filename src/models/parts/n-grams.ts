/**
 * Rows of a table by hashes of the last tokens: each head of an order has a range of rows of its own. What they say is
 * compared with the residual streams, and joins each of them as far as it fits, and once more behind a convolution.
 * @source Qwen Team 2026, Qwen3.8-Flash-Next; DeepSeek-AI 2026, "Conditional Memory"
 */
import type { Flow, Ids, Part, Value } from "../flow/flow.js";
import type { MetadataReader } from "../flow/metadata-reader.js";
import { convolved } from "./short-conv.js";

export interface NGramConfig {
  /** The layer before which they join. */
  readonly layer: number;
  /** Tokens of the longest n-gram; the shortest has two. */
  readonly size: number;
  readonly headsPerSize: number;
  readonly taps: number;
  /** Nothing before this token belongs to an n-gram. */
  readonly endOfText: number;
  /** Width of a row. */
  readonly width: number;
  readonly multipliers: readonly bigint[];
  /** Rows of each head: how many, and where they begin. */
  readonly rows: readonly { readonly count: number; readonly first: number }[];
}

/** Undefined where the model has none. */
export function nGramConfig(m: MetadataReader, layers: number): NGramConfig | undefined {
  const at = m.list("ple.layers");
  if (at === undefined || at.length === 0) return undefined;
  const layer = at[0]!;
  if (at.length > 1 || !Number.isInteger(layer) || layer < 0 || layer >= layers)
    m.fault(`metadata '${m.arch}.ple.layers' is ${at.slice(0, 8).join(", ")}, expected one of ${layers} layers`);
  const size = m.uint("ple.ngram_size", { min: 2, max: 8 });
  const headsPerSize = m.uint("ple.heads_per_ngram", { max: 64 });
  const heads = (size - 1) * headsPerSize;
  const counts = m.wholes("ple.head_vocab_sizes", heads).map(Number);
  const firsts = m.wholes("ple.head_offsets", heads).map(Number);
  const rows = counts.map((count, h) => ({ count, first: firsts[h]! }));
  if (rows.some(({ count, first }) => count < 1 || count + first >= 2 ** 31))
    m.fault(`metadata '${m.arch}.ple.head_vocab_sizes': a head has no rows, or more than there can be`);
  const taps = m.uint("ple.conv_kernel", { min: 2, max: 16 });
  if ((taps - 1) * size >= 64) m.fault(`a convolution of ${taps} taps, ${size} rows apart`);
  return {
    layer,
    size,
    headsPerSize,
    taps,
    endOfText: m.uint("ple.eos_token_id", { min: 0 }),
    width: m.uint("embedding_length_per_layer_input", { max: 2 ** 16 }),
    multipliers: m.wholes("ple.layer_multipliers", size),
    rows,
  };
}

/** Rows the table has at least; converters pad it. */
export const tableRows = ({ rows }: NGramConfig): number => Math.max(...rows.map(({ count, first }) => count + first));

/** Which row a head's n-gram of `n` tokens has: the products of its tokens and their multipliers, of 64 bits, mixed. */
function idsOf({ multipliers, endOfText, rows, headsPerSize }: NGramConfig, n: number, head: number): Ids {
  const { count, first } = rows[(n - 2) * headsPerSize + head]!;
  return {
    back: Array.from({ length: n }, (_, i) => i),
    row(ids) {
      let mixed = 0n;
      let cut = false;
      for (const [i, id] of ids.entries()) {
        // The token itself may be the end of a text; what stands before one does not count.
        cut ||= i > 0 && (id < 0 || id === endOfText);
        mixed ^= BigInt.asUintN(64, BigInt(cut ? endOfText : id) * multipliers[i]!);
      }
      return Number(mixed % BigInt(count)) + first;
    },
  };
}

const name = "n-grams";

/** Reads the rows of a pass; `rows`: of the table. */
export function shareNGrams(f: Flow, c: NGramConfig, rows: number): void {
  const gain = Math.sqrt(c.width);
  const table = f.matrix("per_layer_token_embd", c.width, rows, "embedding", { gain });
  const found: Value[] = [];
  for (let n = 2; n <= c.size; n++)
    for (let head = 0; head < c.headsPerSize; head++) found.push(f.lookup(table, 1, idsOf(c, n, head)));
  f.share(name, f.join(...found));
}

export interface NGramOptions extends NGramConfig {
  readonly dim: number;
  readonly streams: number;
  readonly eps: number;
}

/** Makes what joins the streams, which lie side by side. */
export const nGrams =
  (o: NGramOptions): Part =>
  (f, x) => {
    const { dim, streams, eps, taps, size } = o;
    const wide = streams * dim;
    const found = f.shared(name) as Value;
    const normed = (y: Value, tensor: string) =>
      f.multiplyVector(f.headNorm(y, null, eps, dim), f.vector(tensor, wide, "norm"));
    const [key, value] = f.linear(
      found,
      f.matrix("ple_key", found.cols, wide, "ffn"),
      f.matrix("ple_value", found.cols, dim, "ffn"),
    );
    const fit = f.headDots(normed(key!, "ple_norm_key"), normed(x, "ple_norm_query"), streams);
    const gate = f.act(f.act(f.scale(fit, 1 / Math.sqrt(dim)), "root"), "sigmoid");
    const gated = f.multiply(f.join(...Array.from({ length: streams }, () => value!)), gate);
    const mixed = convolved(f, normed(gated, "ple_norm_conv"), { name: "ple_conv1d", taps, apart: size });
    return f.add(gated, f.act(mixed, "silu"));
  };
