/** The forward pass: it walks the bound list. One row is decode, many are prefill, rows of several sequences are a batch. */
import type { Ops, RowTable, Tensor } from "../ops/ops.js";
import type { Step } from "./bind-verbs.js";

export interface BoundStep {
  readonly run: Step;
  /** Tells the Ops which experts will probably be wanted; changes no number. */
  readonly hint: boolean;
}

/** One of the model's outputs: the calls that make it of some wanted rows, and where they leave it. */
export interface BoundOutput {
  readonly steps: readonly BoundStep[];
  /** [slice, cols] */
  readonly value: Tensor;
}

export interface BoundList {
  readonly ops: Ops;
  readonly layers: readonly BoundStep[];
  readonly logits: BoundOutput;
  readonly hidden: BoundOutput;
  /** Logits where JavaScript reads them [slice * vocab]: their own memory, or a copy. Found by the first pass that wants some. */
  logitValues: { readonly array: Float32Array; readonly own: boolean } | undefined;
}

/** Rows whose final normalized hidden state is wanted instead of logits: what embeddings are made of. */
export interface HiddenRows {
  /** Row indices, ascending. */
  readonly wanted: Int32Array;
  /** Slices [k, dim], valid during the call; `first` is the first row's index in `wanted`. */
  readonly onHidden: (hidden: Float32Array, first: number) => void;
}

/** More token rows want nearly every expert anyway. */
const mostExpectedRows = 16;

function walk(steps: readonly BoundStep[], n: number, wanted: Int32Array): void {
  for (const step of steps) if (!step.hint || n <= mostExpectedRows) step.run(n, wanted);
}

export async function forward(
  list: BoundList,
  rows: RowTable,
  wanted: Int32Array,
  onLogits: (logits: Float32Array, first: number) => void,
  hidden?: HiddenRows,
): Promise<void> {
  const { ops, logits } = list;
  ops.begin(rows);
  walk(list.layers, rows.count, wanted);
  if (wanted.length > 0) list.logitValues ??= logitValues(list);
  for (let first = 0; first < wanted.length; first += logits.value.rows) {
    const slice = wanted.subarray(first, first + logits.value.rows);
    walk(logits.steps, slice.length, slice);
    const { array, own } = list.logitValues!;
    onLogits(
      own ? array.subarray(0, slice.length * logits.value.cols) : await ops.read(logits.value, slice.length, array),
      first,
    );
  }
  if (hidden === undefined) return;
  for (let first = 0; first < hidden.wanted.length; first += list.hidden.value.rows) {
    const slice = hidden.wanted.subarray(first, first + list.hidden.value.rows);
    walk(list.hidden.steps, slice.length, slice);
    hidden.onHidden(await ops.read(list.hidden.value, slice.length), first);
  }
}

function logitValues({ ops, logits: { value } }: BoundList): NonNullable<BoundList["logitValues"]> {
  const view = ops.view?.(value);
  return { array: view ?? new Float32Array(value.rows * value.cols), own: view !== undefined };
}
