/**
 * Plain encoders, for models in every type made by tests and tools. Q1_0 Q2_0 TQ1_0 TQ2_0 NVFP4 Q4_0 Q4_1 Q5_0 Q5_1
 * Q8_0 MXFP4 F16 BF16 give ggml's bytes; the K types and the IQ types are fitted by our own least squares, about as
 * close as ggml's without an importance matrix.
 */
import { HundredweightError } from "../errors.js";
import { blocksBytes, type Dtype } from "../formats/dtypes.js";
import { toBf16, toF16, writeU16 } from "../formats/float16.js";
import type { EncodeBlock } from "./quantize-32.js";
import { encodeIq4Nl, encodeMxfp4, encodeQ4_0, encodeQ4_1, encodeQ5_0, encodeQ5_1, encodeQ8_0 } from "./quantize-32.js";
import { encodeIq4Xs, encodeQ2K, encodeQ3K, encodeQ4K, encodeQ5K, encodeQ6K } from "./quantize-256.js";
import {
  encodeIq1M,
  encodeIq1S,
  encodeIq2S,
  encodeIq2Xs,
  encodeIq2Xxs,
  encodeIq3S,
  encodeIq3Xxs,
} from "./quantize-grid.js";
import { encodeNvfp4, encodeQ1_0, encodeQ2_0, encodeTq1_0, encodeTq2_0 } from "./quantize-ternary.js";

const encoders: Readonly<Record<string, EncodeBlock>> = {
  Q4_0: encodeQ4_0,
  Q4_1: encodeQ4_1,
  Q5_0: encodeQ5_0,
  Q5_1: encodeQ5_1,
  Q8_0: encodeQ8_0,
  IQ4_NL: encodeIq4Nl,
  MXFP4: encodeMxfp4,
  Q2_K: encodeQ2K,
  Q3_K: encodeQ3K,
  Q4_K: encodeQ4K,
  Q5_K: encodeQ5K,
  Q6_K: encodeQ6K,
  IQ4_XS: encodeIq4Xs,
  NVFP4: encodeNvfp4,
  Q1_0: encodeQ1_0,
  Q2_0: encodeQ2_0,
  TQ1_0: encodeTq1_0,
  TQ2_0: encodeTq2_0,
  IQ1_S: encodeIq1S,
  IQ1_M: encodeIq1M,
  IQ2_XXS: encodeIq2Xxs,
  IQ2_XS: encodeIq2Xs,
  IQ2_S: encodeIq2S,
  IQ3_XXS: encodeIq3Xxs,
  IQ3_S: encodeIq3S,
};

/**
 * Encodes one row (or any run of whole blocks).
 * @shape x: [cols], out: of that many blocks
 * @throws FORMAT_UNSUPPORTED for a type without `acts`; MODEL_INVALID for a block type when a value is not finite;
 *   INTERNAL when the lengths do not fit
 */
export function quantizeRow(dtype: Dtype, x: Float32Array, out: Uint8Array): void {
  if (blocksBytes(dtype, x.length) !== out.length) {
    throw new HundredweightError("INTERNAL", `${x.length} values of ${dtype.name} are not ${out.length} bytes`);
  }
  switch (dtype.name) {
    case "F32":
      out.set(new Uint8Array(x.buffer, x.byteOffset, x.byteLength));
      return;
    case "F16":
      for (let i = 0; i < x.length; i++) writeU16(out, 2 * i, toF16(x[i]!));
      return;
    case "BF16":
      for (let i = 0; i < x.length; i++) writeU16(out, 2 * i, toBf16(x[i]!));
      return;
  }
  const encode = encoders[dtype.name];
  if (encode === undefined) {
    throw new HundredweightError("FORMAT_UNSUPPORTED", `tensors of type ${dtype.name} cannot be made`);
  }
  let bad = -1;
  // The difference of infinities, and of what is no number, is none.
  for (let i = 0; i < x.length && bad < 0; i++) if (x[i]! - x[i]! !== 0) bad = i;
  if (bad >= 0) {
    throw new HundredweightError("MODEL_INVALID", `value ${bad} of a row is ${x[bad]}; ${dtype.name} cannot hold it`);
  }
  out.fill(0);
  for (let at = 0, o = 0; at < out.length; at += dtype.blockBytes, o += dtype.blockValues) encode(x, o, out, at);
}
