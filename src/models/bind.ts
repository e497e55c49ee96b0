/**
 * Turns a checkpoint into something that runs: every name is resolved here, once; then a flat list of calls over
 * handles.
 */
import { HundredweightError } from "../errors.js";
import type { Checkpoint } from "../formats/types.js";
import type { Arena, Ops, RowTable, SlotPool, Tensor } from "../ops/ops.js";
import type { WorkingSpace } from "../ops/working-space.js";
import { type Ablation, ablate } from "./ablation.js";
import { type GroupTurns, Handles, type KvGroup, type StateOptions } from "./bind-handles.js";
import { type ListedCall, type Places, placeValues } from "./bind-memory.js";
import { bindCall } from "./bind-verbs.js";
import { bindCheck } from "./check.js";
import type { AdapterRows } from "./chosen-rows.js";
import { describeModel, type ModelDescription, type ProgramDescription, withPrograms } from "./describe.js";
import type { ModelConfig } from "./flow/architecture.js";
import type { OutputName, Program } from "./flow/calls.js";
import type { Ids, Value } from "./flow/flow.js";
import type { Role } from "./flow/tensors.js";
import {
  type BoundList,
  type BoundOutput,
  type BoundStep,
  fill,
  forward,
  type HiddenRows,
  moreLogits,
  type PassExtras,
} from "./forward.js";
import { stageOf } from "./stage.js";

export type { GroupTurns, KvGroup } from "./bind-handles.js";

export interface ModelOptions extends StateOptions {
  /** Most rows of one pass whose logits are wanted. */
  readonly maxLogitRows: number;
  /** Another program of the file instead of the trunk. */
  readonly program?: string;
  /** Further programs beside it, over the same weights, states and memory. */
  readonly programs?: readonly string[];
  /** Layers [from, to) alone (stage.ts). */
  readonly stage?: readonly [from: number, to: number];
  /** Changes the list before it is bound: adapters, taps (rewrite.ts). */
  readonly rewrite?: (program: Program) => Program;
  /** Tests only: leaves something out. */
  readonly ablate?: Ablation;
  /** A tensor's own memory, where JavaScript can see it: logits need not be copied then. */
  readonly view?: (x: Tensor) => Float32Array;
}

/** A list of calls that can be walked. */
export interface BoundProgram {
  /**
   * One pass. Logits of the rows in `wanted` (indices into the row table, ascending) come in slices of at most 32 MiB;
   * `logits` [k, vocab] is valid during the call, `first` is its first row's index in `wanted`. Hidden states come
   * last.
   */
  forward(
    rows: RowTable,
    wanted: Int32Array,
    onLogits: (logits: Float32Array, first: number) => void,
    hidden?: HiddenRows,
    extras?: PassExtras,
  ): Promise<void>;
  /** A pass for what its rows keep, over before it returns; `of`: rows [count, dim] that it gives back. */
  fill(
    rows: RowTable,
    inputs: Readonly<Record<string, Float32Array>>,
    of?: "hidden" | "carried",
  ): Float32Array | undefined;
  /**
   * Logits of rows of the last pass of `forward`, in slices as there: what compares models makes them in turn. They
   * stay until more are made.
   */
  moreLogits(
    rows: RowTable,
    wanted: Int32Array,
    onLogits: (logits: Float32Array, first: number) => void,
  ): Promise<void>;
}

export interface BoundModel extends BoundProgram {
  readonly arch: string;
  readonly config: ModelConfig;
  readonly ops: Ops;
  readonly description: ModelDescription;
  /** In pool creation order = order of RowTable.blockTables. */
  readonly kvGroups: readonly KvGroup[];
  /** How stored keys go to other positions, by group and layer. */
  readonly turns: GroupTurns;
  /** The pool of states that are replaced; undefined when the model has none. */
  readonly slots: SlotPool | undefined;
  readonly tensorsUsed: number;
  readonly unusedTensors: readonly string[];
  readonly weightBytes: Readonly<Record<Role, number>>;
  /** Those bound beside the first. Every pass of any of them needs the block tables of all pools. */
  readonly programs: ReadonlyMap<string, BoundProgram>;
  /** Closes the Ops with everything bound to it. */
  close(): void;
}

/** Logits are made in slices, so that a prompt of a large vocabulary needs no gigabyte. */
const logitSliceBytes = 32 * 1024 * 1024;

/**
 * Binds a model and reads what stays of its weights.
 * @throws what describeModel throws; OPTION_INVALID for options out of range
 */
export async function bindModel(checkpoint: Checkpoint, ops: Ops, options: ModelOptions): Promise<BoundModel> {
  return bindDescription(describeModel(checkpoint), ops, options);
}

/** The same for a model that has been described.  @throws OPTION_INVALID for options out of range */
export async function bindDescription(
  description: ModelDescription,
  ops: Ops,
  options: ModelOptions,
): Promise<BoundModel> {
  const { config } = description;
  const { lists, space, kvGroups, slots, turns } = bindPrograms(description, ops, options);
  await ops.seal(space);
  const bound = lists.map(
    (list): BoundProgram => ({
      async forward(rows, wanted, onLogits, hidden, extras) {
        checkRows(rows, wanted, config.vocab, options);
        if (hidden !== undefined) checkRows(rows, hidden.wanted, config.vocab, options);
        await forward(list, rows, wanted, onLogits, hidden, extras);
      },
      fill(rows, inputs, of) {
        checkRows(rows, new Int32Array(), config.vocab, options);
        return fill(list, rows, inputs, of);
      },
      async moreLogits(rows, wanted, onLogits) {
        checkRows(rows, wanted, config.vocab, options);
        await moreLogits(list, rows, wanted, onLogits);
      },
    }),
  );
  const others = options.programs ?? [];
  return {
    ...bound[0]!,
    arch: description.arch,
    config,
    ops,
    description,
    kvGroups,
    turns,
    slots,
    programs: new Map(others.map((name, i) => [name, bound[i + 1]!])),
    tensorsUsed: description.tensors.length,
    unusedTensors: description.unusedTensors,
    weightBytes: description.weightBytes,
    close: () => ops.close(),
  };
}

/**
 * Makes the lists of calls of a program and of those beside it, and says what memory they need; nothing is read yet.
 * @throws OPTION_INVALID for options out of range
 */
export function bindPrograms(
  description: ModelDescription,
  ops: Ops,
  options: ModelOptions,
): {
  readonly lists: readonly BoundList[];
  readonly space: WorkingSpace;
  readonly kvGroups: readonly KvGroup[];
  readonly slots: SlotPool | undefined;
  readonly turns: GroupTurns;
} {
  checkOptions(options);
  const names = [...(options.program === undefined ? [] : [options.program]), ...(options.programs ?? [])];
  const first = changed(programOf(description, options.program).program, options);
  const programs = [first, ...(options.programs ?? []).map((name) => programOf(description, name).program)];
  const { tensors } = withPrograms(description, names);
  const handles = new Handles(ops, options, tensors, programs);
  const sliceRows = Math.floor(logitSliceBytes / (description.config.vocab * 4));
  const rowsOf = ({ rows }: Value): number => {
    const { maxRows, sequences, maxLogitRows } = options;
    const wanted = Math.max(1, Math.min(maxLogitRows, sliceRows));
    return { all: maxRows, wanted, sequences: Math.min(maxRows, sequences) }[rows];
  };
  const placed = programs.map((program) => placeValues(program, rowsOf));
  // One program runs after the other: their values lie in the same memory.
  const arena = ops.arena(Math.max(...placed.map(({ floats }) => floats)));
  const lists = programs.map((program, i) => bindList(program, placed[i]!, handles, options.view, ops, arena, rowsOf));
  const { space, kvGroups, slots } = handles;
  return { lists, space, kvGroups, slots, turns: handles.turnsOf(first) };
}

/** The list as the options want it. */
function changed(program: Program, { stage, ablate: rule, rewrite }: ModelOptions): Program {
  const staged = stage === undefined ? program : stageOf(program, ...stage);
  const ablated = rule === undefined ? staged : ablate(staged, rule);
  return rewrite?.(ablated) ?? ablated;
}

function programOf(description: ModelDescription, program: string | undefined): ProgramDescription {
  if (program === undefined) return description;
  const found = description.programs.get(program);
  if (found === undefined) throw new HundredweightError("OPTION_INVALID", `this model has no program '${program}'`);
  return found;
}

/** Every call with its operands, in the order of the program. */
function bindList(
  { outputs, inputs }: Program,
  places: Places,
  handles: Handles,
  view: ModelOptions["view"],
  ops: Ops,
  arena: Arena,
  rowsOf: (value: Value) => number,
): BoundList {
  const rowsBy = new Map<Ids, Int32Array>();
  const chosen = new Map<string, AdapterRows>();
  const operands = handles.operands(arena, places, rowsOf, rowsBy, chosen);
  const steps = new Map(
    places.calls.map((call): [ListedCall, BoundStep | undefined] => {
      const run = call.verb === "check" ? bindCheck(call, operands) : bindCall(call, operands);
      const rows = (call.inputs[0] ?? call.outputs[0])?.rows ?? "all";
      // What picks rows is given their number; what pools them, all rows.
      const set = call.verb === "pick" ? "wanted" : rows;
      return [call, run === undefined ? undefined : { run, rows: set, hint: call.hint }];
    }),
  );
  const bound = (calls: readonly ListedCall[]): BoundStep[] => calls.flatMap((call) => steps.get(call) ?? []);
  const output = (value: Value): BoundOutput => ({
    steps: bound(callsFor(value, places.calls.slice(places.end))),
    value: operands.tensor(value),
    rows: value.rows,
  });
  const layers = places.calls.slice(0, places.end);
  return {
    ops,
    layers: bound(layers),
    storing: bound(layers.slice(0, 1 + layers.findLastIndex((call) => "state" in call)).filter(({ hint }) => !hint)),
    inputs: new Map(Object.entries(inputs).map(([name, value]) => [name, operands.tensor(value)])),
    outputs: new Map(Object.entries(outputs).map(([name, value]) => [name as OutputName, output(value)])),
    view,
    logitValues: undefined,
    rowsBy,
    chosen: [...chosen.values()],
  };
}

/** The calls that a value is made of, in their order. */
function callsFor(value: Value, calls: readonly ListedCall[]): ListedCall[] {
  const wanted = new Set([value]);
  const found: ListedCall[] = [];
  for (const call of calls.toReversed()) {
    // A check is of the values it looks at; they are wanted by calls behind it.
    const about = call.verb === "check" ? call.inputs : call.outputs;
    if (!about.some((known) => wanted.has(known))) continue;
    for (const input of call.inputs) wanted.add(input);
    found.unshift(call);
  }
  return found;
}

function checkOptions(options: ModelOptions): void {
  for (const key of ["contextTokens", "maxRows", "sequences", "maxLogitRows"] as const)
    if (!Number.isSafeInteger(options[key]) || options[key] < 1)
      throw new HundredweightError("OPTION_INVALID", `${key} is ${options[key]}, expected a whole number above 0`);
}

/** Kernels index by these numbers, so they are checked here, once a pass. */
function checkRows(rows: RowTable, wanted: Int32Array, vocab: number, options: ModelOptions): void {
  if (rows.count < 1 || rows.count > options.maxRows)
    throw new HundredweightError("INTERNAL", `a pass of ${rows.count} token rows, at most ${options.maxRows} fit`);
  for (let t = 0; t < rows.count; t++) {
    if (!(rows.ids[t]! >= 0 && rows.ids[t]! < vocab))
      throw new HundredweightError("OPTION_INVALID", `token id ${rows.ids[t]} is outside the vocabulary of ${vocab}`);
    if (!(rows.positions[t]! >= 0 && rows.positions[t]! < options.contextTokens))
      throw new HundredweightError(
        "CONTEXT_EXCEEDED",
        `position ${rows.positions[t]} is outside the context of ${options.contextTokens} tokens`,
      );
  }
  for (const t of wanted)
    if (!(t >= 0 && t < rows.count)) throw new HundredweightError("INTERNAL", `no token row ${t} in this pass`);
}
