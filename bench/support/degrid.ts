/**
 * A quantized model as one that could have been quantized: its values lie on a grid, which types with the same grid
 * would meet. Every value gets uniform noise of half a step either way; then no type is favoured.
 */

import { SourceFiles } from "../../src/compress/source-files.js";
import { type TensorSource, writeGguf } from "../../src/formats/gguf-write.js";
import {
  blocksBytes,
  type Dtype,
  dtypeByName,
  dtypeOf,
  type GgufCheckpoint,
  onlyExtent,
} from "../../src/formats/index.js";
import { requireAddon } from "../../src/native/addon.js";
import { Rng } from "../../src/sampling/rng.js";

/** Where the lowest bits of the codes of a block lie: flipped, every value moves by exactly a step. */
const lowest: Readonly<Record<string, { readonly from: number; readonly bytes: number; readonly mask: number }>> = {
  Q4_0: { from: 2, bytes: 16, mask: 0x11 },
  Q4_1: { from: 4, bytes: 16, mask: 0x11 },
  Q5_0: { from: 6, bytes: 16, mask: 0x11 },
  Q5_1: { from: 8, bytes: 16, mask: 0x11 },
  Q8_0: { from: 2, bytes: 32, mask: 0x01 },
  Q4_K: { from: 16, bytes: 128, mask: 0x11 },
  Q5_K: { from: 48, bytes: 128, mask: 0x11 },
  Q6_K: { from: 0, bytes: 128, mask: 0x11 },
};

const pieceValues = 1 << 20;

/**
 * Matrices become F16, everything else stays.
 * @throws for a type whose codes are not known here
 */
export async function writeDegridded(checkpoint: GgufCheckpoint, path: string, threads: number): Promise<void> {
  const addon = requireAddon();
  const files = new SourceFiles();
  const f16 = dtypeByName("F16")!;
  const f32 = dtypeByName("F32")!;
  const rng = new Rng(17);
  const tensors = [...checkpoint.tensors.values()].map((tensor): TensorSource => {
    const from = dtypeOf(tensor.layout)!;
    const [cols = 1, ...rest] = tensor.shape;
    const rows = rest.reduce((product, size) => product * size, 1);
    const { file, offset } = onlyExtent(tensor);
    const rowBytes = blocksBytes(from, cols)!;
    const read = async (row: number, count: number): Promise<Uint8Array> => {
      const bytes = new Uint8Array(count * rowBytes);
      await files.read(file, offset + row * rowBytes, bytes);
      return bytes;
    };
    const most = Math.max(1, Math.floor(pieceValues / cols));
    const isPlain = from.blockValues === 1;
    const pieces = async function* (): AsyncGenerator<Uint8Array> {
      for (let row = 0; row < rows; row += most) {
        const count = Math.min(most, rows - row);
        const bytes = await read(row, count);
        if (isPlain) {
          yield bytes;
          continue;
        }
        const values = noisy(from, bytes, count * cols, rng);
        const out = new Uint8Array(count * cols * 2);
        addon.encode(f32.id, new Uint8Array(values.buffer), f16.id, count, cols, null, out, threads, null);
        yield out;
      }
    };
    return { name: tensor.name, dtype: isPlain ? from : f16, shape: tensor.shape, data: pieces };
  });
  const metadata = [...checkpoint.metadata.entries()].filter(([key]) => !key.startsWith("split."));
  const typed = metadata.map(([key, value]) =>
    key === "general.file_type" ? ([key, { type: "u32", value: 1 }] as const) : ([key, value] as const),
  );
  try {
    await writeGguf(path, { metadata: typed, tensors }, { direct: true });
  } finally {
    await files.close();
  }
}

function noisy(from: Dtype, bytes: Uint8Array, count: number, rng: Rng): Float32Array {
  const place = lowest[from.name];
  if (place === undefined) throw new Error(`the steps of ${from.name} are not known here`);
  const addon = requireAddon();
  const values = new Float32Array(count);
  const moved = new Float32Array(count);
  addon.dequantize(from.id, bytes, values, null);
  for (let block = 0; block < bytes.length; block += from.blockBytes)
    for (let i = 0; i < place.bytes; i++) bytes[block + place.from + i]! ^= place.mask;
  addon.dequantize(from.id, bytes, moved, null);
  for (let i = 0; i < count; i++) values[i]! += Math.abs(moved[i]! - values[i]!) * (rng.uniform() - 0.5);
  return values;
}
