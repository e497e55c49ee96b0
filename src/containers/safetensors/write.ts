/** A safetensors file, chunk by chunk. */
import type { SourceTensor } from "../stored/write-source.js";

/** The bytes of the file; each chunk is valid until the next is asked for. */
export function* safetensorsBytes(tensors: readonly SourceTensor[]): Generator<Uint8Array> {
  const header: Record<string, unknown> = { __metadata__: { format: "pt" } };
  let at = 0;
  for (const { name, dtype, shape, bytes } of tensors) {
    header[name] = { dtype, shape, data_offsets: [at, at + bytes] };
    at += bytes;
  }
  const text = Buffer.from(JSON.stringify(header));
  // The reference's writer pads so that tensors begin at multiples of eight.
  const padded = Buffer.concat([Buffer.alloc(8), text, Buffer.alloc((8 - (text.length % 8)) % 8, 0x20)]);
  padded.writeBigUInt64LE(BigInt(padded.length - 8));
  yield padded;
  for (const { data } of tensors) yield* data();
}
