/**
 * The last matrices of the experts that stay, fitted to what the layer said with all of them: least squares, one expert
 * after the other. What goes into the layer is that of the whole model.
 */
import { encodeValues } from "../../../compress/encode-values.js";
import type { ExpertHidden } from "../../../compress/expert-hidden.js";
import { fitRidge, timesRows } from "../../../compress/ridge.js";
import { type Checkpoint, type Dtype, dtypeOf } from "../../../formats/index.js";
import {
  describeModel,
  type ExpertLayer,
  type HeardExperts,
  type ModelDescription,
  withExpertTaps,
} from "../../../models/index.js";
import { defaultThreads } from "../../../native/threads.js";
import type { RouteSpec } from "../../../ops/ops.js";
import { routeRow } from "../../../ops/reference-math.js";
import { type VisitOptions, visit } from "../visit.js";
import { expertReader, refuse } from "./saliency.js";

/** Rows that went through the experts of a layer while a text was read. */
interface HeardLayer {
  /** [tokens][cols] */
  readonly rows: Float32Array;
  /** [tokens][experts] */
  readonly scores: Float32Array;
  /** [tokens][topK] */
  readonly ids: Int32Array;
  readonly weights: Float32Array;
}

export interface RepairOptions extends VisitOptions {
  /** Bytes of rows that are kept at once; for more layers the text is read again. At least one layer is. */
  readonly rowBytes: number;
}

export class ExpertRepair {
  readonly #checkpoint: Checkpoint;
  readonly #description: ModelDescription;
  readonly #layers: readonly ExpertLayer[];
  readonly #kept: ReadonlyMap<number, Int32Array>;
  readonly #chunks: readonly Int32Array[];
  readonly #options: RepairOptions;
  readonly #hidden: ExpertHidden;
  #heard = new Map<number, HeardLayer>();

  /**
   * @param layers in the order in which they will be asked for
   * @throws OPTION_INVALID for quantized matrices
   */
  constructor(
    checkpoint: Checkpoint,
    layers: readonly ExpertLayer[],
    kept: ReadonlyMap<number, Int32Array>,
    chunks: readonly Int32Array[],
    options: RepairOptions,
  ) {
    this.#checkpoint = checkpoint;
    this.#description = describeModel(checkpoint);
    [this.#layers, this.#kept, this.#chunks, this.#options] = [layers, kept, chunks, options];
    this.#hidden = expertReader(this.#description);
    for (const { call } of layers) {
      const { tensor } = call.body.down;
      if (tensor.made !== undefined || typeOf(this.#description, tensor.name).blockValues > 1)
        throw refuse(`'${tensor.name}' is quantized; take F16, BF16 or F32, or --no-repair`);
    }
  }

  close(): void {
    this.#hidden.close();
  }

  /** The bytes of the matrices that stay, in the type that they have, one expert after the other. */
  async *matrices(layer: number): AsyncGenerator<Uint8Array> {
    if (!this.#heard.has(layer)) await this.#hear(layer);
    const heard = this.#heard.get(layer)!;
    this.#heard.delete(layer);
    const found = this.#layers.find((one) => one.layer === layer)!;
    const dtype = typeOf(this.#description, found.call.body.down.tensor.name);
    const threads = this.#options.threads ?? defaultThreads();
    for (const values of this.#fitted(found, heard))
      yield encodeValues(dtype, values, found.call.body.down.cols, threads).bytes;
  }

  /** Reads the text for as many layers as memory is for, beginning with this one. */
  async #hear(first: number): Promise<void> {
    const tokens = this.#chunks.reduce((sum, { length }) => sum + length, 0);
    const bytesOf = ({ call, route: { routes } }: ExpertLayer): number =>
      4 * tokens * (call.body.up.cols + routes.experts + 2 * routes.topK);
    const wanted = new Map<number, HeardLayer & { at: number; scored: number }>();
    let bytes = 0;
    for (const one of this.#layers.slice(this.#layers.findIndex(({ layer }) => layer === first))) {
      bytes += bytesOf(one);
      if (wanted.size > 0 && bytes > this.#options.rowBytes) break;
      const { routes } = one.route;
      wanted.set(one.layer, {
        rows: new Float32Array(tokens * one.call.body.up.cols),
        scores: new Float32Array(tokens * routes.experts),
        ids: new Int32Array(tokens * routes.topK),
        weights: new Float32Array(tokens * routes.topK),
        ...{ at: 0, scored: 0 },
      });
    }
    const listener = {
      scores: (layer: number, values: Float32Array): void => {
        const into = wanted.get(layer);
        if (into === undefined) return;
        into.scores.set(values, into.scored);
        into.scored += values.length;
      },
      inputs: (layer: number, values: Float32Array, { ids, weights, body }: HeardExperts): void => {
        const into = wanted.get(layer);
        if (into === undefined) return;
        const { cols } = body.up;
        const topK = ids.length / (values.length / cols);
        into.rows.set(values, into.at * cols);
        into.ids.set(ids, into.at * topK);
        into.weights.set(weights, into.at * topK);
        into.at += values.length / cols;
      },
    };
    const rewrite: VisitOptions["rewrite"] = (program) => withExpertTaps(program, listener);
    await visit(this.#checkpoint, this.#chunks, { ...this.#options, rewrite });
    this.#heard = wanted;
  }

  *#fitted({ route, call }: ExpertLayer, heard: HeardLayer): Generator<Float32Array> {
    const { body, weightsInput } = call;
    const kept = this.#kept.get(call.body.down.tensor.layer)!;
    const dim = body.down.rows;
    const missing = new Float32Array((heard.rows.length / body.up.cols) * dim);
    const add = (experts: HeardExperts, sign: number): void => {
      this.#hidden.each(experts, heard.rows, ({ expert, slots, rows, hidden }) => {
        const out = this.#hidden.outputs(body, expert, hidden);
        for (const [k, row] of rows.entries()) {
          const weight = sign * (weightsInput ? 1 : experts.weights[slots[k]!]!);
          for (let i = 0; i < dim; i++) missing[row * dim + i]! += weight * out[k * dim + i]!;
        }
      });
    };
    add({ ids: heard.ids, weights: heard.weights, body, weightsInput }, 1);
    const now = this.#routedAgain(route, heard.scores, kept);
    add({ ...now, body, weightsInput }, -1);
    const slots = new Map<number, number[]>(Array.from(kept, (expert) => [expert, []]));
    for (const [slot, expert] of now.ids.entries()) slots.get(expert)!.push(slot);
    for (const expert of kept) {
      const values = this.#hidden.values(body.down, expert);
      const own = slots.get(expert)!;
      if (own.length > 0) {
        const topK = now.ids.length / (heard.rows.length / body.up.cols);
        const rows = Int32Array.from(own, (slot) => Math.floor(slot / topK));
        const weights = Float32Array.from(own, (slot) => now.weights[slot]!);
        const inputs = this.#hidden.hidden(body, expert, heard.rows, rows, weightsInput ? weights : null);
        if (!weightsInput)
          for (let i = 0; i < inputs.length; i++) inputs[i]! *= weights[Math.floor(i / body.down.cols)]!;
        fit(values, inputs, missing, rows, body.down.cols);
      }
      yield values;
    }
  }

  /** Chooses as if only these experts were there, under their old numbers. */
  #routedAgain(
    { spec, selectionBias, factors, routes }: ExpertLayer["route"],
    scores: Float32Array,
    kept: Int32Array,
  ): Pick<HeardExperts, "ids" | "weights"> {
    const topK = Math.min(kept.length, routes.topK);
    const of = (vector: typeof factors): Float32Array | null =>
      vector === null ? null : pick(this.#hidden.vector(vector.tensor.name), kept);
    const [bias, own] = [of(selectionBias), of(factors)];
    const count = scores.length / routes.experts;
    const ids = new Int32Array(count * topK);
    const weights = new Float32Array(count * topK);
    const choice: RouteSpec = { ...spec, topK, selectionBias: null };
    for (let row = 0; row < count; row++) {
      const logits = pick(scores.subarray(row * routes.experts, (row + 1) * routes.experts), kept);
      const chosen = routeRow(logits, choice, bias, own);
      ids.set(
        chosen.ids.map((at) => kept[at]!),
        row * topK,
      );
      weights.set(chosen.weights, row * topK);
    }
    return { ids, weights };
  }
}

/**
 * Changes an expert's matrix by what least squares finds for its rows, and what is missing by what it makes of them
 * then. Few rows say little of a matrix of many columns: the fewer, the less it may change.
 * @param values [dim][cols]
 * @param inputs weighted [own][cols]
 * @param missing [tokens][dim]; of the rows that `rows` names
 */
function fit(values: Float32Array, inputs: Float32Array, missing: Float32Array, rows: Int32Array, cols: number): void {
  const dim = values.length / cols;
  const wanted = new Float32Array(rows.length * dim);
  for (const [k, row] of rows.entries()) wanted.set(missing.subarray(row * dim, (row + 1) * dim), k * dim);
  const change = fitRidge(inputs, cols, wanted, leastRidge + (ridgeOfFew * cols) / rows.length);
  for (let i = 0; i < values.length; i++) values[i]! += change[i]!;
  const made = timesRows(change, cols, inputs);
  for (const [k, row] of rows.entries()) for (let i = 0; i < dim; i++) missing[row * dim + i]! -= made[k * dim + i]!;
}

/** Shares of the mean diagonal; measured, decision 0098. */
const leastRidge = 0.05;
const ridgeOfFew = 4;

const pick = (values: Float32Array, kept: Int32Array): Float32Array => Float32Array.from(kept, (at) => values[at]!);

const typeOf = ({ tensors }: ModelDescription, name: string): Dtype =>
  dtypeOf(tensors.find((tensor) => tensor.name === name)!.info.layout)!;
