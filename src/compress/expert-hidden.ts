/**
 * The rows that go into the last product of each expert. They are inside one verb of a pass, so they are made a second
 * time here, from the rows that go into the verb: act(gate x) * (up x), or act(up x).
 */
import { closeSync, readSync } from "node:fs";
import { HundredweightError } from "../errors.js";
import { blocksBytes, dtypeOf, extentsWithin, type TensorInfo } from "../formats/index.js";
import type { ExpertBody, HeardExperts } from "../models/index.js";
import { requireAddon } from "../native/addon.js";
import type { NativeAddon } from "../native/addon.types.js";
import type { Activation, Glu } from "../ops/ops.js";
import { gluValue } from "../ops/reference-math.js";
import { actValue } from "../ops/reference-values.js";
import { openRegularSync } from "../regular-file.js";

type Matrix = ExpertBody["up"];

/** The rows that chose an expert. */
export interface ExpertRows {
  readonly expert: number;
  /** Places in the list of choices, ascending. */
  readonly slots: Int32Array;
  /** The rows they are of. */
  readonly rows: Int32Array;
  /** Rows that go into the last product [slots][hidden]. */
  readonly hidden: Float32Array;
}

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
   * Calls `use` with the hidden rows of every expert that a row chose, experts ascending.
   * @returns false where the matrices have no type that is read here: nothing is known of the hidden rows then
   */
  each(
    { body, ids, weights, weightsInput }: HeardExperts,
    rows: Float32Array,
    use: (rows: ExpertRows) => void,
  ): boolean {
    if (!this.knows(body)) return false;
    const each = ids.length / (rows.length / body.up.cols);
    const of = new Map<number, number[]>();
    for (const [slot, expert] of ids.entries()) {
      const list = of.get(expert) ?? [];
      of.set(expert, list);
      list.push(slot);
    }
    for (const expert of [...of.keys()].sort((a, b) => a - b)) {
      const slots = Int32Array.from(of.get(expert)!);
      const own = slots.map((slot) => Math.floor(slot / each));
      const hidden = this.hidden(
        body,
        expert,
        rows,
        own,
        weightsInput ? Float32Array.from(slots, (slot) => weights[slot]!) : null,
      );
      use({ expert, slots, rows: own, hidden });
    }
    return true;
  }

  /** Whether the bytes of an expert's matrices can be read as they lie. */
  knows({ gate, up, down }: ExpertBody): boolean {
    return [gate, up, down].every((matrix) => matrix === null || this.#lies(matrix));
  }

  /**
   * Makes what goes into an expert's last product, for some of the rows.
   * @param factors of each of them, where weights multiply what goes in
   * @shape [own][hidden]
   */
  hidden(
    { gate, up, act }: ExpertBody,
    expert: number,
    rows: Float32Array,
    own: Int32Array,
    factors: Float32Array | null,
  ): Float32Array {
    const { cols } = up;
    const x = new Float32Array(own.length * cols);
    for (const [k, row] of own.entries()) x.set(rows.subarray(row * cols, (row + 1) * cols), k * cols);
    const [first, second] = [gate, up]
      .filter((matrix) => matrix !== null)
      .map((matrix) => this.#product(matrix, expert, x, own.length, factors));
    return first!.map((v, i) =>
      second === undefined ? actValue(act as Activation, v) : gluValue(act as Glu, v, second[i]!),
    );
  }

  /** All values of a small tensor. */
  vector(name: string): Float32Array {
    const info = this.#infos.get(name)!;
    const values = new Float32Array(info.shape.reduce((product, size) => product * size, 1));
    const dtype = dtypeOf(info.layout)!;
    this.#addon.dequantize(dtype.id, this.#read(info, 0, blocksBytes(dtype, values.length)!), values, null);
    return values;
  }

  /** The values of an expert's matrix [rows][cols]. */
  values({ tensor, cols, rows }: Matrix, expert: number): Float32Array {
    const info = this.#infos.get(tensor.name)!;
    const dtype = dtypeOf(info.layout)!;
    const each = rows * blocksBytes(dtype, cols)!;
    const values = new Float32Array(rows * cols);
    this.#addon.dequantize(dtype.id, this.#read(info, expert * each, each), values, null);
    return values;
  }

  /** The result of an expert without its weight [count][dim]. */
  outputs({ down }: ExpertBody, expert: number, hidden: Float32Array): Float32Array {
    return this.#product(down, expert, hidden, hidden.length / down.cols, null);
  }

  #lies({ tensor, bias }: Matrix): boolean {
    const info = this.#infos.get(tensor.name);
    const whole = info !== undefined && dtypeOf(info.layout)?.acts !== undefined;
    if (!whole || bias === null) return whole;
    return this.#infos.get(bias.tensor.name)?.layout.name === "F32";
  }

  /** @returns [rows of x][rows of the matrix], times their factors, biases added */
  #product(
    { tensor, bias, cols, rows }: Matrix,
    expert: number,
    x: Float32Array,
    count: number,
    factors: Float32Array | null,
  ): Float32Array {
    const info = this.#infos.get(tensor.name)!;
    const dtype = dtypeOf(info.layout)!;
    const out = new Float32Array(count * rows);
    const bytes = this.#read(info, expert * rows * blocksBytes(dtype, cols)!, rows * blocksBytes(dtype, cols)!);
    this.#addon.dot(dtype.id, bytes, rows, cols, x, count, out, null, "gemm");
    if (factors !== null) for (let i = 0; i < out.length; i++) out[i]! *= factors[Math.floor(i / rows)]!;
    if (bias === null) return out;
    const raw = this.#read(this.#infos.get(bias.tensor.name)!, 4 * expert * rows, 4 * rows);
    const more = new Float32Array(raw.buffer, raw.byteOffset, rows);
    for (let i = 0; i < out.length; i++) out[i]! += more[i % rows]!;
    return out;
  }

  /** Bytes [from, from + length) of a tensor, whatever it is put together of. */
  #read(info: TensorInfo, from: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    let filled = 0;
    for (const part of extentsWithin(info.planes.blocks ?? [], from, length)) {
      this.#fill(part.file, part.offset, bytes.subarray(filled, filled + part.bytes));
      filled += part.bytes;
    }
    return bytes;
  }

  #fill(path: string, offset: number, bytes: Uint8Array): void {
    const file = this.#files.get(path) ?? openRegularSync(path);
    this.#files.set(path, file);
    for (let done = 0; done < bytes.length; ) {
      const read = readSync(file, bytes, done, bytes.length - done, offset + done);
      if (read === 0) throw new HundredweightError("MODEL_CHANGED", `${path}: became shorter while it was read`);
      done += read;
    }
  }
}
