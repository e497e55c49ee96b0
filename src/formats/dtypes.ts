/**
 * The layouts of GGUF files: blocks of values in the order of rows, one plane. Ids are ggml's (`enum ggml_type`); what
 * is in a block is in docs/formats.md. The one list of types: native/boundary.h is generated from it
 * (native/boundary.ts).
 */
import { type Acts, type Layout, layoutBytes } from "./layouts.js";

export interface Dtype extends Layout {
  readonly order: "rows";
  /** Values in one block; a row is a whole number of blocks. */
  readonly blockValues: number;
  readonly blockBytes: number;
  /** Where the float16 scale and minimum of a block lie, where it has such. */
  readonly scaleAt?: number;
  readonly minAt?: number;
}

type Row = Pick<Dtype, "id" | "name" | "blockValues" | "blockBytes" | "scaleAt" | "minAt"> & { readonly acts?: Acts };

const table: readonly Row[] = [
  { id: 0, name: "F32", blockValues: 1, blockBytes: 4, acts: "f32" },
  { id: 1, name: "F16", blockValues: 1, blockBytes: 2, acts: "f32" },
  { id: 2, name: "Q4_0", blockValues: 32, blockBytes: 18, acts: "q8_32", scaleAt: 0 },
  { id: 3, name: "Q4_1", blockValues: 32, blockBytes: 20, acts: "q8_32", scaleAt: 0, minAt: 2 },
  { id: 6, name: "Q5_0", blockValues: 32, blockBytes: 22, acts: "q8_32", scaleAt: 0 },
  { id: 7, name: "Q5_1", blockValues: 32, blockBytes: 24, acts: "q8_32", scaleAt: 0, minAt: 2 },
  { id: 8, name: "Q8_0", blockValues: 32, blockBytes: 34, acts: "q8_32", scaleAt: 0 },
  { id: 9, name: "Q8_1", blockValues: 32, blockBytes: 36 },
  { id: 10, name: "Q2_K", blockValues: 256, blockBytes: 84, acts: "q8_256", scaleAt: 80, minAt: 82 },
  { id: 11, name: "Q3_K", blockValues: 256, blockBytes: 110, acts: "q8_256", scaleAt: 108 },
  { id: 12, name: "Q4_K", blockValues: 256, blockBytes: 144, acts: "q8_256", scaleAt: 0, minAt: 2 },
  { id: 13, name: "Q5_K", blockValues: 256, blockBytes: 176, acts: "q8_256", scaleAt: 0, minAt: 2 },
  { id: 14, name: "Q6_K", blockValues: 256, blockBytes: 210, acts: "q8_256", scaleAt: 208 },
  { id: 15, name: "Q8_K", blockValues: 256, blockBytes: 292 },
  { id: 16, name: "IQ2_XXS", blockValues: 256, blockBytes: 66, acts: "q8_256", scaleAt: 0 },
  { id: 17, name: "IQ2_XS", blockValues: 256, blockBytes: 74, acts: "q8_256", scaleAt: 0 },
  { id: 18, name: "IQ3_XXS", blockValues: 256, blockBytes: 98, acts: "q8_256", scaleAt: 0 },
  { id: 19, name: "IQ1_S", blockValues: 256, blockBytes: 50, acts: "q8_256", scaleAt: 0 },
  { id: 20, name: "IQ4_NL", blockValues: 32, blockBytes: 18, acts: "q8_32", scaleAt: 0 },
  { id: 21, name: "IQ3_S", blockValues: 256, blockBytes: 110, acts: "q8_256", scaleAt: 0 },
  { id: 22, name: "IQ2_S", blockValues: 256, blockBytes: 82, acts: "q8_256", scaleAt: 0 },
  { id: 23, name: "IQ4_XS", blockValues: 256, blockBytes: 136, acts: "q8_256", scaleAt: 0 },
  { id: 24, name: "I8", blockValues: 1, blockBytes: 1 },
  { id: 25, name: "I16", blockValues: 1, blockBytes: 2 },
  { id: 26, name: "I32", blockValues: 1, blockBytes: 4 },
  { id: 27, name: "I64", blockValues: 1, blockBytes: 8 },
  { id: 28, name: "F64", blockValues: 1, blockBytes: 8 },
  { id: 29, name: "IQ1_M", blockValues: 256, blockBytes: 56, acts: "q8_256" },
  { id: 30, name: "BF16", blockValues: 1, blockBytes: 2, acts: "f32" },
  { id: 34, name: "TQ1_0", blockValues: 256, blockBytes: 54, acts: "q8_256", scaleAt: 52 },
  { id: 35, name: "TQ2_0", blockValues: 256, blockBytes: 66, acts: "q8_256", scaleAt: 64 },
  { id: 39, name: "MXFP4", blockValues: 32, blockBytes: 17, acts: "q8_32", scaleAt: 0 },
  { id: 40, name: "NVFP4", blockValues: 64, blockBytes: 36, acts: "q8_32" },
  { id: 41, name: "Q1_0", blockValues: 128, blockBytes: 18, acts: "q8_32", scaleAt: 0 },
  { id: 42, name: "Q2_0", blockValues: 64, blockBytes: 18, acts: "q8_32", scaleAt: 0 },
];

export const dtypes: readonly Dtype[] = table.map((row) => ({
  ...row,
  order: "rows",
  planes: [{ name: "blocks", rows: 1, cols: row.blockValues, bytes: row.blockBytes }],
}));
const byId = new Map(dtypes.map((d) => [d.id, d]));
const byName = new Map(dtypes.map((d) => [d.name, d]));

export function dtypeById(id: number): Dtype | undefined {
  return byId.get(id);
}

/** Accepts `Q4_K` or `q4_k`. */
export function dtypeByName(name: string): Dtype | undefined {
  return byName.get(name.toUpperCase());
}

/** The type whose blocks a layout is.  @returns undefined for a layout of several planes */
export function dtypeOf(layout: Layout): Dtype | undefined {
  return byId.get(layout.id);
}

/** Bytes of `values` that follow each other: rows of whole blocks.  @returns undefined for anything else */
export function blocksBytes(dtype: Dtype, values: number): number | undefined {
  return layoutBytes(dtype, 1, values);
}
