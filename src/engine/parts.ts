/** The things an engine is made of; tests bring others. */
import type { KvGroupShape } from "../kv/cache.js";
import type { BoundModel } from "../models/index.js";
import type { Backend, KvPool } from "../ops/ops.js";
import type { Profiler } from "../ops/profiler.js";
import type { RowScans } from "../sampling/logprobs.js";
import type { StreamDecoder, Tokenizer } from "../tokenizer/types.js";
import type { LiveDisk } from "../weights/live-disk.js";
import type { ModelInfo } from "./options.js";

export interface EngineModel extends Pick<BoundModel, "forward"> {
  readonly backend: Pick<Backend, "kvCopyPage" | "setCancelFlag" | "counters" | "traffic" | "machine">;
  readonly kvGroups: readonly { readonly pool: KvPool; readonly window: number }[];
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
  /** Sequences the model has KV pages for; default 1. */
  readonly sequences?: number;
  /** Jobs that may wait; default: any number. */
  readonly queueLimit?: number;
  readonly profiler?: Profiler;
}

export function groupShapes(model: EngineModel): KvGroupShape[] {
  return model.kvGroups.map((group) => ({ pages: group.pool.pages, window: group.window }));
}
