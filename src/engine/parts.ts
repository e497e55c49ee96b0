/** The things an engine is made of; tests bring others. */
import type { BoundModel, BoundProgram, GroupTurns } from "../models/index.js";
import { keyTurn } from "../ops/moving-keys.js";
import {
  type Backend,
  type KeyTurn,
  type KvPool,
  keptRows,
  type MovingKeys,
  type RopeSpec,
  type SlotPool,
} from "../ops/ops.js";
import type { Profiler } from "../ops/profiler.js";
import type { PastParts } from "../past/parts.js";
import type { RowScans } from "../sampling/logprobs.js";
import type { StateCacheOptions } from "../state/cache.js";
import type { StreamDecoder, Tokenizer } from "../tokenizer/types.js";
import type { LiveDisk } from "../weights/live-disk.js";
import type { LiveMemory } from "../weights/live-memory.js";
import type { DraftMode } from "./drafts/drafter.js";
import type { ModelInfo } from "./options.js";
import type { WhenFull } from "./when-full.js";

/** The part of a backend that takes keys to other positions. */
type MovingOps = Partial<MovingKeys>;

export interface EngineModel extends Pick<BoundModel, "forward"> {
  readonly backend: Pick<Backend, "kvCopyPage" | "replay" | "setCancelFlag" | "counters" | "traffic" | "machine"> &
    MovingOps;
  readonly kvGroups: readonly {
    readonly pool: KvPool;
    readonly window: number;
    readonly every?: number;
    /** Bytes at the beginning of a page that are the trunk's, the rest is of blocks; default: all. */
    readonly firstBytes?: number;
  }[];
  /** How stored keys go to other positions; absent: they stay where they are. */
  readonly turns?: GroupTurns;
  /** The pool of states that are replaced; undefined when there are none. */
  readonly slots: SlotPool | undefined;
  /** Blocks of the file that guess further tokens, in their order; absent: none are bound. */
  readonly blocks?: readonly Pick<BoundProgram, "forward" | "fill">[];
  /** The rows that blocks go on from; default `hidden`. */
  readonly carries?: "hidden" | "carried";
  close(): void;
}

export interface EngineParts {
  readonly info: ModelInfo;
  readonly tokenizer: Tokenizer;
  /** How the file puts a query and a document into one text. */
  readonly pairTemplate?: string;
  /** @param shown control tokens whose text is shown */
  streamDecoder(shown?: readonly number[]): StreamDecoder;
  readonly model: EngineModel;
  /** Scans of a row of logits that are faster than JavaScript. */
  readonly scans?: RowScans;
  /** Learns the disk's rates while weights are streamed. */
  readonly liveDisk?: LiveDisk;
  /** Learns how fast products read weights; told about every pass, and asked when the engine closes. */
  readonly liveMemory?: LiveMemory;
  /** Keeps what it learned for the next plan. */
  readonly remember?: (memoryBytesPerSecond: number) => void;
  /** Keeps which experts were asked for, for the next time that the model is opened. Before it is closed. */
  readonly rememberExperts?: () => void;
  /** Sequences the model has KV pages for; default 1. */
  readonly sequences?: number;
  /** The tree of tokens is made at once, not for the first answer that has a constraint. */
  readonly stays?: boolean;
  /** Jobs that may wait; default: any number. */
  readonly queueLimit?: number;
  readonly profiler?: Profiler;
  /** Guesses ahead of answers that do not say themselves; default `auto`. */
  readonly drafts?: DraftMode;
  /** The way of answers that have filled the context, where they do not say; default: they end. */
  readonly whenFull?: WhenFull;
  /** Moves pasts out of the cache and back; absent: none outlives the engine. */
  readonly past?: PastParts;
  /** A small model that guesses for this one. */
  readonly draftModel?: EngineParts;
}

/** Tells a cache what it has to know of the model whose states it keeps. */
export function stateOptions(
  { kvGroups, slots, turns }: Pick<EngineModel, "kvGroups" | "slots" | "turns">,
  ops: Pick<Backend, "kvCopyPage" | "replay"> & MovingOps,
): Pick<StateCacheOptions, "groups" | "slots" | "copyPage" | "moved" | "replay"> {
  return {
    groups: kvGroups.map(({ pool, window, every }) => ({ pages: pool.pages, window, every })),
    slots: slots && { slots: slots.slots, keeps: slots.keeps, keptRows },
    copyPage: (group, from, to) => ops.kvCopyPage(kvGroups[group]!.pool, from, to),
    ...(turns !== undefined && turns.fault === undefined && { moved: mover(kvGroups, turns, ops) }),
    replay: ({ from, to, keep, rows }) => ops.replay(slots!, from, to, keep, rows),
  };
}

/** Turns all layers of a page; angles are computed once for as many positions. */
function mover(
  kvGroups: EngineModel["kvGroups"],
  { groups }: GroupTurns,
  ops: MovingOps,
): NonNullable<StateCacheOptions["moved"]> {
  const made = new Map<RopeSpec, { readonly by: number; readonly turn: KeyTurn }>();
  const turnOf = (spec: RopeSpec, by: number): KeyTurn => {
    const known = made.get(spec);
    if (known?.by === by) return known.turn;
    const turn = keyTurn(spec, by);
    made.set(spec, { by, turn });
    return turn;
  };
  return (group) => {
    const { pool } = kvGroups[group]!;
    return {
      turnPage(page, rows, by) {
        for (const [layer, spec] of groups[group]!.entries())
          if (spec !== null) ops.kvTurn?.(pool, layer, page, rows, turnOf(spec, by));
      },
      copyRows: (from, to, rows) => ops.kvCopyRows?.(pool, from, to, rows),
    };
  };
}
