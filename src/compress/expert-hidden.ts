/**
 * The rows that go into the last product of each expert. They are inside one verb of a pass, so they are made a second
 * time here, from the rows that go into the verb: act(gate x) * (up x), or act(up x).
 */
import { closeSync, readSync } from "node:fs";
import { HundredweightError } from "../errors.js";
import { blocksBytes, dtypeOf, onlyExtent, type TensorInfo } from "../formats/index.js";
import type { ExpertBody } from "../models/index.js";
import { requireAddon } from "../native/addon.js";
import type { NativeAddon } from "../native/addon.types.js";
import type { Activation, Glu } from "../ops/ops.js";
import { gluValue } from "../ops/reference-math.js";
import { actValue } from "../ops/reference-values.js";
import { openRegularSync } from "../regular-file.js";

type Matrix = ExpertBody["up"];

export class ExpertHidden {
  readonly #infos: ReadonlyMap<string, TensorInfo>;
  readonly #addon: Pick<NativeAddon, "dot" | "dequantize"> = requireAddon();
  readonly #files = new Map<string, number>();

  constructor(infos: ReadonlyMap<string, TensorInfo>) {
    this.#infos = infos;
  }

  close(): void {
    for (const file of this.#files.values()) closeSync(file);
    this.#files.clear();
  }

  /**
   * Calls `use` with the hidden rows of every expert that a row chose.
   * @returns false where the matrices do not lie as one range of a file: nothing is known of the hidden rows then
   */
  each(
    { gate, up, act }: ExpertBody,
    rows: Float32Array,
    chosen: Int32Array,
    use: (expert: number, hidden: Float32Array) => void,
  ): boolean {
    const matrices = gate === null ? [up] : [gate, up];
    if (!matrices.every((matrix) => this.#lies(matrix))) return false;
    const cols = up.cols;
    const count = rows.length / cols;
    const each = chosen.length / count;
    const of = new Map<number, number[]>();
    for (const [i, expert] of chosen.entries()) {
      const list = of.get(expert) ?? [];
      of.set(expert, list);
      list.push(Math.floor(i / each));
    }
    for (const expert of [...of.keys()].sort((a, b) => a - b)) {
      const own = of.get(expert)!;
      const x = new Float32Array(own.length * cols);
      for (const [k, row] of own.entries()) x.set(rows.subarray(row * cols, (row + 1) * cols), k * cols);
      const [first, second] = matrices.map((matrix) => this.#product(matrix, expert, x, own.length));
      const hidden = first!.map((v, i) =>
        second === undefined ? actValue(act as Activation, v) : gluValue(act as Glu, v, second[i]!),
      );
      use(expert, hidden);
    }
    return true;
  }

  #lies({ tensor, bias }: Matrix): boolean {
    const info = this.#infos.get(tensor.name);
    const extents = info?.planes.blocks;
    const whole = info !== undefined && extents?.length === 1 && dtypeOf(info.layout)?.acts !== undefined;
    if (!whole || bias === null) return whole;
    return this.#infos.get(bias.tensor.name)?.layout.name === "F32";
  }

  /** @returns [rows of x][rows of the matrix], biases added */
  #product({ tensor, bias, cols, rows }: Matrix, expert: number, x: Float32Array, count: number): Float32Array {
    const info = this.#infos.get(tensor.name)!;
    const dtype = dtypeOf(info.layout)!;
    const out = new Float32Array(count * rows);
    const bytes = this.#read(info, expert * rows * blocksBytes(dtype, cols)!, rows * blocksBytes(dtype, cols)!);
    this.#addon.dot(dtype.id, bytes, rows, cols, x, count, out, null, "gemm");
    if (bias === null) return out;
    const raw = this.#read(this.#infos.get(bias.tensor.name)!, 4 * expert * rows, 4 * rows);
    const more = new Float32Array(raw.buffer, raw.byteOffset, rows);
    for (let i = 0; i < out.length; i++) out[i]! += more[i % rows]!;
    return out;
  }

  #read(info: TensorInfo, from: number, length: number): Uint8Array {
    const { file: path, offset, bytes: all } = onlyExtent(info);
    const file = this.#files.get(path) ?? openRegularSync(path);
    this.#files.set(path, file);
    const bytes = new Uint8Array(length);
    for (let done = 0; done < length; ) {
      const read = from + length > all ? 0 : readSync(file, bytes, done, length - done, offset + from + done);
      if (read === 0) throw new HundredweightError("MODEL_CHANGED", `${path}: became shorter while it was read`);
      done += read;
    }
    return bytes;
  }
}
