/** Holds what all programs of a model are bound to: weights, states, memory, and the working space they need. */
import { HundredweightError } from "../errors.js";
import type { TensorInfo } from "../formats/types.js";
import { framesOf } from "../ops/cold-sizes.js";
import { kvForm, kvPositionBytes } from "../ops/kv-form.js";
import {
  type Arena,
  type KvCacheType,
  type KvPool,
  type MatrixSource,
  type Ops,
  pagePositions,
  type RopeSpec,
  type RopeTable,
  type SlotPool,
  type Tensor,
} from "../ops/ops.js";
import { WorkingSpace } from "../ops/working-space.js";
import type { Places } from "./bind-memory.js";
import type { Operands } from "./bind-operands.js";
import { AdapterRows } from "./chosen-rows.js";
import { type CallOf, type Program, slotLayersOf, windowsOf } from "./flow/calls.js";
import type { Ids, PagedState, RecurrentState, Value, VectorWeight } from "./flow/flow.js";
import { ropeSpec } from "./flow/rope.js";
import { keyTurnsOf } from "./key-turns.js";

export interface KvGroup {
  readonly pool: KvPool;
  /** 0 = full. */
  readonly window: number;
  /** Positions that make a row. */
  readonly every: number;
  /** Bytes at the beginning of a page that the first program keeps; those of further programs follow. */
  readonly firstBytes: number;
}

/** Sizes that states and values follow from. */
export interface StateOptions {
  /** Longest sequence, tokens. */
  readonly contextTokens: number;
  /** Most token rows of one pass. */
  readonly maxRows: number;
  /** Sequences held at once. */
  readonly sequences: number;
  /** Positions all sequences share; default: each may reach the whole context. */
  readonly kvTokens?: number;
  /** States of earlier positions that are kept beside those in use, of recurrent models; default 0. */
  readonly checkpoints?: number;
  readonly kvType: KvCacheType;
  /**
   * Memory for pages, `least` for tests; those that find no room lie in a file in the folder. Default: all of them are
   * in memory.
   */
  readonly kvMemory?: { readonly bytes: number | "least"; readonly folder: string };
}

/** For every group and layer in it the rotation of its keys; null: they know no position. */
export interface GroupTurns {
  readonly groups: readonly (readonly (RopeSpec | null)[])[];
  /** Why keys cannot go to other positions; undefined: they can. */
  readonly fault: string | undefined;
}

const ropeName = ({ rope, interleaved, divisors, back }: CallOf<"rope">): string =>
  JSON.stringify([rope, interleaved, divisors?.tensor.name, back]);

/** Hands out handles; what has the same name, place or numbers is one. */
export class Handles {
  readonly kvGroups: KvGroup[] = [];
  readonly slots: SlotPool | undefined;
  readonly space: WorkingSpace;
  readonly #ops: Ops;
  readonly #options: StateOptions;
  readonly #tensors: ReadonlyMap<string, TensorInfo>;
  readonly #states = new Map<PagedState, ReturnType<Operands["pool"]>>();
  /** States of pools that are partly on the disk. */
  readonly #cold = new Set<PagedState>();
  readonly #slotLayers = new Map<RecurrentState, number>();
  readonly #routings = new Map<string, ReturnType<Operands["routing"]>>();
  readonly #ropes = new Map<string, { readonly spec: RopeSpec; readonly table: RopeTable }>();
  readonly #matrices = new Map<string, ReturnType<Operands["matrix"]>>();
  readonly #vectors = new Map<string, ReturnType<Operands["vector"]>>();
  readonly #views = new Map<string, Tensor>();

  constructor(
    ops: Ops,
    options: StateOptions,
    tensors: readonly { readonly name: string; readonly info: TensorInfo }[],
    programs: readonly Program[],
  ) {
    this.#tensors = new Map(tensors.map(({ name, info }) => [name, info]));
    this.#ops = ops;
    this.#options = options;
    this.#makePools(programs);
    this.slots = this.#makeSlots(programs);
    const entries = options.sequences * Math.ceil(options.contextTokens / pagePositions);
    this.space = new WorkingSpace(
      options.maxRows,
      this.kvGroups.map(() => entries),
    );
  }

  /**
   * Operands for the calls of one program. `rowsOf`: rows that a value may have; `rowsBy` takes up what passes look
   * tables up by, `chosen` the rows that adapters are for.
   */
  operands(
    arena: Arena,
    places: Places,
    rowsOf: (value: Value) => number,
    rowsBy: Map<Ids, Int32Array>,
    chosen: Map<string, AdapterRows>,
  ): Operands {
    const ops = this.#ops;
    const { maxRows, contextTokens } = this.#options;
    const values = ({ tensor }: VectorWeight) => ops.loadVector(source(this.#info(tensor.name), "vector"));
    const spread = (weight: VectorWeight): Float32Array => {
      const [own, { each }] = [values(weight), weight];
      return each === undefined
        ? own
        : Float32Array.from({ length: weight.length }, (_, i) => own[Math.trunc(i / each)]!);
    };
    const tensor = (value: Value, heads: number): Tensor => {
      const offset = places.offsetOf.get(value)!;
      const [rows, cols] = [rowsOf(value) * heads, value.cols / heads];
      return memo(this.#views, `${offset} ${rows} ${cols}`, () => ops.tensor(rows, cols, arena, offset));
    };
    return {
      ops,
      space: this.space,
      contextTokens,
      rowsBy: (ids) => memo(rowsBy, ids, () => new Int32Array(maxRows)),
      tensor: (value) => tensor(value, 1),
      headsOf: tensor,
      matrix: ({ tensor: { name } }, heads = 1) =>
        memo(this.#matrices, name, () => ops.matrix({ ...source(this.#info(name), "matrix"), heads })),
      ownMatrix: (own) => memo(this.#matrices, own.name, () => ops.matrix(own)),
      adapterRows: (slot, set) => memo(chosen, `${slot} ${set}`, () => new AdapterRows(slot, set, maxRows)),
      vector: (weight) => memo(this.#vectors, `${weight.tensor.name} ${weight.each}`, () => ops.vector(spread(weight))),
      turned: (weight, rows, apart) =>
        memo(this.#vectors, `${weight.tensor.name} turned`, () => ops.vector(turned(values(weight), rows, apart))),
      source: ({ tensor }) => source(this.#info(tensor.name), tensor.kind),
      kvType: this.#options.kvType,
      cold: (state) => this.#cold.has(state),
      made: (name, make) => memo(this.#vectors, name, () => ops.vector(make())),
      routing: (choice) =>
        memo(this.#routings, `${places.routingOf.get(choice)} ${choice.topK}`, () => ops.routing(maxRows, choice.topK)),
      ropeTable: (call) =>
        memo(this.#ropes, ropeName(call), () => {
          const { rope, interleaved, divisors, back } = call;
          const spec = { ...ropeSpec(rope, interleaved, divisors && values(divisors)), back };
          return { spec, table: ops.ropeTable(spec, maxRows) };
        }).table,
      pool: (state) => this.#states.get(state)!,
      slots: (state) => ({ pool: this.slots!, layer: this.#slotLayers.get(state)! }),
    };
  }

  /** How a program that has been bound turns the keys of each group's layers, or why they cannot move. */
  turnsOf(program: Program): GroupTurns {
    const { turns, fault } = keyTurnsOf(program);
    const hadamard = kvForm(this.#options.kvType).hadamard;
    if (fault !== undefined || hadamard)
      return { groups: [], fault: fault ?? "keys that go through a Hadamard matrix ('+h') cannot be turned" };
    const groups = this.kvGroups.map((): (RopeSpec | null)[] => []);
    for (const [state, { pool, layer }] of this.#states) {
      const turned = turns.get(state) ?? null;
      const spec = turned && { ...this.#ropes.get(ropeName(turned.rope))!.spec, first: turned.first };
      groups[this.kvGroups.findIndex((group) => group.pool === pool)]![layer] = spec;
    }
    return { groups, fault };
  }

  #info(name: string): TensorInfo {
    const info = this.#tensors.get(name);
    if (info === undefined) throw new HundredweightError("INTERNAL", `tensor '${name}' was not declared`);
    return info;
  }

  /**
   * States that are looked back upon equally far forget together, so they share the pages of one pool; also states that
   * have a row for as many positions.
   */
  #makePools(programs: readonly Program[]): void {
    const windows = new Map(programs.flatMap((program) => [...windowsOf(program)]));
    const groups = new Map<string, PagedState[]>();
    for (const [state, window] of windows) memo(groups, `${window} ${state.every}`, () => []).push(state);
    const type = this.#options.kvType;
    const pools = [...groups.values()].map((members) => {
      const [window, { every }] = [windows.get(members[0]!)!, members[0]!];
      const layers = members.map(({ kind, heads, headDimK, headDimV }) => ({
        kvHeads: heads,
        headDimK,
        headDimV,
        latent: kind !== "kv",
      }));
      const ofPage = pagePositions * every;
      const pages = this.#pages(window, ofPage);
      const written = Math.ceil(this.#options.maxRows / ofPage) + this.#options.sequences;
      return { members, window, every, layers, type, pages, written };
    });
    const { kvMemory } = this.#options;
    const frames = kvMemory === undefined ? [] : framesOf(pools, kvMemory.bytes);
    if (frames.some((n) => n !== undefined)) checkCold(programs);
    const ofFirst = windowsOf(programs[0]!);
    for (const [i, { members, window, every, layers, pages }] of pools.entries()) {
      const cold = frames[i] === undefined ? {} : { cold: { frames: frames[i], folder: kvMemory!.folder } };
      const pool = this.#ops.kvPool({ every, layers, type, pages, ...cold });
      // States of the first program come first.
      const own = layers.filter((_, member) => ofFirst.has(members[member]!));
      const ownBytes = pagePositions * own.reduce((sum, layer) => sum + kvPositionBytes(type, layer), 0);
      const firstBytes = own.length === layers.length ? pool.pageBytes : ownBytes;
      this.kvGroups.push({ pool, window, every, firstBytes });
      for (const [layer, state] of members.entries()) this.#states.set(state, { pool, layer, window });
      if (frames[i] !== undefined) for (const state of members) this.#cold.add(state);
    }
  }

  /**
   * A sequence that runs has the slot it reads and the one it writes, and a place for what a pass with drafts fed in.
   */
  #makeSlots(programs: readonly Program[]): SlotPool | undefined {
    const layers = new Map(programs.flatMap((program) => [...slotLayersOf(program)]));
    if (layers.size === 0) return undefined;
    for (const [layer, state] of [...layers.keys()].entries()) this.#slotLayers.set(state, layer);
    const { sequences, checkpoints = 0 } = this.#options;
    return this.#ops.slotPool({
      layers: [...layers.values()],
      slots: 2 * sequences + checkpoints,
      keeps: sequences,
    });
  }

  /**
   * A page more per sequence than the positions need: for a last one that is begun, or for a copy. A windowed sequence
   * keeps its window, the rows of one pass and the page they begin in.
   */
  #pages(window: number, ofPage: number): number {
    const { contextTokens, maxRows, sequences, kvTokens = sequences * contextTokens } = this.#options;
    const context = Math.ceil(contextTokens / ofPage);
    const all = Math.min(sequences * context, Math.max(context, Math.ceil(kvTokens / ofPage))) + sequences;
    const kept = Math.ceil((window + maxRows + ofPage) / ofPage);
    return window === 0 ? all : Math.min(all, sequences * (Math.min(context, kept) + 1));
  }
}

/** @throws OPTION_INVALID for a model that reads single positions: of each a page would have to be read */
function checkCold(programs: readonly Program[]): void {
  if (programs.some(({ calls }) => calls.some(({ verb }) => verb === "select")))
    throw new HundredweightError(
      "OPTION_INVALID",
      "this model chooses the positions it attends, all over its KV cache: that has to be in memory (no --kv-memory)",
    );
}

function turned(values: Float32Array, rows: number, apart: number): Float32Array {
  const cols = values.length / rows;
  const out = new Float32Array(((cols - 1) * apart + 1) * rows);
  for (const [i, value] of values.entries()) out[(i % cols) * apart * rows + Math.floor(i / cols)] = value;
  return out;
}

function memo<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  const known = map.get(key);
  if (known !== undefined) return known;
  const made = make();
  map.set(key, made);
  return made;
}

function source(info: TensorInfo, kind: "matrix" | "vector"): MatrixSource {
  const { name, layout, shape, planes, values, change } = info;
  const [cols, rows = 1, experts = 1] = shape as readonly [number, number?, number?];
  if (kind === "vector") {
    const form = { ...(values !== undefined && { values }), ...(change !== undefined && { change }) };
    return { name, layout, cols: cols * rows * experts, rows: 1, experts: 1, planes, ...form };
  }
  return { name, layout, cols, rows, experts, planes };
}
