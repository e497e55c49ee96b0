/** Decides before anything is opened what a model gets: context, rows of a pass, and where its weights lie. */

import { totalmem } from "node:os";
import { join, resolve } from "node:path";
import { ownTemplate } from "../chat/own-template.js";
import { HundredweightError } from "../errors.js";
import { guessingBlocks, type ModelDescription } from "../models/index.js";
import { loadAddon } from "../native/addon.js";
import { threadLayout } from "../native/threads.js";
import type { MemoryPromise } from "../ops/index.js";
import { kvCacheType, kvForm, kvPositionBytes } from "../ops/kv-form.js";
import { type KvCacheType, pagePositions, type WeightPlacement } from "../ops/ops.js";
import { pastBufferBytes } from "../past/buffers.js";
import { cacheFolder } from "../user-folders.js";
import { rememberedUses } from "../weights/expert-uses.js";
import type { ExpectedPass } from "../weights/live-disk.js";
import type { PlannedCompute } from "../weights/live-memory.js";
import type { MachineProfile } from "../weights/machine.js";
import { checkBudget } from "../weights/memory-limit.js";
import { type Plan, Planner, type PlanOptions } from "../weights/plan.js";
import { defaultChunkRows, defaultContextTokens, defaultLogitRows } from "../weights/plan-defaults.js";
import { readerShare } from "../weights/plan-predict.js";
import { summarizePlan } from "../weights/plan-summary.js";
import { knownMachine, restsOnGuesses } from "../weights/probe.js";
import { openResidency } from "../weights/residency.js";
import type { EngineOptions, ResidencyInfo } from "./options.js";

export interface Resources {
  readonly contextTokens: number;
  /** Positions all sequences share. */
  readonly kvTokens: number;
  /** Most token rows of a pass. */
  readonly chunkRows: number;
  /** Rate of the disk, and what a pass of one row reads and computes; undefined where nothing is planned. */
  readonly expected: (ExpectedPass & PlannedCompute) | undefined;
  readonly kvType: KvCacheType;
  /** Memory for pages, and where the others lie; undefined: all are in memory. */
  readonly kvMemory: { readonly bytes: number; readonly folder: string } | undefined;
  /** States of earlier positions that are kept, of models that cannot go back. */
  readonly checkpoints: number;
  /** Undefined: files are mapped. */
  readonly placement: WeightPlacement | undefined;
  /** Memory of the process that the model may hold; undefined where nothing is planned. */
  readonly promise: MemoryPromise | undefined;
  readonly residency: ResidencyInfo;
  /** The whole plan; undefined where nothing is planned. */
  readonly plan: Plan | undefined;
  /** Programs of the file that are bound beside the trunk: blocks that guess further tokens. */
  readonly programs: readonly string[];
  /** Weights that are read into memory before the first pass. */
  readonly loadBytes: number;
}

const referenceCheckpoints = 4;

/** A pass that makes a token for every sequence reads the head once. */
export function logitRowsOf({ logitRows, sequences = 1 }: EngineOptions): number {
  return logitRows ?? Math.max(defaultLogitRows, sequences);
}

/** Absent: as many as the machine has by default. Every thread needs working space, whichever passes it is for. */
export function plannedThreads(options: EngineOptions): { readonly threads?: number } {
  const { threads, threadsBatch, numa } = options;
  if (threads === undefined && threadsBatch === undefined && (numa === undefined || numa === "numactl")) return {};
  return { threads: threadLayout(options).most };
}

/** In the one way in which it is written: names of pasts follow from it.  @throws OPTION_INVALID */
const kvTypeOf = ({ kvType = "f16" }: EngineOptions): KvCacheType => kvCacheType(kvForm(kvType));

/** Folder of what a KV cache has on the disk: HUNDREDWEIGHT_KV_FOLDER, else in the user's cache folder. */
function kvFolder(): string {
  const told = process.env.HUNDREDWEIGHT_KV_FOLDER ?? "";
  return told === "" ? join(cacheFolder(), "kv") : resolve(told);
}

/** The engine's options that the planner needs. @param chatTemplate of the file */
export function planOptions(options: EngineOptions, chatTemplate?: string): PlanOptions {
  const { contextTokens, chunkRows, sequences, kvTokens } = options;
  const kvType = kvTypeOf(options);
  const { memoryBytes, ringBytes, weightsMemoryBytes, checkpointBytes, kvMemoryBytes } = options;
  const { textProcess = false, check = false, pastStore } = options;
  return {
    kvType,
    ...(contextTokens !== undefined && { contextTokens }),
    ...(chunkRows !== undefined && { rows: chunkRows }),
    logitRows: logitRowsOf(options),
    ...(check && { check }),
    ...(pastStore !== undefined && { pastBytes: pastBufferBytes }),
    textProcess: textProcess === "templates" ? isForeign(chatTemplate) : textProcess,
    ...(sequences !== undefined && { sequences }),
    ...(kvTokens !== undefined && { kvTokens }),
    ...(memoryBytes !== undefined && { budgetBytes: memoryBytes }),
    ...(ringBytes !== undefined && { ringBytes }),
    ...(weightsMemoryBytes !== undefined && { weightsMemoryBytes }),
    ...(checkpointBytes !== undefined && { checkpointBytes }),
    ...(kvMemoryBytes !== undefined && { kvMemoryBytes }),
  };
}

/** Our own needs no process, and a file without one has no conversations. */
function isForeign(chatTemplate: string | undefined): boolean {
  return chatTemplate !== undefined && chatTemplate !== ownTemplate;
}

/**
 * @param path the model's file: tells on which disk it lies
 * @param chatTemplate of the file
 * @throws MEMORY_BUDGET, OPTION_INVALID
 */
export function planResources(
  description: ModelDescription,
  options: EngineOptions,
  path: string,
  chatTemplate?: string,
): Resources {
  const kvType = kvTypeOf(options);
  if (options.memoryBytes !== undefined) checkBudget(options.memoryBytes);
  const addon = loadAddon();
  if (options.ops === "reference" || addon === undefined) return referenceResources(description, options, kvType);
  const shared = options.memoryOf === "process" ? options.memoryBytes : undefined;
  const known = knownMachine({ path, ...plannedThreads(options) });
  const left = shared === undefined ? options : { ...options, memoryBytes: leftOf(shared, addon.promisedBytes()) };
  const planner = choosePlanner(description, known.profile, planOptions(left, chatTemplate), options);
  const plan = planner.plan();
  const stays = options.stays ?? (options.sequences ?? 1) > 1;
  const uses = (experts: number) => rememberedUses(path, experts);
  const opened = openResidency(planner.model, plan, { io: options.io, way: known.disk, stays, uses });
  const { io, placement } = opened;
  return {
    contextTokens: plan.contextTokens,
    kvTokens: plan.kvTokens,
    // A text whose rows see each other is in one pass.
    chunkRows: description.whole ? plan.maxRows : Math.min(plan.prediction.chunkRows, plan.contextTokens),
    expected: {
      diskBytesPerSecond: known.profile.diskReadBytesPerSecond,
      streamedBytes: plan.prediction.streamedBytesPerPass,
      computeSeconds: plan.prediction.computeSeconds,
      memoryBytesPerSecond: known.profile.memoryReadBytesPerSecond,
      passBytes: plan.prediction.passBytes,
      readerSeconds: plan.prediction.streamedBytesPerPass * readerShare(known.profile),
    },
    kvType,
    kvMemory: options.kvMemoryBytes === undefined ? undefined : { bytes: options.kvMemoryBytes, folder: kvFolder() },
    checkpoints: plan.checkpoints,
    placement,
    // Weights of mapped files are the page cache's.
    promise: { bytes: plan.totalBytes, limitBytes: shared ?? 0 },
    plan,
    programs: planner.model.programs,
    loadBytes: placement === undefined ? 0 : plan.bytes.pinned + plan.bytes.adapters,
    residency: {
      strategy: plan.strategy,
      io,
      budgetBytes: plan.budgetBytes,
      plannedBytes: plan.totalBytes,
      predictedSecondsPerToken: plan.prediction.secondsPerToken,
      plan: summarizePlan(planner.model, plan, opened, restsOnGuesses(known, plan.prediction.streamedBytesPerPass > 0)),
    },
  };
}

/** A token may take so much longer because the weights of blocks that guess take memory from those of the trunk. */
const worthBlocks = 1.03;

/** A planner with the blocks that guess, where the file has some and they cost no more than they may. */
export function choosePlanner(
  description: ModelDescription,
  machine: MachineProfile,
  planned: PlanOptions,
  { drafts = "auto", draftBlocks = true, draftModel }: EngineOptions = {},
): Planner {
  const planner = new Planner(description, machine, planned);
  const programs = drafts === "off" || !draftBlocks || draftModel !== undefined ? [] : guessingBlocks(description);
  if (programs.length === 0) return planner;
  const guessing = new Planner(description, machine, { ...planned, programs });
  const budget = planned.budgetBytes ?? machine.availableBytes;
  const [plan, beside] = [planner.tryPlan(budget), guessing.tryPlan(budget)];
  // With everything in memory nothing is slower.
  const most = drafts === "auto" && beside?.strategy !== "resident" ? worthBlocks : Number.POSITIVE_INFINITY;
  const secondsOf = (made: Plan | undefined): number => made?.prediction.secondsPerToken ?? Number.POSITIVE_INFINITY;
  const fits = beside !== undefined && beside.contextTokens >= (plan?.contextTokens ?? 0);
  return fits && secondsOf(beside) <= most * secondsOf(plan) ? guessing : planner;
}

/** @throws MEMORY_BUDGET */
function leftOf(budgetBytes: number, promisedBytes: number): number {
  if (promisedBytes < budgetBytes) return budgetBytes - promisedBytes;
  throw new HundredweightError(
    "MEMORY_BUDGET",
    `other models of this process were promised ${Math.ceil(promisedBytes / 2 ** 20)} MiB of the ` +
      `${Math.floor(budgetBytes / 2 ** 20)} MiB they share; close one, or give them less`,
    { budgetBytes, promisedBytes },
  );
}

/** The reference reads rows as it needs them and holds none. */
function referenceResources(description: ModelDescription, options: EngineOptions, kvType: KvCacheType): Resources {
  if (options.kvMemoryBytes !== undefined)
    throw new HundredweightError("OPTION_INVALID", "--kv-memory: the reference implementation holds all of its cache");
  const contextTokens = options.contextTokens ?? Math.min(description.config.contextTokens, defaultContextTokens);
  const budgetBytes = options.memoryBytes ?? totalmem();
  const kvTokens = Math.max(contextTokens, options.kvTokens ?? (options.sequences ?? 1) * contextTokens);
  const kvBytes = kvCacheBytes(description, kvTokens, kvType);
  if (kvBytes > budgetBytes) {
    throw new HundredweightError(
      "MEMORY_BUDGET",
      `the KV cache of ${kvTokens} tokens needs ${Math.ceil(kvBytes / 2 ** 20)} MiB, ` +
        `${Math.floor(budgetBytes / 2 ** 20)} MiB are there; lower --ctx`,
      { kvBytes: Math.ceil(kvBytes), budgetBytes },
    );
  }
  const chunkRows = Math.min(
    options.chunkRows ?? (description.whole ? contextTokens : defaultChunkRows),
    contextTokens,
  );
  const residency = { strategy: "streamed", io: "buffered", budgetBytes, plannedBytes: undefined } as const;
  return {
    contextTokens,
    kvTokens,
    chunkRows,
    expected: undefined,
    kvType,
    kvMemory: undefined,
    checkpoints: referenceCheckpoints,
    placement: undefined,
    promise: undefined,
    plan: undefined,
    programs: [],
    loadBytes: 0,
    residency: { ...residency, predictedSecondsPerToken: undefined },
  };
}

function kvCacheBytes(description: ModelDescription, contextTokens: number, kvType: KvCacheType): number {
  let bytes = 0;
  for (const { kind, window, every, heads, headDimK, headDimV } of description.states) {
    const positions = window === 0 ? contextTokens : Math.min(contextTokens, window + 2 * pagePositions);
    const layer = { kvHeads: heads, headDimK, headDimV, latent: kind !== "kv" };
    bytes += (positions / every) * kvPositionBytes(kvType, layer);
  }
  return bytes;
}
