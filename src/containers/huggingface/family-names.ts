/** Names that several families share and most do not. */
import type { NameTable, PlacedTarget, Rows, SplitTarget } from "./names.js";

/** Norms that are stored as their difference from one. */
export const plusOne = (names: Readonly<Record<string, string>>): NameTable =>
  Object.fromEntries(
    Object.entries(names).map(([name, to]): [string, PlacedTarget] => [name, { to, change: "plus one" }]),
  );

/** Matrices that are stored as [inputs, outputs]. */
export const turned = (names: Readonly<Record<string, string>>): NameTable =>
  Object.fromEntries(
    Object.entries(names).map(([name, to]): [string, PlacedTarget] => [name, { to, transposed: true }]),
  );

/** The mixer of Mamba-2, whatever its module is called. */
export const stateSpaceNames = (module: string): NameTable => ({
  [`${module}.in_proj`]: "ssm_in",
  [`${module}.out_proj`]: "ssm_out",
  [`${module}.conv1d`]: "ssm_conv1d",
  [`${module}.norm`]: "ssm_norm",
  [`${module}.A_log`]: { to: "ssm_a", change: "minus exp" },
  [`${module}.D`]: "ssm_d",
  [`${module}.dt_bias`]: "ssm_dt.bias",
});

/** Routed experts of Granite, with attention alone or beside a mixer. */
export const graniteExperts: NameTable = {
  "block_sparse_moe.input_linear": "ffn_gate_up_exps",
  "block_sparse_moe.output_linear": "ffn_down_exps",
  "block_sparse_moe.router.layer": "ffn_gate_inp",
};

/** Queries, keys and values of a group of heads side by side: so many heads of queries, one of keys, one of values. */
export function headsFirst(groups: number, queries: number): SplitTarget {
  return {
    joined: "attn_qkv",
    split(rows) {
      const head = rows / (groups * (queries + 2));
      const runs = (first: number, count: number): Rows =>
        Array.from({ length: groups }, (_, g) => [(g * (queries + 2) + first) * head, count * head]);
      return { attn_q: runs(0, queries), attn_k: runs(queries, 1), attn_v: runs(queries + 1, 1) };
    },
  };
}

/** The first half of the rows and the second. */
export const halves = (first: string, second: string): SplitTarget => ({
  split: (rows) => ({ [first]: [[0, rows / 2]], [second]: [[rows / 2, rows / 2]] }),
});
