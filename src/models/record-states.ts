/** Writes down what sequences keep, and the verbs that read it. */
import { blockRows } from "../ops/paper.js";
import type { Call, SeenState } from "./flow/calls.js";
import type {
  AttendedState,
  AttentionOptions,
  CompressOptions,
  DeltaInputs,
  KeepKvOptions,
  KeepLatentOptions,
  KeepRecurrentOptions,
  KeepRowsOptions,
  KvState,
  LatentState,
  PagedState,
  Pairing,
  RecurrentState,
  RowsState,
  ScanInputs,
  ScanOptions,
  Selection,
  SelectOptions,
  Source,
  State,
  Value,
  VectorWeight,
} from "./flow/flow.js";
import { fault, ValueRecorder } from "./record-values.js";

type Recur = Extract<Call, { readonly verb: "recur" }>;

export abstract class StateRecorder extends ValueRecorder {
  protected readonly states: State[] = [];
  /** The layer that is being written; -1 outside. */
  protected layer = -1;
  /** Recurrent states that a call has changed: another one would have to know in which order. */
  readonly #changed = new Set<State>();

  keep(kind: "kv", options: KeepKvOptions): KvState;
  keep(kind: "latent", options: KeepLatentOptions): LatentState;
  keep(kind: "rows", options: KeepRowsOptions): RowsState;
  keep(kind: "recurrent", options: KeepRecurrentOptions): RecurrentState;
  keep(
    kind: State["kind"],
    options: KeepKvOptions | KeepLatentOptions | KeepRowsOptions | KeepRecurrentOptions,
  ): State {
    const { layer } = this;
    const { name = kind } = options;
    const every = "every" in options ? (options.every ?? 1) : 1;
    if (!Number.isSafeInteger(every) || every < 1) fault(`a row for every ${every} positions`);
    if (this.states.some((state) => state.layer === layer && state.name === name))
      fault(`layer ${layer} keeps '${name}' twice`);
    if (kind === "latent") {
      const { row, values } = options as KeepLatentOptions;
      if (values > row.cols) fault(`${values} values of a vector of ${row.cols}`);
      const shape = { every, heads: 1, headDimK: row.cols, headDimV: values } as const;
      const state = { id: ++this.ids, kind, layer, name, ...shape } satisfies LatentState;
      this.states.push(state);
      this.call({ verb: "keep", state }, [row], []);
      return state;
    }
    if (kind === "rows") {
      const { row } = options as KeepRowsOptions;
      const shape = { every, heads: 1, headDimK: row.cols, headDimV: 0 } as const;
      const state = { id: ++this.ids, kind, layer, name, ...shape } satisfies RowsState;
      this.states.push(state);
      this.call({ verb: "keep", state }, [row], []);
      return state;
    }
    if (kind === "recurrent") {
      const { heads = 1, keys, values } = options as KeepRecurrentOptions;
      const state = { id: ++this.ids, kind, layer, name, heads, keys, values } satisfies RecurrentState;
      this.states.push(state);
      return state;
    }
    const { k, v, heads } = options as KeepKvOptions;
    const [headDimK, headDimV] = [k.cols / heads, v.cols / heads];
    const state = { id: ++this.ids, kind, layer, name, every, heads, headDimK, headDimV } satisfies KvState;
    this.states.push(state);
    this.call({ verb: "keep", state }, [k, v], []);
    return state;
  }

  attention(q: Value, from: readonly (AttendedState | Source)[], o: AttentionOptions): Value {
    const { heads, scale, softcap = 0, sinks = null, alibi = 0 } = o;
    const sources = from.map((source): SeenState => {
      const { state, reach = o.reach, selection = null } = "kind" in source ? { state: source } : source;
      if (selection !== null && reach !== "all") fault("positions are chosen among all before a row");
      if (selection !== null && selection.every !== state.every) fault("rows chosen of another state's kind");
      if (state.every > 1 && (reach !== "all" || alibi !== 0)) fault("rows of blocks are seen all, without slopes");
      return { state, reach, selection };
    });
    const [first, ...others] = sources.map(({ state }) => state);
    if (first === undefined) fault("attention without a source");
    if (others.some((state) => state.headDimK !== first.headDimK || state.headDimV !== first.headDimV))
      fault("attention over heads of different sizes");
    if (alibi !== 0 && sources.some(({ selection }) => selection !== null)) fault("chosen positions have no slopes");
    const operation = { verb: "attention", sources, heads, scale, softcap, sinks, alibi } as const;
    // What several sources hand on: largest scores and sums of weights of the heads.
    const carry = others.length === 0 ? [] : [2 * heads];
    return this.call(operation, [q], [heads * first.headDimV, ...carry])[0]!;
  }

  select(
    q: Value,
    weights: Value | null,
    keys: PagedState,
    topK: number,
    { positions: expand = false }: SelectOptions = {},
  ): Selection {
    const { heads, headDimK, every } = keys;
    const count = weights?.cols ?? q.cols / headDimK;
    if (heads !== 1 || !Number.isInteger(count) || q.cols !== count * headDimK)
      fault("index queries that do not fit their keys");
    // Positions that no key stands for yet are seen besides.
    const most = expand ? topK * every + every - 1 : topK;
    const selection: Selection = { id: ++this.ids, topK: most, every: expand ? 1 : every };
    this.call({ verb: "select", selection, keys, expand }, weights === null ? [q] : [q, weights], []);
    return selection;
  }

  shortConv(x: Value, tail: RecurrentState, weight: VectorWeight, bias: VectorWeight | null = null, apart = 1): Value {
    this.#change(tail, [x]);
    const { heads, keys, values } = tail;
    if (heads !== 1 || values !== x.cols || weight.length !== (keys / apart + 1) * x.cols)
      fault(`a convolution of ${x.cols} columns with '${weight.tensor.name}'`);
    return this.call({ verb: "shortConv", state: tail, weight, bias, apart }, [x], [x.cols])[0]!;
  }

  deltaRule(memory: RecurrentState, { q, k, v, decay, beta }: DeltaInputs, o: Pairing = {}): Value {
    return this.#recur(memory, [q, k, v, decay, beta], o, true, null);
  }

  scan(memory: RecurrentState, { c, b, x, decay, dt }: ScanInputs, o: ScanOptions = {}): Value {
    return this.#recur(memory, [c, b, x, decay, ...(dt === undefined ? [] : [dt])], o, false, o.skip ?? null);
  }

  compress(values: Value, gates: Value, o: CompressOptions): Value {
    const { every, overlap = false, positions = null, name = "block" } = o;
    const columns = values.cols / (overlap ? 2 : 1);
    if (gates.cols !== values.cols || !Number.isInteger(columns) || !Number.isSafeInteger(every) || every < 1)
      fault(`blocks of ${every} rows of ${values.cols} and ${gates.cols} columns`);
    if (positions !== null && positions.length !== every * values.cols)
      fault(`${positions.length} gates of positions for ${every} rows of ${values.cols}`);
    const state = this.keep("recurrent", { name, keys: blockRows({ overlap }), values: columns });
    this.#change(state, [values, gates]);
    return this.call({ verb: "compress", state, every, overlap, positions }, [values, gates], [columns])[0]!;
  }

  #recur(
    state: RecurrentState,
    inputs: readonly Value[],
    { pairing = "consecutive" }: Pairing,
    correct: boolean,
    skip: Recur["skip"],
  ): Value {
    this.#change(state, inputs);
    const { heads, keys, values } = state;
    const [q, k, v, decay, beta] = inputs as readonly [Value, Value, Value, Value, Value?];
    const keyHeads = q.cols / keys;
    const fits =
      heads % keyHeads === 0 &&
      k.cols === q.cols &&
      v.cols === heads * values &&
      (decay.cols === heads || decay.cols === heads * keys) &&
      (beta === undefined || beta.cols === heads) &&
      (skip === null || skip.length === heads);
    if (!fits) fault(`inputs of ${inputs.map(({ cols }) => cols).join(", ")} columns for '${state.name}'`);
    return this.call({ verb: "recur", state, pairing, correct, skip }, inputs, [heads * values])[0]!;
  }

  /** Rows go through it in order, all of them. */
  #change(state: RecurrentState, inputs: readonly Value[]): void {
    if (this.#changed.has(state)) fault(`'${state.name}' is changed twice`);
    if (inputs.some(({ rows }) => rows !== "all")) fault(`'${state.name}' wants all rows`);
    this.#changed.add(state);
  }
}
