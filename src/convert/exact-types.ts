/**
 * Types of GGUF that hold every value of a layout of several planes exactly, and the repacking into them. A block of 32
 * has one scale in f16 there, and codes less 8 (Q4_0) or 16 (Q5_0), codes and a minimum (Q4_1), or whole numbers of 8
 * bits (Q8_0).
 */
import { offsetOf, type StoredRows, scaleOf } from "../formats/decode-planes.js";
import { type Dtype, dtypeByName, dtypeOf } from "../formats/dtypes.js";
import { f16Table, toF16, writeU16 } from "../formats/float16.js";
import { type Form, unitInputs } from "../formats/layouts.js";
import { mxfp4Layout } from "../formats/plane-layouts.js";
import { codeReader } from "./plane-codes.js";
import type { StoredMatrix, StoredRun } from "./stored-matrix.js";

/** Whether this scale is one of f16. */
const isHalf = (value: number): boolean => f16Table()[toF16(value)] === value;

/** The lowest and the highest code, before the offset. */
function codesOf({ bits, codes }: Form): [low: number, high: number] {
  return codes === "signed" ? [-128, 127] : [0, 2 ** bits - 1];
}

/**
 * Reads scales and offsets of a matrix, not its values.
 * @returns undefined where no type holds all its values, or where that is not known
 */
export function exactType(matrix: StoredMatrix): Dtype | undefined {
  const { layout } = matrix.info;
  const own = dtypeOf(layout);
  if (own !== undefined) return own;
  if (layout.folded !== undefined) return dtypeByName(layout.folded.values);
  const { form } = layout;
  if (form === undefined || layout.units === "floats" || matrix.cols % unitInputs !== 0) return undefined;
  if (layout === mxfp4Layout) return dtypeByName("MXFP4");
  const group = layout.planes[1]!.cols || matrix.cols;
  if (group % unitInputs !== 0 || layout.planes.some(({ name }) => name === "index")) return undefined;
  let candidates = ["Q4_0", "Q4_1", "Q5_0", "Q8_0"];
  for (let expert = 0; expert < matrix.experts && candidates.length > 0; expert++)
    candidates = stillExact(matrix, form, expert, group, candidates);
  return candidates.length === 0 ? undefined : dtypeByName(candidates[0]!);
}

function stillExact(
  matrix: StoredMatrix,
  form: Form,
  expert: number,
  group: number,
  candidates: readonly string[],
): string[] {
  const { info, rows, cols } = matrix;
  const stored = info.layout.planes.map((_, i) => (i === 0 ? new Uint8Array() : matrix.plane(expert, i)));
  const from: StoredRows = { layout: info.layout, stored, rows, first: 0, cols };
  const [low, high] = codesOf(form);
  let left = [...candidates];
  for (let row = 0; row < rows && left.length > 0; row++)
    for (let input = 0; input < cols; input += group) {
      const [scale, offset] = [scaleOf(from, form, row, input), offsetOf(from, form, row, input)];
      if (!isHalf(scale)) return [];
      const [least, most] = [low - offset, high - offset];
      left = left.filter((name) => {
        if (name === "Q4_0") return least >= -8 && most <= 7;
        if (name === "Q4_1") return high - low <= 15 && isHalf(-scale * offset);
        if (name === "Q5_0") return least >= -16 && most <= 15;
        return least >= -128 && most <= 127;
      });
    }
  return left;
}

export type Repack = (row: number, out: Uint8Array, at: number) => void;

/** Writes rows of a run as blocks of a type that `exactType` found. */
export function repacker(matrix: StoredMatrix, run: StoredRun, dtype: Dtype): Repack {
  const { info, cols } = matrix;
  const { layout } = info;
  const form = layout.form!;
  const rows = layout.order === "inputs" ? matrix.rows : run.count;
  const from: StoredRows = { layout, stored: run.stored, rows, first: run.first, cols };
  const read = codeReader(from, form);
  const codes = new Uint8Array(unitInputs);
  const bytes = dtype.blockBytes;
  return (row, out, at) => {
    const own = layout.order === "inputs" ? row : row - run.first;
    for (let block = 0, to = at; block < cols / unitInputs; block++, to += bytes) {
      read(own, block, codes);
      if (dtype.name === "MXFP4") {
        out[to] = run.stored[1]![(own * cols) / unitInputs + block]!;
        packHalves(codes, 0, out, to + 1);
        continue;
      }
      const scale = scaleOf(from, form, own, unitInputs * block);
      const offset = offsetOf(from, form, own, unitInputs * block) + (form.codes === "signed" ? 128 : 0);
      writeU16(out, to, toF16(scale));
      if (dtype.name === "Q4_0") packHalves(codes, 8 - offset, out, to + 2);
      else if (dtype.name === "Q4_1") {
        writeU16(out, to + 2, offset === 0 ? 0 : toF16(-scale * offset));
        packHalves(codes, 0, out, to + 4);
      } else if (dtype.name === "Q5_0") packFifths(codes, 16 - offset, out, to + 2);
      else for (let i = 0; i < unitInputs; i++) out[to + 2 + i] = codes[i]! - offset;
    }
  };
}

/** The first 16 codes in the lower halves of bytes, the others in the upper ones. */
function packHalves(codes: Uint8Array, plus: number, out: Uint8Array, at: number): void {
  for (let i = 0; i < 16; i++) out[at + i] = (codes[i]! + plus) | ((codes[i + 16]! + plus) << 4);
}

/** The fifth bits of all codes in a word, then the others as above. */
function packFifths(codes: Uint8Array, plus: number, out: Uint8Array, at: number): void {
  for (let i = 0; i < 4; i++) out[at + i] = 0;
  for (let i = 0; i < unitInputs; i++) out[at + (i >> 3)]! |= ((codes[i]! + plus) >> 4) << (i & 7);
  for (let i = 0; i < 16; i++) {
    const [low, high] = [codes[i]! + plus, codes[i + 16]! + plus];
    out[at + 4 + i] = (low & 15) | ((high & 15) << 4);
  }
}
