/** A GGUF model with fewer channels in its feed-forward nets: those whose part of the output is smallest go. */
import type { Moments } from "../../compress/moments.js";
import { ColumnRepair } from "../../compress/repair.js";
import { SourceFiles } from "../../compress/source-files.js";
import { HundredweightError } from "../../errors.js";
import {
  decodeRow,
  dtypeOf,
  type GgufCheckpoint,
  onlyExtent,
  type TensorInfo,
  type TypedValue,
} from "../../formats/index.js";
import type { Pruned } from "./layers.js";
import { lastOf } from "./rows.js";

export interface ChannelOptions {
  readonly threads?: number;
  /** Whether what stays of the matrix behind makes good what went; default true. */
  readonly repair?: boolean;
}

const pieceRows = 256;
const refuse = (what: string): HundredweightError => new HundredweightError("OPTION_INVALID", `--ffn: ${what}`);

/**
 * @param keep channels of every layer that stay, a multiple of 32
 * @throws OPTION_INVALID for experts, layers of different widths, quantized matrices and moments of another model
 */
export async function withoutChannels(
  checkpoint: GgufCheckpoint,
  moments: Moments,
  keep: number,
  options: ChannelOptions = {},
): Promise<Pruned> {
  const arch = checkpoint.metadata.string("general.architecture") ?? "";
  const key = `${arch}.feed_forward_length`;
  const said = new Map(checkpoint.metadata.entries()).get(key);
  if (said === undefined || said.type === "array") throw refuse("the layers of this model differ in width");
  const hidden = Number(said.value);
  if (keep % 32 !== 0 || keep >= hidden) throw refuse(`${keep} of ${hidden} channels: a multiple of 32 below that`);
  const layers = checkpoint.metadata.number(`${arch}.block_count`) ?? 0;
  const repair = new ColumnRepair(moments, options.threads);
  const changed = new Map<string, Pruned["tensors"][number]>();
  for (let layer = 0; layer < layers; layer++) {
    const name = (part: string) => `blk.${layer}.ffn_${part}`;
    const down = checkpoint.tensors.get(name("down.weight"));
    const up = checkpoint.tensors.get(name("up.weight"));
    if (down?.shape[0] !== hidden || up?.shape[1] !== hidden || down.shape.length > 2)
      throw refuse(`layer ${layer} has no feed-forward net of ${hidden} channels with matrices of their own`);
    const dtype = dtypeOf(down.layout);
    if (dtype === undefined || dtype.blockValues > 1)
      throw refuse(`'${down.name}' is quantized; take F16, BF16 or F32`);
    const entry = moments.entries.get(down.name);
    if (entry?.cols !== hidden || entry.rows.length !== 1 || !(entry.rows[0]! > 0))
      throw refuse(`${moments.path} says nothing of '${down.name}'`);
    const kept = await keptChannels(down, repair.squares(entry), keep);
    for (const part of ["up.weight", "gate.weight", "up.bias", "gate.bias"]) {
      const tensor = checkpoint.tensors.get(name(part));
      if (tensor !== undefined) changed.set(tensor.name, { name: tensor.name, tensor: lastOf(tensor, kept) });
    }
    const shape = [keep, down.shape[1] ?? 1];
    const data = () => downBytes(down, kept, options.repair === false ? undefined : repair.for(entry, kept));
    changed.set(down.name, { name: down.name, tensor: { ...down, shape }, data });
  }
  for (const { name, shape } of checkpoint.tensors.values())
    if (/^blk\.\d+\.ffn_/.test(name) && !changed.has(name) && shape.includes(hidden))
      throw refuse(`'${name}' has a value for each channel too`);
  const metadata = new Map<string, TypedValue>(checkpoint.metadata.entries());
  metadata.set(key, { ...said, value: keep } as TypedValue);
  for (const name of metadata.keys()) if (name.startsWith("split.")) metadata.delete(name);
  const tensors = [...checkpoint.tensors.values()].map(
    (tensor) => changed.get(tensor.name) ?? { name: tensor.name, tensor },
  );
  return { metadata, tensors };
}

/** The channels whose share of the output's squares is largest, ascending. */
async function keptChannels(down: TensorInfo, squares: Float32Array, keep: number): Promise<Int32Array> {
  const weights = new Float64Array(squares.length);
  for await (const values of rowsOf(down))
    for (let i = 0; i < values.length; i++) weights[i % squares.length]! += values[i]! ** 2;
  const score = (channel: number) => weights[channel]! * squares[channel]!;
  const order = [...squares.keys()].sort((a, b) => score(b) - score(a) || a - b);
  return Int32Array.from(order.slice(0, keep)).sort();
}

/** Bytes of some rows of a matrix, one part after the other. */
async function* partsOf(down: TensorInfo): AsyncGenerator<{ first: number; rows: number; bytes: Uint8Array }> {
  const [cols = 1, rows = 1] = down.shape;
  const rowBytes = cols * dtypeOf(down.layout)!.blockBytes;
  const { file, offset } = onlyExtent(down);
  const files = new SourceFiles();
  try {
    for (let first = 0; first < rows; first += pieceRows) {
      const bytes = new Uint8Array(Math.min(pieceRows, rows - first) * rowBytes);
      await files.read(file, offset + first * rowBytes, bytes);
      yield { first, rows: bytes.length / rowBytes, bytes };
    }
  } finally {
    await files.close();
  }
}

async function* rowsOf(down: TensorInfo): AsyncGenerator<Float32Array> {
  const cols = down.shape[0]!;
  for await (const { rows, bytes } of partsOf(down)) {
    const values = new Float32Array(rows * cols);
    for (let row = 0; row < rows; row++)
      decodeRow(down.layout, [bytes], rows, row, values.subarray(row * cols, (row + 1) * cols));
    yield values;
  }
}

async function* downBytes(
  down: TensorInfo,
  kept: Int32Array,
  repaired: ReturnType<ColumnRepair["for"]> | undefined,
): AsyncGenerator<Uint8Array> {
  const dtype = dtypeOf(down.layout)!;
  const cols = down.shape[0]!;
  for await (const part of partsOf(down)) {
    if (repaired !== undefined) {
      yield repaired({ name: down.name, dtype, cols, ...part });
      continue;
    }
    const cell = dtype.blockBytes;
    const out = new Uint8Array(part.rows * kept.length * cell);
    for (let row = 0, at = 0; row < part.rows; row++)
      for (const column of kept) {
        const from = (row * cols + column) * cell;
        out.set(part.bytes.subarray(from, from + cell), at);
        at += cell;
      }
    yield out;
  }
}
