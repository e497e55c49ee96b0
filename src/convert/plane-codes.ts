/** The integers of layouts of several planes, 32 inputs of a row at a time: for types of GGUF that hold them too. */
import { awqNibble, type StoredRows } from "../formats/decode-planes.js";
import type { Form } from "../formats/layouts.js";

/** Codes of 32 inputs of a row; signed ones 128 more. */
export type ReadCodes = (row: number, block: number, out: Uint8Array) => void;

/** @param from stored planes; `rows` is that of the words of a layout in the order of inputs */
export function codeReader({ layout, stored, rows, cols }: StoredRows, form: Form): ReadCodes {
  const { bits } = form;
  const bytes = stored[0]!;
  if (form.packing === "awq") return awqReader(words(bytes), rows);
  if (layout.order === "inputs") return inputsReader(words(bytes), rows, bits);
  const rowBytes = (cols * bits) / 8;
  const flip = form.codes === "signed" ? 128 : 0;
  if (bits === 8)
    return (row, block, out) => {
      const at = row * rowBytes + 32 * block;
      for (let i = 0; i < 32; i++) out[i] = bytes[at + i]! ^ flip;
    };
  return (row, block, out) => {
    const at = row * rowBytes + 16 * block;
    for (let i = 0; i < 16; i++) {
      const pair = bytes[at + i]!;
      out[2 * i] = pair & 15;
      out[2 * i + 1] = pair >> 4;
    }
  };
}

function awqReader(all: Uint32Array, rows: number): ReadCodes {
  const wide = rows / 8;
  return (row, block, out) => {
    const shift = 4 * awqNibble[row & 7]!;
    let at = 32 * block * wide + (row >> 3);
    for (let i = 0; i < 32; i++, at += wide) out[i] = (all[at]! >>> shift) & 15;
  };
}

/** 32 inputs are as many words as a code has bits, each `rows` words behind the one before. */
function inputsReader(all: Uint32Array, rows: number, bits: number): ReadCodes {
  const mask = 2 ** bits - 1;
  return (row, block, out) => {
    let at = block * bits * rows + row;
    let [held, have] = [0, 0];
    for (let w = 0, i = 0; w < bits; w++, at += rows) {
      const word = all[at]!;
      let used = 0;
      if (have > 0) {
        used = bits - have;
        out[i++] = held | ((word & (2 ** used - 1)) << have);
      }
      for (; used + bits <= 32; used += bits) out[i++] = (word >>> used) & mask;
      have = 32 - used;
      held = have > 0 ? word >>> used : 0;
    }
  };
}

/** Fresh buffers begin where words may. */
function words(bytes: Uint8Array): Uint32Array {
  return new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
}
