/** Turns a checkpoint into something that runs: every name is resolved here, once; then a flat list of calls over handles. */
import { HundredweightError } from "../errors.js";
import type { Checkpoint, TensorInfo } from "../formats/types.js";
import {
  type KvPool,
  type KvType,
  type MatrixSource,
  type Ops,
  pagePositions,
  type RowTable,
  type Tensor,
} from "../ops/ops.js";
import { WorkingSpace } from "../ops/working-space.js";
import { type Ablation, ablate } from "./ablation.js";
import { type ListedCall, type Places, placeValues } from "./bind-memory.js";
import { bindCall, type Operands } from "./bind-verbs.js";
import { describeModel, type ModelDescription, type ProgramDescription } from "./describe.js";
import type { ModelConfig } from "./flow/architecture.js";
import { type OutputName, type Program, windowsOf } from "./flow/calls.js";
import type { State, Value, VectorWeight } from "./flow/flow.js";
import { ropeSpec } from "./flow/rope.js";
import type { Role } from "./flow/tensors.js";
import {
  type BoundList,
  type BoundOutput,
  type BoundStep,
  forward,
  type HiddenRows,
  type PassExtras,
} from "./forward.js";
import { stageOf } from "./stage.js";

export interface ModelOptions {
  /** Longest sequence, tokens. */
  readonly contextTokens: number;
  /** Most token rows of one pass. */
  readonly maxRows: number;
  /** Sequences held at once. */
  readonly sequences: number;
  /** Positions all sequences share; default: each may reach the whole context. */
  readonly kvTokens?: number;
  readonly kvType: KvType;
  /** Most rows of one pass whose logits are wanted. */
  readonly maxLogitRows: number;
  /** Another program of the file instead of the trunk. */
  readonly program?: string;
  /** Layers [from, to) alone (stage.ts). */
  readonly stage?: readonly [from: number, to: number];
  /** Changes the list before it is bound: adapters, taps (rewrite.ts). */
  readonly rewrite?: (program: Program) => Program;
  /** Tests only: leaves something out. */
  readonly ablate?: Ablation;
  /** A tensor's own memory, where JavaScript can see it: logits need not be copied then. */
  readonly view?: (x: Tensor) => Float32Array;
}

export interface KvGroup {
  readonly pool: KvPool;
  /** 0 = full. */
  readonly window: number;
}

export interface BoundModel {
  readonly arch: string;
  readonly config: ModelConfig;
  readonly ops: Ops;
  readonly description: ModelDescription;
  /** In pool creation order = order of RowTable.blockTables. */
  readonly kvGroups: readonly KvGroup[];
  readonly tensorsUsed: number;
  readonly unusedTensors: readonly string[];
  readonly weightBytes: Readonly<Record<Role, number>>;
  /**
   * One pass. Logits of the rows in `wanted` (indices into the row table, ascending) come in slices of at most 32 MiB;
   * `logits` [k, vocab] is valid during the call, `first` is its first row's index in `wanted`. Hidden states come last.
   */
  forward(
    rows: RowTable,
    wanted: Int32Array,
    onLogits: (logits: Float32Array, first: number) => void,
    hidden?: HiddenRows,
    extras?: PassExtras,
  ): Promise<void>;
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
  const { list, space, kvGroups } = bindProgram(description, ops, options);
  await ops.seal(space);
  return {
    arch: description.arch,
    config,
    ops,
    description,
    kvGroups,
    tensorsUsed: description.tensors.length,
    unusedTensors: description.unusedTensors,
    weightBytes: description.weightBytes,
    async forward(rows, wanted, onLogits, hidden, extras) {
      checkRows(rows, wanted, config.vocab, options);
      if (hidden !== undefined) checkRows(rows, hidden.wanted, config.vocab, options);
      await forward(list, rows, wanted, onLogits, hidden, extras);
    },
    close: () => ops.close(),
  };
}

/**
 * Makes the list of calls of a program, and says what memory they need; nothing is read yet.
 * @throws OPTION_INVALID for options out of range
 */
export function bindProgram(
  description: ModelDescription,
  ops: Ops,
  options: ModelOptions,
): { readonly list: BoundList; readonly space: WorkingSpace; readonly kvGroups: readonly KvGroup[] } {
  checkOptions(options);
  const chosen = programOf(description, options);
  const staged = options.stage === undefined ? chosen.program : stageOf(chosen.program, ...options.stage);
  const ablated = options.ablate === undefined ? staged : ablate(staged, options.ablate);
  const program = options.rewrite?.(ablated) ?? ablated;
  const binder = new ModelBinder(ops, options, { ...description, tensors: chosen.tensors }, program);
  const list = binder.bind();
  return { list, space: binder.space, kvGroups: binder.kvGroups };
}

function programOf(description: ModelDescription, { program }: ModelOptions): ProgramDescription {
  if (program === undefined) return description;
  const found = description.programs.get(program);
  if (found === undefined) throw new HundredweightError("OPTION_INVALID", `this model has no program '${program}'`);
  return found;
}

/** Hands out handles; what has the same name, place or numbers is one. */
class ModelBinder {
  readonly kvGroups: KvGroup[] = [];
  readonly space: WorkingSpace;
  readonly #tensors: ReadonlyMap<string, TensorInfo>;
  readonly #ops: Ops;
  readonly #options: ModelOptions;
  readonly #program: Program;
  readonly #sliceRows: number;
  readonly #states = new Map<State, ReturnType<Operands["pool"]>>();

  constructor(ops: Ops, options: ModelOptions, description: ModelDescription, program: Program) {
    this.#tensors = new Map(description.tensors.map((tensor) => [tensor.name, tensor.info]));
    this.#ops = ops;
    this.#options = options;
    this.#program = program;
    const rows = Math.floor(logitSliceBytes / (description.config.vocab * 4));
    this.#sliceRows = Math.max(1, Math.min(options.maxLogitRows, rows));
    this.#makePools();
    const entries = options.sequences * Math.ceil(options.contextTokens / pagePositions);
    this.space = new WorkingSpace(
      options.maxRows,
      this.kvGroups.map(() => entries),
    );
  }

  bind(): BoundList {
    const { outputs, inputs } = this.#program;
    const places = placeValues(this.#program, (value) => this.#rowsOf(value));
    const operands = this.#operands(places);
    const steps = new Map(
      places.calls.map((call): [ListedCall, BoundStep | undefined] => {
        const run = bindCall(call, operands);
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
    });
    return {
      ops: this.#ops,
      layers: bound(places.calls.slice(0, places.end)),
      inputs: new Map(Object.entries(inputs).map(([name, value]) => [name, operands.tensor(value)])),
      outputs: new Map(Object.entries(outputs).map(([name, value]) => [name as OutputName, output(value)])),
      view: this.#options.view,
      logitValues: undefined,
    };
  }

  #rowsOf({ rows }: Value): number {
    const { maxRows, sequences } = this.#options;
    return { all: maxRows, wanted: this.#sliceRows, sequences: Math.min(maxRows, sequences) }[rows];
  }

  #operands(places: Places): Operands {
    const ops = this.#ops;
    const { maxRows } = this.#options;
    const arena = ops.arena(places.floats);
    const routings = new Map<number, ReturnType<Operands["routing"]>>();
    const ropes = new Map<string, ReturnType<Operands["ropeTable"]>>();
    const matrices = new Map<string, ReturnType<Operands["matrix"]>>();
    const vectors = new Map<string, ReturnType<Operands["vector"]>>();
    const tensors = new Map<string, Tensor>();
    const values = ({ tensor }: VectorWeight) => ops.loadVector(source(this.#info(tensor.name), "vector"));
    return {
      ops,
      space: this.space,
      contextTokens: this.#options.contextTokens,
      tensor: (value) => {
        const offset = places.offsetOf.get(value)!;
        const rows = this.#rowsOf(value);
        return memo(tensors, `${offset} ${rows} ${value.cols}`, () => ops.tensor(rows, value.cols, arena, offset));
      },
      matrix: ({ tensor: { name }, source: own }, heads = 1) =>
        memo(matrices, own?.name ?? name, () => ops.matrix({ ...(own ?? source(this.#info(name), "matrix")), heads })),
      vector: (weight) => memo(vectors, weight.tensor.name, () => ops.vector(values(weight))),
      routing: (choice) => memo(routings, places.routingOf.get(choice)!, () => ops.routing(maxRows, choice.topK)),
      ropeTable: ({ rope, interleaved, divisors }) =>
        memo(ropes, JSON.stringify([rope, interleaved, divisors?.tensor.name]), () =>
          ops.ropeTable(ropeSpec(rope, interleaved, divisors === null ? null : values(divisors)), maxRows),
        ),
      pool: (state) => this.#states.get(state)!,
    };
  }

  #info(name: string): TensorInfo {
    const info = this.#tensors.get(name);
    if (info === undefined) throw new HundredweightError("INTERNAL", `tensor '${name}' was not declared`);
    return info;
  }

  /** States that are looked back upon equally far forget together, so they share the pages of one pool. */
  #makePools(): void {
    const windows = windowsOf(this.#program);
    for (const window of new Set(windows.values())) {
      const members = this.#program.states.filter((state) => windows.get(state) === window);
      const layers = members.map(({ heads, headDimK, headDimV }) => ({ kvHeads: heads, headDimK, headDimV }));
      const pool = this.#ops.kvPool({ layers, type: this.#options.kvType, pages: this.#pages(window) });
      this.kvGroups.push({ pool, window });
      for (const [layer, state] of members.entries()) this.#states.set(state, { pool, layer, window });
    }
  }

  /**
   * A page more per sequence than the positions need: for a last one that is begun, or for a copy. A windowed sequence
   * keeps its window, the rows of one pass and the page they begin in.
   */
  #pages(window: number): number {
    const { contextTokens, maxRows, sequences, kvTokens = sequences * contextTokens } = this.#options;
    const context = Math.ceil(contextTokens / pagePositions);
    const all = Math.min(sequences * context, Math.max(context, Math.ceil(kvTokens / pagePositions))) + sequences;
    const kept = Math.ceil((window + maxRows + pagePositions) / pagePositions);
    return window === 0 ? all : Math.min(all, sequences * (Math.min(context, kept) + 1));
  }
}

/** The calls that a value is made of, in their order. */
function callsFor(value: Value, calls: readonly ListedCall[]): ListedCall[] {
  const wanted = new Set([value]);
  const found: ListedCall[] = [];
  for (const call of calls.toReversed()) {
    if (!call.outputs.some((output) => wanted.has(output))) continue;
    for (const input of call.inputs) wanted.add(input);
    found.unshift(call);
  }
  return found;
}

function memo<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  const known = map.get(key);
  if (known !== undefined) return known;
  const made = make();
  map.set(key, made);
  return made;
}

function source({ name, layout, shape, planes }: TensorInfo, kind: "matrix" | "vector"): MatrixSource {
  const [cols, rows = 1, experts = 1] = shape as readonly [number, number?, number?];
  if (kind === "vector") return { name, layout, cols: cols * rows * experts, rows: 1, experts: 1, planes };
  return { name, layout, cols, rows, experts, planes };
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
