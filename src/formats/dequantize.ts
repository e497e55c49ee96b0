/** The plain decoder of every type that can be computed with: the oracle of the kernels and the reference's reader. */
import { HundredweightError } from "../errors.js";
import type { DecodeBlock } from "./dequantize-32.js";
import {
  decodeIq4Nl,
  decodeMxfp4,
  decodeNvfp4,
  decodeQ4_0,
  decodeQ4_1,
  decodeQ5_0,
  decodeQ5_1,
  decodeQ8_0,
} from "./dequantize-32.js";
import { decodeIq4Xs, decodeQ2K, decodeQ3K, decodeQ4K, decodeQ5K, decodeQ6K } from "./dequantize-256.js";
import {
  decodeIq1M,
  decodeIq1S,
  decodeIq2S,
  decodeIq2Xs,
  decodeIq2Xxs,
  decodeIq3S,
  decodeIq3Xxs,
} from "./dequantize-grid.js";
import { decodeQ1_0, decodeQ2_0, decodeTq1_0, decodeTq2_0 } from "./dequantize-ternary.js";
import { blocksBytes, type Dtype } from "./dtypes.js";
import { f16Table, readU16 } from "./float16.js";

const decoders: Readonly<Record<string, DecodeBlock>> = {
  Q4_0: decodeQ4_0,
  Q4_1: decodeQ4_1,
  Q5_0: decodeQ5_0,
  Q5_1: decodeQ5_1,
  Q8_0: decodeQ8_0,
  IQ4_NL: decodeIq4Nl,
  MXFP4: decodeMxfp4,
  Q2_K: decodeQ2K,
  Q3_K: decodeQ3K,
  Q4_K: decodeQ4K,
  Q5_K: decodeQ5K,
  Q6_K: decodeQ6K,
  IQ4_XS: decodeIq4Xs,
  NVFP4: decodeNvfp4,
  Q1_0: decodeQ1_0,
  Q2_0: decodeQ2_0,
  TQ1_0: decodeTq1_0,
  TQ2_0: decodeTq2_0,
  IQ1_S: decodeIq1S,
  IQ1_M: decodeIq1M,
  IQ2_XXS: decodeIq2Xxs,
  IQ2_XS: decodeIq2Xs,
  IQ2_S: decodeIq2S,
  IQ3_XXS: decodeIq3Xxs,
  IQ3_S: decodeIq3S,
};

/**
 * Decodes one row (or any run of whole blocks); bit-equal to ggml. Whole numbers of 32 bits, which tables hold, are
 * exact below 2^24.
 * @shape bytes: of that many blocks, out: [cols]
 * @throws FORMAT_UNSUPPORTED for any other type without `acts`, INTERNAL when the lengths do not fit
 */
export function dequantizeRow(dtype: Dtype, bytes: Uint8Array, out: Float32Array): void {
  if (blocksBytes(dtype, out.length) !== bytes.length) {
    throw new HundredweightError("INTERNAL", `${out.length} values of ${dtype.name} are not ${bytes.length} bytes`);
  }
  switch (dtype.name) {
    case "F32":
      new Uint8Array(out.buffer, out.byteOffset, out.byteLength).set(bytes);
      return;
    case "F16": {
      const half = f16Table();
      for (let i = 0; i < out.length; i++) out[i] = half[readU16(bytes, 2 * i)]!;
      return;
    }
    case "BF16": {
      // Bit patterns, not numbers: a NaN's payload survives.
      const words = new Uint32Array(out.buffer, out.byteOffset, out.length);
      for (let i = 0; i < out.length; i++) words[i] = readU16(bytes, 2 * i) << 16;
      return;
    }
    case "I32": {
      const words = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      for (let i = 0; i < out.length; i++) out[i] = words.getInt32(4 * i, true);
      return;
    }
  }
  const decode = decoders[dtype.name];
  if (decode === undefined) {
    throw new HundredweightError("FORMAT_UNSUPPORTED", `tensors of type ${dtype.name} can be listed but not decoded`);
  }
  for (let at = 0, o = 0; at < bytes.length; at += dtype.blockBytes, o += dtype.blockValues) decode(bytes, at, out, o);
}
