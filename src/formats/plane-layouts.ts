/**
 * Layouts of checkpoints that were quantized before they came here, as their libraries store them: values, scales and
 * offsets in planes of their own. A value is `scale * (code - offset)`. Byte by byte they are in docs/formats.md.
 */
import type { Form, Layout, PlaneLayout } from "./layouts.js";

type Scales = "f32" | "f16" | "bf16";
const scaleBytes = { f32: 4, f16: 2, bf16: 2, e8m0: 1, nested: 1 } as const;

/** Ids are ggml's for its types; these have none, they are described. */
const noId = -1;

const made = new Map<string, Layout>();

/** The same object for the same layout, so that parts of one weight can be told to be alike. */
function known(layout: Layout): Layout {
  const key = JSON.stringify(layout);
  const before = made.get(key);
  if (before !== undefined) return before;
  made.set(key, layout);
  return layout;
}

interface Integers {
  readonly name: string;
  readonly order: Layout["order"];
  readonly bits: number;
  /** Inputs that share a scale; 0: all of a row. */
  readonly group: number;
  /** An index names the group of each input. */
  readonly actOrder?: boolean;
  readonly codes?: Form["codes"];
  readonly packing?: Form["packing"];
  readonly scales?: Form["scales"];
  readonly offsets?: Form["offsets"];
  /** Offsets of groups do not fill the last byte of a row. */
  readonly ragged?: boolean;
  readonly addend?: number;
  readonly factor?: number;
}

/** Words of 32 bits hold whole codes, or three of them 32 codes of three bits. */
const wordCell = (bits: number) => (32 % bits === 0 ? { codes: 32 / bits, bytes: 4 } : { codes: 32, bytes: 4 * bits });

function integers(o: Integers): Layout {
  const { name, order, bits, group, actOrder = false, packing = "linear", scales = "f16", offsets = "constant" } = o;
  const { codes, bytes } = wordCell(bits);
  // Where inputs come in order, what all of a row share, or what any input may need, is needed by every slice.
  const scattered = order === "inputs" && (actOrder || group === 0) ? ({ whole: true } as const) : {};
  const values: PlaneLayout =
    packing === "awq"
      ? { name: "values", rows: 8, cols: 1, bytes: 4 }
      : o.codes === "signed"
        ? { name: "values", rows: 1, cols: 1, bytes: 1 }
        : { name: "values", rows: 1, cols: codes, bytes };
  const planes: PlaneLayout[] = [
    values,
    { name: "scales", rows: 1, cols: group, bytes: scaleBytes[scales], ...scattered },
  ];
  // Of a row the codes of its groups fill whole bytes: where the last one is half empty, rows are not whole cells.
  if (offsets === "groups")
    planes.push({ name: "offsets", rows: 1, cols: (group * 8) / bits, bytes: 1, ...(o.ragged && { whole: true }) });
  else if (offsets !== "constant") planes.push({ name: "offsets", rows: codes, cols: group, bytes, ...scattered });
  if (actOrder) planes.push({ name: "index", rows: 0, cols: 1, bytes: 4, whole: true });
  // A unit of 32 inputs has one scale where groups are whole units.
  const scaled = !actOrder && group % 32 === 0;
  return known({
    id: noId,
    name,
    order,
    planes,
    acts: "q8_32",
    units: scaled ? "integers" : "integers-scattered",
    form: {
      codes: o.codes ?? "unsigned",
      bits,
      packing,
      scales,
      offsets,
      addend: o.addend ?? 0,
      factor: o.factor ?? 1,
    },
  });
}

const groupName = (group: number) => (group === 0 ? "ROW" : `G${group}`);
const ending = (actOrder: boolean, scales: Form["scales"]) =>
  `${scales === "f16" ? "" : `_${scales.toUpperCase()}`}${actOrder ? "_ACT_ORDER" : ""}`;

/**
 * GPTQ: codes of a row packed along inputs, in the order of inputs; offsets packed along rows.
 * @param format 1: stored offsets are one less, and wrap around; 2: as they are
 */
export function gptqLayout(o: {
  readonly bits: 2 | 3 | 4 | 8;
  readonly group: number;
  readonly format: 1 | 2;
  readonly actOrder?: boolean;
  readonly scales?: Scales;
}): Layout {
  const { bits, group, format, actOrder = false, scales = "f16" } = o;
  const name = `GPTQ${bits}_${groupName(group)}${format === 2 ? "_V2" : ""}${ending(actOrder, scales)}`;
  return integers({ name, order: "inputs", bits, group, actOrder, scales, offsets: "linear", addend: 2 - format });
}

/** AWQ as its "gemm" version stores it: a word holds eight rows of an input. */
export function awqLayout(group: number, scales: Scales = "f16"): Layout {
  const name = `AWQ4_${groupName(group)}${ending(false, scales)}`;
  return integers({ name, order: "inputs", bits: 4, group, packing: "awq", scales, offsets: "awq" });
}

/**
 * compressed-tensors' pack-quantized: codes packed along inputs in the order of rows; offsets packed along rows. ONNX's
 * MatMulNBits has the same codes.
 * @param offsets ONNX's: packed along the groups of a row, which fill whole bytes, or leave the last one half empty
 */
export function packedLayout(o: {
  readonly bits: 4 | 8;
  readonly group: number;
  readonly symmetric: boolean;
  readonly scales: Scales;
  readonly actOrder?: boolean;
  readonly offsets?: "of groups" | "of groups, ragged";
}): Layout {
  const { bits, group, symmetric, scales, actOrder = false } = o;
  const kind = symmetric ? "" : { rows: "_ASYM", "of groups": "_ZEROS", "of groups, ragged": "_ZEROS_RAGGED" };
  const named = kind === "" ? "" : kind[o.offsets ?? "rows"];
  const name = `PACKED${bits}_${groupName(group)}${named}${ending(actOrder, scales)}`;
  const offsets = symmetric
    ? ({ offsets: "constant", addend: 2 ** (bits - 1) } as const)
    : o.offsets !== undefined
      ? ({ offsets: "groups", ragged: o.offsets === "of groups, ragged" } as const)
      : ({ offsets: "linear" } as const);
  return integers({ name, order: "rows", bits, group, actOrder, scales, ...offsets });
}

/** Signed bytes with a scale for each output row. */
export function int8Layout(scales: Scales): Layout {
  const name = `INT8_ROW${ending(false, scales)}`;
  return integers({ name, order: "rows", bits: 8, codes: "signed", group: 0, scales });
}

/** The same as LLM.int8() keeps it: what a row's codes are multiples of is its largest value / 127. */
export const llmInt8Layout: Layout = integers({
  name: "LLM_INT8",
  order: "rows",
  bits: 8,
  codes: "signed",
  group: 0,
  scales: "f32",
  factor: Math.fround(1 / 127),
});

/** MXFP4 as gpt-oss has it in safetensors: neighbours share a byte, exponents lie apart. */
export const mxfp4Layout: Layout = integers({
  name: "MXFP4_PAIRS",
  order: "rows",
  bits: 4,
  codes: "e2m1",
  group: 32,
  scales: "e8m0",
});

/** FP8: a byte a value, one scale for all, for each output row, or for blocks of rows and inputs. */
export function fp8Layout(o: {
  readonly codes: "e4m3" | "e5m2";
  readonly by: "tensor" | "row" | readonly [rows: number, cols: number];
  readonly scales: Scales;
}): Layout {
  const { codes, by, scales } = o;
  const bytes = scaleBytes[scales];
  const cell: PlaneLayout =
    by === "row"
      ? { name: "scales", rows: 1, cols: 0, bytes }
      : by === "tensor"
        ? { name: "scales", rows: 0, cols: 0, bytes, whole: true }
        : { name: "scales", rows: by[0], cols: by[1], bytes, whole: true };
  const arranged = typeof by === "string" ? by.toUpperCase() : `BLOCK${by.join("X")}`;
  return known({
    id: noId,
    name: `FP8_${codes.toUpperCase()}_${arranged}_${scales.toUpperCase()}`,
    order: "rows",
    planes: [{ name: "values", rows: 1, cols: 1, bytes: 1 }, cell],
    acts: "f32",
    units: "floats",
    form: { codes, bits: 8, packing: "linear", scales, offsets: "constant", addend: 0, factor: 1 },
  });
}

/**
 * bitsandbytes' NF4 and FP4: 16 values, blocks of `block` inputs with a scale each, counted over the flattened matrix.
 * @param across blocks run on over the ends of rows: a row is not whole blocks
 * @param nestedOffset of double quantization: scales are bytes themselves, this is added to each
 */
export function bnb4Layout(o: {
  readonly codes: "nf4" | "fp4";
  readonly block: number;
  readonly across: boolean;
  readonly nestedOffset?: number;
}): Layout {
  const { codes, block, across, nestedOffset } = o;
  const nested = nestedOffset !== undefined;
  const scales = nested ? "nested" : "f32";
  const lies = across ? ({ rows: 1, whole: true, flat: true } as const) : { rows: 1 };
  const planes: PlaneLayout[] = [
    { name: "values", rows: 1, cols: 2, bytes: 1 },
    { name: "scales", cols: block, bytes: scaleBytes[scales], ...lies },
  ];
  if (nested)
    planes.push(
      { name: "nested scales", rows: 1, cols: 256 * block, bytes: 4, whole: true, flat: true },
      { name: "nested table", rows: 0, cols: 0, bytes: 1024, whole: true },
    );
  return known({
    id: noId,
    name: `${codes.toUpperCase()}_${block}${nested ? "_NESTED" : ""}${across ? "_ACROSS" : ""}`,
    order: "rows",
    planes,
    acts: "f32",
    units: "floats",
    form: { codes, bits: 4, packing: "high-first", scales, offsets: "constant", addend: 0, factor: nestedOffset ?? 1 },
  });
}

/** One of each kind that kernels tell apart: what tests and the self-check of instruction sets go through. */
export const planeLayouts: readonly Layout[] = [
  packedLayout({ bits: 4, group: 64, symmetric: false, scales: "f16" }),
  packedLayout({ bits: 4, group: 128, symmetric: true, scales: "bf16" }),
  packedLayout({ bits: 8, group: 0, symmetric: true, scales: "f32" }),
  packedLayout({ bits: 4, group: 32, symmetric: false, scales: "f16", actOrder: true }),
  packedLayout({ bits: 4, group: 32, symmetric: false, scales: "f32", offsets: "of groups, ragged" }),
  gptqLayout({ bits: 4, group: 64, format: 2 }),
  gptqLayout({ bits: 4, group: 128, format: 1 }),
  gptqLayout({ bits: 4, group: 0, format: 1 }),
  gptqLayout({ bits: 4, group: 64, format: 1, actOrder: true }),
  gptqLayout({ bits: 2, group: 32, format: 1 }),
  gptqLayout({ bits: 3, group: 64, format: 1 }),
  gptqLayout({ bits: 3, group: 128, format: 2, actOrder: true }),
  gptqLayout({ bits: 8, group: 128, format: 1 }),
  awqLayout(64),
  int8Layout("bf16"),
  llmInt8Layout,
  mxfp4Layout,
  fp8Layout({ codes: "e4m3", by: "tensor", scales: "f32" }),
  fp8Layout({ codes: "e4m3", by: "row", scales: "bf16" }),
  fp8Layout({ codes: "e4m3", by: [128, 128], scales: "f32" }),
  fp8Layout({ codes: "e5m2", by: "row", scales: "f32" }),
  bnb4Layout({ codes: "nf4", block: 64, across: false }),
  bnb4Layout({ codes: "nf4", block: 64, across: false, nestedOffset: Math.fround(0.0217) }),
  bnb4Layout({ codes: "fp4", block: 64, across: false }),
  bnb4Layout({ codes: "fp4", block: 256, across: true, nestedOffset: Math.fround(0.0217) }),
];
