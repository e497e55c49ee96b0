/**
 * A model whose next token is known, and whose blocks are right by construction. Layers add nothing, so a row stays the
 * embedding of its token; tokens of a cycle have orthogonal embeddings, and the head gives each the next one. A block
 * sees nothing but the hidden row it goes on from and takes it one step of the cycle further: a wrong row, or one of
 * another position, makes a wrong guess.
 */
import { closeSync, openSync, writeSync } from "node:fs";
import { openCheckpoint } from "../../src/containers/index.js";
import type { TensorInfo } from "../../src/formats/types.js";
import { type GuessingFamily, writeGuessingModel } from "./guessing-models.js";

/** Token ids of the cycle, in its order. */
export const cycle: readonly number[] = Array.from({ length: 60 }, (_, i) => 33 + ((7 * i) % 60));

const dims = 64;
const size = 8;
const addsToStream = /\.(attn_output|ffn_down\w*|ssm_out)\.weight$/;

/** @param wrong blocks go two steps: every guess is wrong */
export async function writeForetoldModel(folder: string, family: GuessingFamily, wrong = false): Promise<string> {
  const path = await writeGuessingModel(folder, family);
  const { tensors } = await openCheckpoint(path);
  const file = openSync(path, "r+");
  const fill = ({ planes, shape }: TensorInfo, value: (column: number, row: number) => number): void => {
    const cols = shape[0]!;
    const { offset, bytes } = Object.values(planes)[0]![0]!;
    const values = Float32Array.from({ length: bytes / 4 }, (_, i) => value(i % cols, Math.floor(i / cols)));
    writeSync(file, new Uint8Array(values.buffer), 0, bytes, offset);
  };
  try {
    for (const [name, tensor] of tensors) {
      if (addsToStream.test(name)) fill(tensor, () => 0);
      else if (name.endsWith("norm.weight") && tensor.shape.length === 1 && tensor.shape[0] === dims)
        fill(tensor, () => 1);
      else if (name.endsWith("nextn.eh_proj.weight"))
        // Its columns are [token ; hidden].
        fill(tensor, (column, row) => (column >= dims && row === step(column - dims, wrong ? 2 : 1) ? 1 : 0));
    }
    const place = new Map(cycle.map((id, i) => [id, i]));
    // Tokens besides are in the dimensions that are left.
    const own = (id: number): number => place.get(id) ?? cycle.length + (id % (dims - cycle.length));
    fill(tensors.get("token_embd.weight")!, (column, id) => (column === own(id) ? size : 0));
    fill(tensors.get("output.weight")!, (column, id) => (place.has(id) && column === step(own(id), -1) ? 1 : 0));
  } finally {
    closeSync(file);
  }
  return path;
}

/** A dimension of the cycle, so many steps further; the others stay. */
function step(dimension: number, steps: number): number {
  const { length } = cycle;
  return dimension >= length ? dimension : (dimension + steps + length) % length;
}
