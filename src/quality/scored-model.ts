/** Models whose logits are compared: several under one budget, that read the same tokens in the same passes. */

import type { EngineOptions } from "../engine/options.js";
import { planOptions, planResources } from "../engine/resources.js";
import { HundredweightError } from "../errors.js";
import type { Checkpoint } from "../formats/index.js";
import {
  type BoundModel,
  bindDescription,
  chunkRows,
  describeModel,
  type ModelDescription,
  type ModelOptions,
} from "../models/index.js";
import { createOps } from "../ops/index.js";
import { type Backend, type KvCacheType, pagePositions, type RowTable } from "../ops/ops.js";
import { Planner } from "../weights/plan.js";
import { knownMachine } from "../weights/probe.js";

export interface ScoringOptions {
  /** Tokens of a chunk. Each is evaluated alone, behind nothing. */
  readonly chunkTokens: number;
  /** Chunks of one pass, for which streamed weights are read once. Default 1. */
  readonly together?: number;
  /** The budget of all models together. Default: what is free. */
  readonly memoryBytes?: number;
  /** The KV cache of each model, in their order; default f16. */
  readonly kvTypes?: readonly KvCacheType[];
  readonly threads?: number;
  readonly ops?: "native" | "reference";
  readonly io?: EngineOptions["io"];
  /** Changes what a pass does, as for those who listen to it. */
  readonly rewrite?: ModelOptions["rewrite"];
  /** Weights memory of each model; tests only. */
  readonly weightsMemoryBytes?: number;
  readonly ringBytes?: number;
}

/** Rows whose logits are made at once, of each model. */
const logitRows = 32;

export class ScoredModel {
  readonly checkpoint: Checkpoint;
  readonly vocab: number;
  /** Most token rows of a pass. */
  readonly maxRows: number;
  /** Most rows of `logits`. */
  readonly logitRows: number;
  readonly plannedBytes: number | undefined;
  private readonly model: BoundModel;
  private readonly backend: Backend;
  private rows: RowTable | undefined;

  private constructor(checkpoint: Checkpoint, backend: Backend, model: BoundModel, shape: Shape) {
    this.checkpoint = checkpoint;
    this.backend = backend;
    this.model = model;
    this.vocab = model.config.vocab;
    this.maxRows = shape.maxRows;
    this.logitRows = shape.logitRows;
    this.plannedBytes = shape.plannedBytes;
  }

  /**
   * Opens models that share a budget: each has what it needs, or a share by its size where that is more than there is.
   * @throws what opening a model throws; MEMORY_BUDGET
   */
  static async openAll(checkpoints: readonly Checkpoint[], options: ScoringOptions): Promise<ScoredModel[]> {
    const wanted = checkpoints.map((checkpoint, i) => new Wanted(checkpoint, options, options.kvTypes?.[i]));
    const budget = options.memoryBytes ?? knownMachine({ path: checkpoints[0]!.path }).profile.availableBytes;
    const shares = sharesOf(wanted, budget);
    const opened: ScoredModel[] = [];
    try {
      for (const [i, one] of wanted.entries()) opened.push(await ScoredModel.open(one, shares[i]!, options));
      return opened;
    } catch (error) {
      for (const model of opened) model.close();
      throw error;
    }
  }

  private static async open(wanted: Wanted, memoryBytes: number, options: ScoringOptions): Promise<ScoredModel> {
    const { checkpoint, description } = wanted;
    const engine = { ...wanted.engine, memoryBytes };
    const planned = planResources(description, engine, checkpoint.path);
    const { placement, promise } = planned;
    const backend = createOps({
      ...(options.ops !== undefined && { kind: options.ops }),
      ...(options.threads !== undefined && { threads: options.threads }),
      ...(placement !== undefined && { placement }),
      ...(promise !== undefined && { promise }),
    });
    try {
      const { sequences = 1 } = engine;
      // The plan's own rows: what it says of chunks is for those who wait for an answer.
      const maxRows = planned.plan?.maxRows ?? planned.chunkRows;
      const most = Math.min(logitRows, maxRows, Math.max(1, Math.floor(2 ** 25 / (4 * description.config.vocab))));
      const model = await bindDescription(description, backend, {
        contextTokens: planned.contextTokens,
        maxRows,
        sequences,
        kvTokens: planned.kvTokens,
        checkpoints: planned.checkpoints,
        kvType: planned.kvType,
        maxLogitRows: most,
        ...(backend.view !== undefined && { view: (x) => backend.view!(x) }),
        ...(options.rewrite !== undefined && { rewrite: options.rewrite }),
      });
      const { plannedBytes } = planned.residency;
      return new ScoredModel(checkpoint, backend, model, { maxRows, logitRows: most, plannedBytes });
    } catch (error) {
      backend.close();
      throw error;
    }
  }

  /**
   * Evaluates rows [from, to) of chunks of equal length that lie one behind the other; those before have to be
   * evaluated.
   */
  async pass(chunks: readonly Int32Array[], from: number, to: number): Promise<void> {
    this.rows = chunkRows(chunks, from, to, this.model.kvGroups);
    await this.model.forward(this.rows, new Int32Array(0), () => {});
  }

  /**
   * Logits of rows of the last pass, at most `logitRows`, [rows, vocab]; they stay until the next call.
   * @param wanted indices into the pass, ascending
   */
  async logits(wanted: Int32Array): Promise<Float32Array> {
    let values: Float32Array = new Float32Array(0);
    await this.model.moreLogits(this.rows!, wanted, (found) => {
      values = found;
    });
    return values;
  }

  close(): void {
    this.backend.close();
  }
}

interface Shape {
  readonly maxRows: number;
  readonly logitRows: number;
  readonly plannedBytes: number | undefined;
}

/** A model before it is opened, and the memory it would like to have. */
class Wanted {
  readonly checkpoint: Checkpoint;
  readonly description: ModelDescription;
  readonly engine: EngineOptions;
  readonly residentBytes: number;
  private readonly planner: Planner;

  constructor(checkpoint: Checkpoint, options: ScoringOptions, kvType: KvCacheType = "f16") {
    const { chunkTokens, together = 1, threads, ops, io, weightsMemoryBytes, ringBytes } = options;
    // Sequences lie one behind the other, on whole pages each.
    const positions = together * Math.ceil(chunkTokens / pagePositions) * pagePositions;
    this.checkpoint = checkpoint;
    this.description = describeModel(checkpoint, undefined, { contextTokens: positions });
    if (this.description.program.outputs.logits === undefined)
      throw new HundredweightError("OPTION_INVALID", `${checkpoint.path}: makes vectors and no text`);
    this.engine = {
      contextTokens: positions,
      kvTokens: positions,
      chunkRows: together * chunkTokens,
      sequences: together,
      logitRows,
      kvType,
      ...(threads !== undefined && { threads }),
      ...(ops !== undefined && { ops }),
      ...(io !== undefined && { io }),
      ...(weightsMemoryBytes !== undefined && { weightsMemoryBytes }),
      ...(ringBytes !== undefined && { ringBytes }),
    };
    const { profile } = knownMachine({ path: checkpoint.path, ...(threads !== undefined && { threads }) });
    this.planner = new Planner(this.description, profile, planOptions(this.engine));
    this.residentBytes = this.planner.residentBudgetBytes(positions);
  }

  get leastBytes(): number {
    return this.planner.minimumBudgetBytes();
  }
}

/**
 * The share that each model has of a budget: all it needs, or the least it works with and a part of the rest.
 * @throws MEMORY_BUDGET
 */
function sharesOf(wanted: readonly Wanted[], budget: number): number[] {
  const needed = wanted.map(({ residentBytes }) => residentBytes);
  const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
  if (sum(needed) <= budget) return needed;
  const least = wanted.map(({ leastBytes }) => leastBytes);
  const mib = (bytes: number) => `${Math.ceil(bytes / 2 ** 20)} MiB`;
  if (sum(least) > budget)
    throw new HundredweightError(
      "MEMORY_BUDGET",
      `${wanted.length} models at once need at least ${mib(sum(least))}, ${mib(budget)} are there: compare fewer, ` +
        "with a smaller --ctx, or with stored logits",
      { budgetBytes: budget, minimumBudgetBytes: sum(least) },
    );
  const more = needed.map((bytes, i) => Math.max(0, bytes - least[i]!));
  return least.map((bytes, i) => bytes + Math.floor(((budget - sum(least)) * more[i]!) / sum(more)));
}
