/** A matrix of a folder as bitsandbytes' 4 bits: its tensors, and what config.json says. */
import { fp4Values, nf4Values } from "../formats/decode-planes.js";
import type { TensorInfo } from "../formats/types.js";
import {
  type BookOptions,
  bitsandbytesConfig,
  bookBlock,
  bookCodes,
  bookScales,
  bookState,
  dynamicMap,
  nestedScales,
} from "./bitsandbytes.js";
import { folderUnsupported } from "./folder-method.js";
import { type FolderTensor, torchNames } from "./safetensors-file.js";
import { type Sources, StoredMatrix } from "./stored-matrix.js";

/** Values of some rows that are whole blocks together, one run after the other. */
function* runsOf(info: TensorInfo, files: Sources): Generator<Float32Array> {
  const matrix = new StoredMatrix(info, files);
  const { rows, cols } = matrix;
  let together = bookBlock;
  while (together % 2 === 0 && ((together / 2) * cols) % bookBlock === 0) together /= 2;
  for (let row = 0; row < rows; row += together) {
    const count = Math.min(together, rows - row);
    const values = new Float32Array(count * cols);
    for (let i = 0; i < count; i++) {
      const first = row + i - ((row + i) % matrix.run);
      matrix.decode(matrix.read(0, first), row + i, values.subarray(i * cols, (i + 1) * cols));
    }
    yield values;
  }
}

function scalesOf(info: TensorInfo, files: Sources): Float32Array {
  const [cols, rows] = info.shape as [number, number];
  const out = new Float32Array(Math.ceil((rows * cols) / bookBlock));
  let at = 0;
  for (const values of runsOf(info, files)) {
    const scales = bookScales(values);
    out.set(scales, at);
    at += scales.length;
  }
  return out;
}

const bytesOf = (values: Float32Array): Uint8Array =>
  new Uint8Array(values.buffer, values.byteOffset, values.byteLength);

/** The tensors of one matrix. The offset of nested scales stands in one of them, so those are read first. */
export function bookTensors(full: string, info: TensorInfo, options: BookOptions, files: Sources): FolderTensor[] {
  const [cols, rows] = info.shape as [number, number];
  const { codes, double } = options;
  if ((rows * cols) % 2 !== 0) throw folderUnsupported(full, "of an odd number of values");
  const blocks = Math.ceil((rows * cols) / bookBlock);
  const part = (
    ending: string,
    stored: "U8" | "F32",
    shape: readonly number[],
    data: () => Iterable<Uint8Array>,
  ): FolderTensor => {
    const cellBytes = stored === "U8" ? 1 : 4;
    const bytes = cellBytes * shape.reduce((product, size) => product * size, 1);
    const from = [{ name: full, layout: info.layout }];
    const name = `${full}${ending}`;
    const dtype = { name: stored };
    return {
      name,
      dtype,
      stored,
      cellBytes,
      bytes,
      shape: shape.toReversed(),
      from,
      changes: [codes],
      rounded: true,
      part: true,
      data,
    };
  };
  function* pairs(): Generator<Uint8Array> {
    for (const values of runsOf(info, files)) yield bookCodes(values, codes);
  }
  const book = Float32Array.from(codes === "nf4" ? nf4Values : fp4Values);
  const nested = double ? nestedScales(scalesOf(info, files)) : undefined;
  const state = bookState(options, torchNames[info.layout.name]!, [rows, cols], nested?.offset ?? 0);
  const out = [
    part("", "U8", [(rows * cols) / 2, 1], pairs),
    part(".quant_map", "F32", [16], () => [bytesOf(book)]),
    part(`.quant_state.bitsandbytes__${codes}`, "U8", [state.length], () => [state]),
  ];
  if (nested === undefined) return [...out, part(".absmax", "F32", [blocks], () => [bytesOf(scalesOf(info, files))])];
  return [
    ...out,
    part(".absmax", "U8", [blocks], () => [nested.codes]),
    part(".nested_absmax", "F32", [nested.outer.length], () => [bytesOf(nested.outer)]),
    part(".nested_quant_map", "F32", [256], () => [bytesOf(dynamicMap)]),
  ];
}

export function bookQuantization({ codes, double }: BookOptions): Record<string, unknown> {
  return bitsandbytesConfig({
    _load_in_4bit: true,
    bnb_4bit_quant_type: codes,
    bnb_4bit_use_double_quant: double,
    load_in_4bit: true,
  });
}
