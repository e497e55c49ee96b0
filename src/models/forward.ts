/**
 * The forward pass: it walks the bound list. One row is decode, many are prefill, rows of several sequences are a
 * batch.
 */

import { HundredweightError } from "../errors.js";
import type { Ops, RowTable, Tensor } from "../ops/ops.js";
import type { Step } from "./bind-operands.js";
import type { AdapterRows } from "./chosen-rows.js";
import type { OutputName } from "./flow/calls.js";
import type { Ids, RowSet } from "./flow/flow.js";

export interface BoundStep {
  readonly run: Step;
  /** The rows it works on. */
  readonly rows: RowSet;
  /** Tells the Ops which experts will probably be wanted; changes no number. */
  readonly hint: boolean;
}

/** One of the model's outputs: the calls that make it of some wanted rows, and where they leave it. */
export interface BoundOutput {
  readonly steps: readonly BoundStep[];
  /** [slice, cols], or [sequences, cols] */
  readonly value: Tensor;
  readonly rows: RowSet;
}

export interface BoundList {
  readonly ops: Ops;
  readonly layers: readonly BoundStep[];
  /** The first of them without hints, up to the last that stores a state: enough where nothing else is wanted. */
  readonly storing: readonly BoundStep[];
  /** Inputs of the program, by name. */
  readonly inputs: ReadonlyMap<string, Tensor>;
  readonly outputs: ReadonlyMap<OutputName, BoundOutput>;
  readonly view: ((x: Tensor) => Float32Array) | undefined;
  /** Table rows that each pass is asked for, by what makes them. */
  readonly rowsBy: ReadonlyMap<Ids, Int32Array>;
  /** Rows that adapters are for. */
  readonly chosen: readonly AdapterRows[];
  /**
   * Logits where JavaScript reads them [slice * vocab]: their own memory, or a copy. Found by the first pass that wants
   * some.
   */
  logitValues: { readonly array: Float32Array; readonly own: boolean } | undefined;
}

/** Rows whose final normalized hidden state is wanted instead of logits: what embeddings are made of. */
export interface HiddenRows {
  /** Row indices, ascending. */
  readonly wanted: Int32Array;
  /** Slices [k, dim], valid during the call; `first` is the first row's index in `wanted`. */
  readonly onHidden: (hidden: Float32Array, first: number) => void;
  /** Rows as blocks that guess further tokens go on from them, where the model has those apart. Default `hidden`. */
  readonly of?: "hidden" | "carried";
}

/** Further outputs and inputs of a pass, beside its rows. */
export interface PassExtras {
  /** One row for each of `lastRows`, in their order [sequences, cols]. */
  readonly onPooled?: (values: Float32Array) => void;
  readonly onRank?: (values: Float32Array) => void;
  /** Last rows of sequences, ascending; default: of all that the pass has. */
  readonly lastRows?: Int32Array;
  /** Takes the residual streams that a stage leaves, [rows, cols] each. */
  readonly onStreams?: (streams: Float32Array[]) => void;
  /** Values of the program's inputs, [rows, cols] each. */
  readonly inputs?: Readonly<Record<string, Float32Array>>;
  /** Rows that blocks which guess further tokens go on from, beside other hidden rows. */
  readonly carried?: HiddenRows | undefined;
}

/** More token rows want nearly every expert anyway. */
const mostExpectedRows = 16;

interface Counts {
  readonly all: number;
  readonly wanted: number;
  readonly sequences: number;
}

function walk(steps: readonly BoundStep[], { all, wanted: asked, sequences }: Counts, wanted: Int32Array): void {
  // Compared rather than looked up: this runs for every call of every pass.
  for (const { run, rows, hint } of steps)
    if (!hint || all <= mostExpectedRows) run(rows === "all" ? all : rows === "wanted" ? asked : sequences, wanted);
}

/** The last row of each sequence that the pass has rows of. */
function lastRowsOf({ count, sequences }: RowTable): Int32Array {
  const found: number[] = [];
  for (let t = 0; t < count; t++) if (t + 1 === count || sequences[t] !== sequences[t + 1]) found.push(t);
  return Int32Array.from(found);
}

export async function forward(
  list: BoundList,
  rows: RowTable,
  wanted: Int32Array,
  onLogits: (logits: Float32Array, first: number) => void,
  hidden?: HiddenRows,
  extras: PassExtras = {},
): Promise<void> {
  const { ops } = list;
  for (const [ids, into] of list.rowsBy) tableRows(ids, rows, into);
  ops.begin(rows);
  for (const [name, tensor] of list.inputs) ops.write(tensor, givenTo(name, extras, rows.count * tensor.cols));
  const ends = lastRowsOf(rows);
  const counts = { all: rows.count, wanted: 0, sequences: ends.length };
  for (const own of list.chosen) if (own.set !== "wanted") own.fill(rows, own.set === "all" ? null : ends);
  const choose = (of: Int32Array): void => {
    for (const own of list.chosen) if (own.set === "wanted") own.fill(rows, of);
  };
  choose(wanted);
  walk(list.layers, counts, wanted);
  if (wanted.length > 0) await logits(list, counts, wanted, onLogits, choose);
  for (const asked of [hidden, extras.carried]) {
    if (asked === undefined || asked.wanted.length === 0) continue;
    const { steps, value } = must(list, asked.of ?? "hidden");
    for (let first = 0; first < asked.wanted.length; first += value.rows) {
      const slice = asked.wanted.subarray(first, first + value.rows);
      choose(slice);
      walk(steps, { ...counts, wanted: slice.length }, slice);
      asked.onHidden(await ops.read(value, slice.length), first);
    }
  }
  if (extras.onStreams !== undefined) {
    const streams: Float32Array[] = [];
    for (const [name, { value }] of list.outputs)
      if (name.startsWith("stream")) streams.push((await ops.read(value, rows.count)).slice());
    extras.onStreams(streams);
  }
  if (extras.onPooled !== undefined) extras.onPooled(await ofTexts(list, "pooled", counts, ends, extras, choose));
  if (extras.onRank !== undefined) extras.onRank(await ofTexts(list, "rank", counts, ends, extras, choose));
}

/**
 * A pass for what its rows keep alone, over before it returns: whoever shares their pages may do so at once.
 * @param of the rows that are given back as well [rows, cols]
 */
export function fill(
  list: BoundList,
  rows: RowTable,
  inputs: Readonly<Record<string, Float32Array>>,
  of?: "hidden" | "carried",
): Float32Array | undefined {
  const { ops } = list;
  ops.begin(rows);
  for (const [name, tensor] of list.inputs) ops.write(tensor, givenTo(name, { inputs }, rows.count * tensor.cols));
  const counts = { all: rows.count, wanted: 0, sequences: lastRowsOf(rows).length };
  const all = Int32Array.from({ length: rows.count }, (_, t) => t);
  walk(of === undefined ? list.storing : list.layers, counts, all.subarray(0, 0));
  if (of === undefined) return undefined;
  const { steps, value } = must(list, of);
  const out = new Float32Array(rows.count * value.cols);
  for (let first = 0; first < rows.count; first += value.rows) {
    const slice = all.subarray(first, first + value.rows);
    walk(steps, { ...counts, wanted: slice.length }, slice);
    const read = ops.read(value, slice.length);
    if (read instanceof Promise) throw new HundredweightError("INTERNAL", "these Ops give no row at once");
    out.set(read, first * value.cols);
  }
  return out;
}

/**
 * Logits of further rows of the last pass, whose final rows are still in the arena: nobody has made another since.
 * @param rows the table of that pass
 */
export async function moreLogits(
  list: BoundList,
  rows: RowTable,
  wanted: Int32Array,
  onLogits: (logits: Float32Array, first: number) => void,
): Promise<void> {
  const counts = { all: rows.count, wanted: 0, sequences: lastRowsOf(rows).length };
  await logits(list, counts, wanted, onLogits, (of) => {
    for (const own of list.chosen) if (own.set === "wanted") own.fill(rows, of);
  });
}

async function logits(
  list: BoundList,
  counts: Counts,
  wanted: Int32Array,
  onLogits: (logits: Float32Array, first: number) => void,
  choose: (of: Int32Array) => void,
): Promise<void> {
  const { steps, value } = must(list, "logits");
  list.logitValues ??= logitValues(list, value);
  const { array, own } = list.logitValues;
  for (let first = 0; first < wanted.length; first += value.rows) {
    const slice = wanted.subarray(first, first + value.rows);
    choose(slice);
    walk(steps, { ...counts, wanted: slice.length }, slice);
    onLogits(
      own ? array.subarray(0, slice.length * value.cols) : await list.ops.read(value, slice.length, array),
      first,
    );
  }
}

/** Rows of an output that pools the rows of each sequence, or of one that is made of last rows alone. */
async function ofTexts(
  list: BoundList,
  name: "pooled" | "rank",
  counts: Counts,
  ends: Int32Array,
  { lastRows = ends }: PassExtras,
  choose: (of: Int32Array) => void,
): Promise<Float32Array> {
  const { steps, value, rows } = must(list, name);
  const all = new Float32Array(lastRows.length * value.cols);
  if (rows === "sequences") {
    walk(steps, counts, lastRows);
    const values = await list.ops.read(value, counts.sequences);
    for (const [i, row] of lastRows.entries()) {
      const at = value.cols * ends.indexOf(row);
      all.set(values.subarray(at, at + value.cols), value.cols * i);
    }
    return all;
  }
  for (let first = 0; first < lastRows.length; first += value.rows) {
    const slice = lastRows.subarray(first, first + value.rows);
    choose(slice);
    walk(steps, { ...counts, wanted: slice.length }, slice);
    all.set(await list.ops.read(value, slice.length), first * value.cols);
  }
  return all;
}

/** Which row of a table each row of the pass asks for. */
function tableRows({ back, row }: Ids, { count, positions, sequences, tokens }: RowTable, into: Int32Array): void {
  if (tokens === undefined) throw new HundredweightError("INTERNAL", "a pass without the tokens before its rows");
  const ids = new Array<number>(back.length);
  for (let t = 0; t < count; t++) {
    const timeline = tokens[sequences[t]!]!;
    for (const [i, b] of back.entries()) ids[i] = b > positions[t]! ? -1 : timeline[positions[t]! - b]!;
    into[t] = row(ids);
  }
}

function must({ outputs }: BoundList, name: OutputName): BoundOutput {
  const found = outputs.get(name);
  if (found === undefined) throw new HundredweightError("OPTION_INVALID", `this model has no output '${name}'`);
  return found;
}

function givenTo(name: string, { inputs }: PassExtras, length: number): Float32Array {
  const given = inputs?.[name];
  if (given?.length !== length)
    throw new HundredweightError("INTERNAL", `a pass needs ${length} values of '${name}', not ${given?.length ?? 0}`);
  return given;
}

function logitValues(list: BoundList, value: Tensor): NonNullable<BoundList["logitValues"]> {
  const view = list.view?.(value);
  return { array: view ?? new Float32Array(value.rows * value.cols), own: view !== undefined };
}
