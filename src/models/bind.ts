/** Turns a checkpoint into something that runs: every name is resolved here, once; then typed handles only. */
import { HundredweightError } from "../errors.js";
import type { Checkpoint, TensorInfo } from "../formats/types.js";
import {
  type KvPool,
  type KvType,
  type Matrix,
  type MatrixSource,
  type Ops,
  pagePositions,
  type RopeSpec,
  type RopeTable,
  type Routing,
  type RowTable,
  type Tensor,
  type Vector,
} from "../ops/ops.js";
import { describeModel, layerPrefix, type ModelDescription } from "./describe.js";
import { type BoundLayers, forward, type HiddenRows } from "./forward.js";
import type { Binder, BranchSpec, ModelConfig, Mutation, Role, Step, TensorSpec } from "./spec.js";

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
  /** Tests only: leaves out one mechanism. */
  readonly mutate?: Mutation;
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
  ): Promise<void>;
  /** Closes the Ops with everything bound to it. */
  close(): void;
}

/** Logits are made in slices, so that a prompt of a large vocabulary needs no gigabyte. */
const logitSliceBytes = 32 * 1024 * 1024;

/**
 * @throws what describeModel throws; OPTION_INVALID for options out of range
 */
export function bindModel(checkpoint: Checkpoint, ops: Ops, options: ModelOptions): BoundModel {
  return bindDescription(describeModel(checkpoint), ops, options);
}

/** The same for a model that has been described.  @throws OPTION_INVALID for options out of range */
export function bindDescription(description: ModelDescription, ops: Ops, options: ModelOptions): BoundModel {
  const { config, spec, tied } = description;
  checkOptions(options);
  const binder = new ModelBinder(ops, options, description);

  const x = ops.tensor(options.maxRows, config.dim); // [rows, dim] residual stream
  const normed = ops.tensor(options.maxRows, config.dim); // [rows, dim]
  const embedding = binder.forLayer(-1).matrix("token_embd.weight");
  const layers = description.layers.map(({ spec: layer }, i) => ({
    mixer: bindBranch(binder.forLayer(i), layer.mixer, x, normed, config),
    ffn: bindBranch(binder.forLayer(i), layer.ffn, x, normed, config),
  }));

  const whole = binder.forLayer(-1);
  const sliceRows = Math.max(1, Math.min(options.maxLogitRows, Math.floor(logitSliceBytes / (config.vocab * 4))));
  const logits = ops.tensor(sliceRows, config.vocab); // [slice, vocab]
  const head = tied ? embedding : whole.matrix("output.weight");
  const bound: BoundLayers = {
    ops,
    config,
    x,
    embedding,
    embeddingScale: spec.embeddingScale,
    layers,
    picked: ops.tensor(sliceRows, config.dim), // [slice, dim]
    outputNorm: whole.vector("output_norm.weight"),
    headProducts: [{ out: logits, weight: head, bias: whole.optionalVector("output.bias"), add: false }],
    logits,
    logitValues: undefined,
    finalSoftcap: spec.finalSoftcap,
  };
  ops.seal();
  return {
    arch: description.arch,
    config,
    ops,
    description,
    kvGroups: binder.kvGroups,
    tensorsUsed: description.tensors.length,
    unusedTensors: description.unusedTensors,
    weightBytes: description.weightBytes,
    async forward(rows, wanted, onLogits, hidden) {
      checkRows(rows, wanted, config.vocab, options);
      if (hidden !== undefined) checkRows(rows, hidden.wanted, config.vocab, options);
      await forward(bound, rows, wanted, onLogits, hidden);
    },
    close: () => ops.close(),
  };
}

/** x += post(part(norm(x))), as one step. */
function bindBranch(b: Binder, branch: BranchSpec, x: Tensor, normed: Tensor, { dim, eps }: ModelConfig): Step {
  const { ops } = b;
  const norm = b.vector(`${branch.norm}.weight`);
  if (branch.postNorm === undefined) {
    const part = branch.part.bind(b, { input: normed, output: x, add: true });
    const normalise = (n: number) => ops.rmsNorm(normed, x, norm, n, eps);
    return withExpectation(part, normalise, (n) => {
      normalise(n);
      part(n);
    });
  }
  const postNorm = b.vector(`${branch.postNorm}.weight`);
  const y = b.scratch("branch", dim); // [rows, dim]
  const part = branch.part.bind(b, { input: normed, output: y, add: false });
  const normalise = (n: number) => ops.rmsNorm(normed, x, norm, n, eps);
  return withExpectation(part, normalise, (n) => {
    normalise(n);
    part(n);
    ops.rmsNorm(y, y, postNorm, n, eps);
    ops.add(x, y, n);
  });
}

/** More token rows want nearly every expert anyway. */
const mostExpectedRows = 16;

/** `normed` and what a part calls its own is free between steps, so a layer ahead needs no memory. */
function withExpectation({ expect }: Step, normalise: Step, step: Step): Step {
  if (expect === undefined) return step;
  return Object.assign(step, {
    expect: (n: number) => {
      if (n > mostExpectedRows) return;
      normalise(n);
      expect(n);
    },
  });
}

/** Hands out handles by name; activations and tables are shared by all layers. */
class ModelBinder {
  readonly kvGroups: KvGroup[] = [];
  /** Only what the declaration names can be bound. */
  readonly #tensors: ReadonlyMap<string, TensorInfo>;
  readonly #ops: Ops;
  readonly #options: ModelOptions;
  readonly #scratch = new Map<string, Tensor>();
  readonly #routings = new Map<number, Routing>();
  readonly #ropes = new Map<string, RopeTable>();
  readonly #layerKv: { readonly pool: KvPool; readonly layer: number; readonly window: number }[] = [];

  constructor(ops: Ops, options: ModelOptions, description: ModelDescription) {
    this.#tensors = new Map(description.tensors.map((tensor) => [tensor.name, tensor.info]));
    this.#ops = ops;
    this.#options = options;
    this.#makePools(description);
  }

  /** Layers that look back equally far forget together, so they share the pages of one pool. */
  #makePools({ layers }: ModelDescription): void {
    const { mutate, kvType } = this.#options;
    const windows = layers.map(({ kv }) => (mutate === "window" ? 0 : kv.window));
    for (const window of new Set(windows)) {
      const members = layers.filter((_, i) => windows[i] === window).map(({ kv }) => kv);
      const pool = this.#ops.kvPool({ layers: members, type: kvType, pages: this.#pages(window) });
      this.kvGroups.push({ pool, window });
      let index = 0;
      for (const [i, w] of windows.entries()) if (w === window) this.#layerKv[i] = { pool, layer: index++, window };
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

  forLayer(layer: number): Binder {
    const prefix = layer < 0 ? "" : layerPrefix(layer);
    const find = (name: string) => this.#tensors.get(prefix + name) ?? this.#tensors.get(name);
    const must = (name: string) => {
      const info = find(name);
      if (info === undefined) throw new HundredweightError("INTERNAL", `tensor '${prefix}${name}' was not declared`);
      return info;
    };
    const ops = this.#ops;
    const values = (info: TensorInfo) => ops.loadVector(source(info, "vector"));
    return {
      ops,
      mutate: this.#options.mutate,
      matrix: (name): Matrix => ops.matrix(source(must(name), "matrix")),
      vector: (name): Vector => ops.vector(values(must(name))),
      optionalVector: (name) => {
        const info = find(name);
        return info === undefined ? null : ops.vector(values(info));
      },
      optionalValues: (name) => {
        const info = find(name);
        return info === undefined ? null : values(info);
      },
      scratch: (name, cols) => memo(this.#scratch, `${name}:${cols}`, () => ops.tensor(this.#options.maxRows, cols)),
      scratchRouting: (topK) => memo(this.#routings, topK, () => ops.routing(this.#options.maxRows, topK)),
      ropeTable: (spec) => memo(this.#ropes, ropeKey(spec), () => ops.ropeTable(spec, this.#options.maxRows)),
      kv: () => this.#layerKv[layer]!,
    };
  }
}

function memo<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  const known = map.get(key);
  if (known !== undefined) return known;
  const made = make();
  map.set(key, made);
  return made;
}

const ropeKey = (spec: RopeSpec): string => [spec.interleaved, spec.magnitude, ...spec.frequencies].join();

function source({ name, layout, shape, planes }: TensorInfo, kind: TensorSpec["kind"]): MatrixSource {
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
