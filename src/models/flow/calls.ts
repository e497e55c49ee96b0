/** A model as a list of verb calls with their operands: what a flow records, and everything else reads. */
import type {
  Activation,
  ExpertSide,
  Glu,
  MatrixSource,
  Pooling,
  RouteSpec,
  SlotLayer,
  Temperature,
  Xielu,
} from "../../ops/ops.js";
import type {
  AttendedState,
  PagedState,
  Reach,
  RecurrentState,
  Routes,
  RowsBy,
  Selection,
  State,
  Value,
  VectorWeight,
  Weight,
} from "./flow.js";
import type { RopeConfig } from "./rope.js";

/** The calls that the rows of one expert go through: one or two products, an activation, a product. */
export interface ExpertBody {
  /** Null: the hidden rows are act(up · x). */
  readonly gate: Weight | null;
  readonly up: Weight;
  readonly down: Weight;
  readonly act: Glu | Activation;
}

/** The pairs of one of the matrices of all experts of a layer. */
export interface AdaptedExperts {
  readonly side: ExpertSide;
  readonly pair: { readonly a: MatrixSource; readonly b: MatrixSource };
  readonly adapter: { readonly slot: number; readonly scale: number };
}

/** The experts that the rows of a tap chose, best first [rows][topK], and what they do. */
export interface HeardExperts {
  readonly ids: Int32Array;
  readonly weights: Float32Array;
  readonly body: ExpertBody;
  /** Weights multiply what goes into experts. */
  readonly weightsInput: boolean;
}

/** Hears what goes into products: rows [n, cols] in the order of the pass, and of experts how they are chosen. */
export type Tap = (tensors: readonly string[], rows: Float32Array, experts: HeardExperts | null) => void;

/** A source of an attention, with everything said. */
export interface SeenState {
  readonly state: AttendedState;
  readonly reach: Reach;
  readonly selection: Selection | null;
}

export type Operation =
  | { readonly verb: "lookup"; readonly table: Weight; readonly scale: number; readonly by: RowsBy }
  | { readonly verb: "pick" }
  | { readonly verb: "linear"; readonly weights: readonly Weight[]; readonly into: boolean }
  /**
   * A pair of matrices; beside what was made before it for the rows of passes that an adapter is for, or in its place.
   * Inputs: x, none where rows are looked up by token id; then what it is added to.
   */
  | {
      readonly verb: "lowRank";
      readonly pair: { readonly a: MatrixSource; readonly b: MatrixSource };
      /** The first column of what it is added to. */
      readonly first: number;
      /** Null: the rows are B (A x) alone. */
      readonly adapter: { readonly slot: number; readonly scale: number } | null;
    }
  | { readonly verb: "headLinear"; readonly weight: Weight; readonly heads: number; readonly along: "inputs" | "rows" }
  | { readonly verb: "norm"; readonly weight: VectorWeight | null; readonly eps: number }
  | {
      readonly verb: "headNorm";
      readonly weight: VectorWeight | null;
      readonly headDim: number;
      readonly eps: number;
    }
  | {
      readonly verb: "rope";
      readonly headDim: number;
      readonly rope: RopeConfig;
      readonly interleaved: boolean;
      readonly divisors: VectorWeight | null;
      /** Positions before the row's own. */
      readonly back: number;
    }
  | { readonly verb: "glu"; readonly act: Glu }
  | { readonly verb: "add" }
  | { readonly verb: "shift"; readonly by: number }
  | { readonly verb: "scale"; readonly factor: number }
  | {
      readonly verb: "layerNorm";
      readonly weight: VectorWeight | null;
      readonly bias: VectorWeight | null;
      readonly eps: number;
    }
  | { readonly verb: "act"; readonly kind: Activation }
  | { readonly verb: "multiply" }
  | { readonly verb: "multiplyVector"; readonly factors: VectorWeight }
  | { readonly verb: "addVector"; readonly values: VectorWeight }
  /** Columns of each of so many heads. */
  | { readonly verb: "columns"; readonly from: readonly number[]; readonly heads: number }
  | { readonly verb: "join"; readonly heads: number }
  | { readonly verb: "blend"; readonly streams: number }
  | { readonly verb: "streamScores"; readonly weight: VectorWeight; readonly eps: number }
  | {
      readonly verb: "hyperWeights";
      readonly scale: VectorWeight;
      readonly base: VectorWeight;
      readonly iterations: number;
      readonly eps: number;
    }
  | { readonly verb: "headDots" }
  | { readonly verb: "temper"; readonly temperature: Temperature }
  | { readonly verb: "centreHeads"; readonly headDim: number; readonly eps: number }
  | { readonly verb: "xielu"; readonly numbers: Xielu }
  | { readonly verb: "sparsify"; readonly deviations: number }
  | { readonly verb: "matchSize" }
  | { readonly verb: "pool"; readonly kind: Pooling }
  | {
      readonly verb: "tap";
      readonly tap: Tap;
      readonly weights: readonly Weight[];
      readonly routes: Routes | null;
      readonly experts: Pick<HeardExperts, "body" | "weightsInput"> | null;
    }
  /** Looks at what a call made; `place` says which layer it is of. */
  | { readonly verb: "check"; readonly of: Call; readonly place: string }
  | { readonly verb: "softcap"; readonly cap: number }
  | { readonly verb: "keep"; readonly state: PagedState }
  | {
      readonly verb: "shortConv";
      readonly state: RecurrentState;
      readonly weight: VectorWeight;
      readonly bias: VectorWeight | null;
      /** Rows between two taps. */
      readonly apart: number;
    }
  | {
      readonly verb: "recur";
      readonly state: RecurrentState;
      readonly pairing: "consecutive" | "tiled";
      /** The delta rule. */
      readonly correct: boolean;
      readonly skip: VectorWeight | null;
    }
  | {
      readonly verb: "compress";
      readonly state: RecurrentState;
      readonly every: number;
      readonly overlap: boolean;
      readonly positions: VectorWeight | null;
    }
  | {
      readonly verb: "attention";
      readonly sources: readonly SeenState[];
      readonly heads: number;
      readonly scale: number;
      readonly softcap: number;
      readonly sinks: VectorWeight | null;
      /** 0: none. */
      readonly alibi: number;
    }
  | { readonly verb: "select"; readonly selection: Selection; readonly keys: PagedState; readonly expand: boolean }
  | {
      readonly verb: "route";
      readonly routes: Routes;
      readonly spec: Omit<RouteSpec, "selectionBias" | "factors" | "table">;
      readonly selectionBias: VectorWeight | null;
      readonly factors: VectorWeight | null;
      readonly table: VectorWeight | null;
      /** Name of the tensor the scores come from. */
      readonly router: string;
    }
  | {
      readonly verb: "experts";
      readonly routes: Routes;
      readonly body: ExpertBody;
      readonly weightsInput: boolean;
      /** Pairs beside the matrices of the experts, in the order in which they are added. */
      readonly pairs?: readonly AdaptedExperts[];
    }
  | { readonly verb: "expect"; readonly routes: Routes; readonly first: Weight };

export type Call = Operation & {
  readonly inputs: readonly Value[];
  /** New values; of verbs that work in place they may take the memory of the first input (bind-memory.ts). */
  readonly outputs: readonly Value[];
  /** A hint: left out where nobody listens, and when a pass has many rows. */
  readonly hint: boolean;
};
export type CallOf<V extends Operation["verb"]> = Extract<Call, { readonly verb: V }>;

/** An output of a model: for the rows that are wanted, or for each sequence of the pass. */
export interface Outputs {
  /** [wanted, vocab] */
  readonly logits?: Value;
  /** The final normalized state [wanted, dim]. */
  readonly hidden?: Value;
  /** The state before the last norm, where blocks that guess further tokens go on from that [wanted, dim]. */
  readonly carried?: Value;
  /** [sequences, dim] */
  readonly pooled?: Value;
  /** [sequences, scores] */
  readonly rank?: Value;
  /** The residual streams [all, cols] that a stage leaves for the next. */
  readonly [stream: `stream${number}`]: Value;
}
export type OutputName = keyof Outputs;

export interface Program {
  readonly calls: readonly Call[];
  /** Index of each layer's first call; after the last layer's, that of the first call of the end. */
  readonly layers: readonly number[];
  /** The residual stream, or streams, at those places. */
  readonly streams: readonly (readonly Value[])[];
  /** Values that are given, by name. */
  readonly inputs: Readonly<Record<string, Value>>;
  readonly outputs: Outputs;
  /** In the order of their first use. */
  readonly states: readonly State[];
}

/** Weights and vectors that a call reads. */
export function weightsOf(call: Call): readonly Weight[] {
  switch (call.verb) {
    case "lookup":
      return [call.table];
    case "linear":
      return call.weights;
    case "headLinear":
      return [call.weight];
    case "experts":
      return [call.body.gate, call.body.up, call.body.down].filter((weight) => weight !== null);
    default:
      return [];
  }
}

/** Whether rows see rows after them. */
export const seesAhead = (reach: Reach): boolean => typeof reach === "object" && "symmetric" in reach;

/** Positions a reach needs of the past, the row's own included; 0 = all. */
export function lookedBack(reach: Reach): number {
  if (reach === "all") return 0;
  if ("window" in reach) return reach.window;
  // Rows that look ahead are all in one pass, with all they see.
  return "chunk" in reach ? reach.chunk : 0;
}

/**
 * States that keep something of every position, and how many positions: as far as anybody looks back; 0 = all of
 * them.
 */
export function windowsOf({ states, calls }: Program): Map<PagedState, number> {
  const paged = states.filter((state) => state.kind !== "recurrent");
  const windows = new Map(paged.map((state) => [state, -1]));
  const see = (state: PagedState, reach: Reach): void => {
    const [own, known] = [lookedBack(reach), windows.get(state)!];
    windows.set(state, own === 0 || known === 0 ? 0 : Math.max(known, own));
  };
  for (const call of calls) {
    if (call.verb === "attention") for (const { state, reach } of call.sources) see(state, reach);
    if (call.verb === "select") see(call.keys, "all");
  }
  // What nobody looks back upon is kept whole: it is for somebody else.
  for (const [state, window] of windows) if (window < 0) windows.set(state, 0);
  return windows;
}

/** States that are replaced, with what the calls that change them make of them, in the order of those calls. */
export function slotLayersOf({ calls }: Program): Map<RecurrentState, SlotLayer> {
  const layers = new Map<RecurrentState, SlotLayer>();
  for (const call of calls) {
    if (call.verb === "shortConv") {
      const { keys: rows, values: columns } = call.state;
      layers.set(call.state, { kind: "tail", rows, columns });
    } else if (call.verb === "compress") {
      const { every, overlap } = call;
      layers.set(call.state, { kind: "block", every, overlap, columns: call.state.values });
    } else if (call.verb === "recur") {
      const { heads, keys, values } = call.state;
      const [q, , , decay] = call.inputs as readonly [Value, Value, Value, Value];
      const { pairing, correct } = call;
      const shape = { heads, keys, values, keyHeads: q.cols / keys, decays: decay.cols / heads };
      layers.set(call.state, { kind: "matrix", ...shape, pairing, correct });
    }
  }
  return layers;
}

/** The state that a call stores or changes. */
export function stateOf(call: Call): State | undefined {
  return "state" in call ? call.state : undefined;
}
