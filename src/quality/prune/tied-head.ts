/** A GGUF model whose head is its token embedding, stored once: what loads it takes the embedding for both. */
import { SourceFiles } from "../../compress/source-files.js";
import { HundredweightError } from "../../errors.js";
import { type GgufCheckpoint, storedBytes, type TensorInfo } from "../../formats/index.js";
import { describeModel } from "../../models/index.js";
import { type Pruned, prunedCheckpoint } from "./layers.js";
import { withTensors } from "./rows.js";

const refuse = (what: string): HundredweightError => new HundredweightError("OPTION_INVALID", `--tie: ${what}`);

/**
 * @returns the model without `output.weight`
 * @throws OPTION_INVALID where there is no such tensor, where it has other values than `token_embd.weight`, naming the
 *   first row that differs, and where the architecture wants both; FILE_IO, MODEL_CHANGED
 */
export async function withTiedHead(checkpoint: GgufCheckpoint): Promise<Pruned> {
  const head = checkpoint.tensors.get("output.weight");
  const embedding = checkpoint.tensors.get("token_embd.weight");
  if (head === undefined || embedding === undefined) throw refuse("the model has no output.weight: it is tied already");
  const of = ({ layout, shape }: TensorInfo): string => `${layout.name} [${shape.join(", ")}]`;
  if (of(head) !== of(embedding)) throw refuse(`output.weight is ${of(head)}, token_embd.weight ${of(embedding)}`);
  const at = await firstDifference(head, embedding);
  if (at !== undefined) {
    const row = Math.floor(at / (storedBytes(head.planes) / head.shape.at(-1)!));
    throw refuse(`output.weight is a matrix of its own: row ${row} has other values than token_embd.weight`);
  }
  const whole = withTensors(checkpoint, new Map(), new Map());
  const pruned = { ...whole, tensors: whole.tensors.filter(({ tensor }) => tensor !== head) };
  try {
    describeModel(prunedCheckpoint(checkpoint, pruned));
  } catch (error) {
    throw refuse(`this architecture wants both: ${(error as Error).message}`);
  }
  return pruned;
}

/** The first byte that two tensors of one form do not share. */
async function firstDifference(a: TensorInfo, b: TensorInfo): Promise<number | undefined> {
  const files = new SourceFiles();
  try {
    const others = files.pieces(b.planes.blocks!);
    let done = 0;
    for await (const piece of files.pieces(a.planes.blocks!)) {
      const { value } = await others.next();
      const other = value as Uint8Array;
      if (Buffer.compare(piece, other) !== 0) return done + piece.findIndex((byte, i) => byte !== other[i]);
      done += piece.length;
    }
    return undefined;
  } finally {
    await files.close();
  }
}
