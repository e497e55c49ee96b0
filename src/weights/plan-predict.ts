/** How long a pass will take: max(what is read from disk / D, C), and for experts what cannot be read ahead. */
import { availableParallelism } from "node:os";
import { pagePositions } from "../ops/ops.js";
import { diskRate, usualDepth } from "./disk-rates.js";
import type { MachineProfile } from "./machine.js";
import type { SlotClass } from "./plan-experts.js";
import type { PlanModel } from "./plan-model.js";
import { pipelineSeconds } from "./plan-pipeline.js";
import type { Ring } from "./plan-tiles.js";
import { PromptCompute } from "./plan-work.js";
import type { ComputeCosts, TokenCompute } from "./prompt-seconds.js";

export interface Prediction {
  /** Weight bytes a pass of one row uses. */
  readonly passBytes: number;
  /** The part read from disk (experts: expected misses). */
  readonly streamedBytesPerPass: number;
  /** Share of the chosen experts found in slots; 1 without experts. Routing without preferences is assumed. */
  readonly expertHitRate: number;
  readonly computeSeconds: number;
  readonly secondsPerToken: number;
  /** The same when nothing has been read before. */
  readonly firstPassSeconds: number;
  /** As long as no expert is in its slot; the same as `secondsPerToken` without slots. */
  readonly coldSecondsPerToken: number;
  /** From load on, until free slots are filled by a disk that nobody else uses; 0 without slots. */
  readonly settledAfterSeconds: number;
  /** Token rows of a prefill chunk. */
  readonly chunkRows: number;
  readonly prefillTokensPerSecond: number;
  /** The least a pass of many rows takes, however few those are: it reads all that is not in memory. */
  readonly promptPassSeconds: number;
  /** The same when nothing has been read before. */
  readonly firstPromptPassSeconds: number;
  /** The computing of passes of a prompt. */
  readonly promptCompute: ComputeCosts;
  /** The computing of a pass of one row. */
  readonly tokenCompute: TokenCompute;
}

export interface PredictionInput {
  readonly model: PlanModel;
  readonly machine: MachineProfile;
  readonly ring: Ring;
  readonly trunkStreamedBytes: number;
  /** Slices of each matrix of the trunk that are in memory; absent: only what no ring could hide counts. */
  readonly pinned?: Int32Array;
  readonly slotClasses: readonly SlotClass[];
  /** All experts are pinned. */
  readonly expertsResident: boolean;
  /** KV bytes of one position, all layers. */
  readonly kvBytesPerToken: number;
  /** Bytes of a slot of states that are replaced: a pass reads one and writes another one. */
  readonly slotBytes: number;
  readonly contextTokens: number;
  readonly maxRows: number;
  readonly sequences: number;
}

/**
 * Matrix-vector kernels get this share of the memory rate that plain reading reaches; less where matrices are as
 * small as an expert's and threads meet after each few of them. Fitted to the pairs of docs/benchmarks.md.
 */
export const kernelShare = 0.93;
export const expertShare = 0.6;
/** A layer's last miss is computed, the next layer's reads come up to speed: what reading ahead does not hide. */
const expertLayerSeconds = 400e-6;
/** Calls, synchronisation of threads, norms: per layer of a pass. */
const layerSeconds = 20e-6;
/** Positions behind a token of a typical answer. */
const typicalPositions = 2 * pagePositions;
/** The part of reading weights from memory that products of many rows do not hide. */
export const unhiddenRead = 0.25;
/** Prefill under streaming computes this many times as long as it reads. */
const computePerRead = 4;
const latencySeconds = 10;
/** Rows' worth of work that a many-row product spends on unpacking the weights. */
const unpackRows = 16;
/** Chunks below this waste kernels and hide nothing more. */
const leastChunk = 128;

export function predict(input: PredictionInput): Prediction {
  const { model, machine, ring, trunkStreamedBytes } = input;
  const { topK, trunkBytes, passLayers } = model;
  const chosenBytes = passLayers.reduce((sum, l) => sum + Math.min(topK, l.experts) * l.bytesPerExpert, 0);
  const passBytes = trunkBytes + chosenBytes + model.tables.reduce((sum, { slices }) => sum + slices.bytes, 0);
  const missed = missedBytes(input);
  const memory = kernelShare * machine.memoryReadBytesPerSecond;
  const { layers } = model.description.config;
  const past = Math.min(input.contextTokens, typicalPositions) * input.kvBytesPerToken;
  const kvRead = (past + 2 * input.slotBytes) / memory;
  const streamed = trunkStreamedBytes + missed.oneRow;
  const arriving = 1 / machine.memoryReadBytesPerSecond; // a byte that arrives is written to memory first
  const computeSeconds =
    trunkBytes / memory +
    chosenBytes / (expertShare * machine.memoryReadBytesPerSecond) +
    kvRead +
    layers * layerSeconds +
    streamed * arriving;
  // Misses are known only after the router. Those of the next layer can be guessed, those of the next token cannot.
  const head = model.trunk.reduce((sum, m) => sum + (m.role === "head" ? m.bytes : 0), 0);
  const idle = missed.oneRow === 0 ? 0 : head / memory + passLayers.length * expertLayerSeconds;
  const trunkRate = diskRate(machine, Math.max(1, ring.slotBytes), Math.max(1, ring.depth));
  const readSeconds = trunkStreamedBytes / trunkRate + missed.oneRow / expertRate(input, usualDepth) + idle;
  const followed =
    trunkStreamedBytes === 0 || input.pinned === undefined
      ? 0
      : pipelineSeconds({
          trunk: model.trunk,
          pinned: input.pinned,
          ring,
          disk: machine,
          pinnedByteSeconds: 1 / memory,
          streamedByteSeconds: 1 / memory + arriving,
          layerSeconds: kvRead / layers + layerSeconds,
          readByteSeconds: readerShare(machine),
        });
  const secondsPerToken = Math.max(readSeconds, computeSeconds, followed);
  const slotBytes = input.expertsResident ? 0 : input.slotClasses.reduce((sum, c) => sum + c.slots * c.slotBytes, 0);
  const unread = slotBytes === 0 ? 0 : chosenBytes - missed.oneRow;
  const coldSecondsPerToken = Math.max(
    followed,
    computeSeconds + unread * arriving,
    trunkStreamedBytes / trunkRate + (missed.oneRow + unread) / expertRate(input, usualDepth) + idle,
  );
  const slower = machine.diskReadBytesPerSecond / machine.diskFirstTouchBytesPerSecond;
  const compute = new PromptCompute(model.description, machine);
  return {
    passBytes,
    streamedBytesPerPass: streamed,
    expertHitRate: chosenBytes === 0 ? 1 : 1 - missed.oneRow / chosenBytes,
    computeSeconds,
    secondsPerToken,
    coldSecondsPerToken: slotBytes === 0 ? secondsPerToken : coldSecondsPerToken,
    settledAfterSeconds: slotBytes === 0 ? 0 : slotBytes / expertRate(input, usualDepth),
    firstPassSeconds: Math.max(secondsPerToken, (readSeconds - idle) * slower + idle),
    tokenCompute: {
      seconds: computeSeconds - past / memory,
      attention: compute.oneRowAttention(input.kvBytesPerToken / machine.memoryReadBytesPerSecond),
    },
    promptCompute: promptCompute(input, compute),
    ...prefill(input, passBytes),
  };
}

/** The part of a plan that says which weights a pass of several rows reads. */
type WeightsInput = Pick<
  PredictionInput,
  "model" | "machine" | "ring" | "trunkStreamedBytes" | "slotClasses" | "expertsResident"
>;

/** Seconds by which reading a byte delays products that run on all processors; with one to spare it delays nothing. */
export function readerShare({ diskProcessorSecondsPerByte = 0, threads }: MachineProfile): number {
  return threads < availableParallelism() ? 0 : diskProcessorSecondsPerByte / threads;
}

/** Matrices of experts are read whole. */
function expertRate({ model, machine }: Pick<PredictionInput, "model" | "machine">, depth: number): number {
  return diskRate(machine, Math.max(1, expertMatrixBytes(model)), depth);
}

/** A matrix of an expert, on average. */
function expertMatrixBytes({ passLayers }: PlanModel): number {
  const matrices = passLayers[0]?.matrices ?? [];
  return matrices.reduce((sum, m) => sum + m.bytes / m.experts, 0) / Math.max(1, matrices.length);
}

/** Expert bytes read from disk: by a pass of one row, and by one that chooses every expert. */
function missedBytes({ model, slotClasses, expertsResident }: WeightsInput): { oneRow: number; all: number } {
  if (expertsResident) return { oneRow: 0, all: 0 };
  let [oneRow, all] = [0, 0];
  for (const { layer, experts, bytesPerExpert } of model.passLayers) {
    const slotClass = slotClasses.find((c) => c.layers.includes(layer));
    const missing = slotClass === undefined ? 1 : 1 - slotClass.slots / slotClass.experts;
    oneRow += missing * Math.min(model.topK, experts) * bytesPerExpert;
    all += missing * experts * bytesPerExpert;
  }
  return { oneRow, all };
}

/** Seconds of a pass of several rows: arithmetic, that or reading memory, and reading the disk. */
interface RowTimes {
  readonly work: number;
  readonly compute: number;
  readonly disk: number;
}

/** @param unpackRows rows' worth of work that unpacking the weights costs */
export function rowTimes(input: WeightsInput, passBytes: number, unpackRows: number): (rows: number) => RowTimes {
  const { model, machine, ring, trunkStreamedBytes } = input;
  const trunkRate = diskRate(machine, Math.max(1, ring.slotBytes), Math.max(1, ring.depth));
  // Misses of many rows pass through the ring's memory: as many at once as it holds beside the one that is used.
  const staged = Math.floor(ring.bytes / Math.max(1, expertMatrixBytes(model))) - 1;
  const missRate = expertRate(input, Math.max(1, Math.min(usualDepth, staged)));
  const parameters = activeParameters(model);
  const missing = missedBytes(input).all;
  const chosenShare = model.passLayers.length === 0 ? 0 : model.topK / model.passLayers[0]!.experts;
  const readSeconds = passBytes / (kernelShare * machine.memoryReadBytesPerSecond);
  return (rows) => {
    // Few rows are that many matrix-vector products; kernels of many rows unpack weights once, at a cost of some rows.
    const gemm = (2 * parameters * (rows + unpackRows)) / machine.gemmOpsPerSecond;
    const work = Math.min(rows * readSeconds, gemm);
    const disk = trunkStreamedBytes / trunkRate + (missing * (1 - (1 - chosenShare) ** rows)) / missRate;
    return { work, compute: Math.max(readSeconds, work), disk };
  };
}

function prefill(input: PredictionInput, passBytes: number) {
  const { machine, maxRows, sequences, trunkStreamedBytes } = input;
  const missing = missedBytes(input).all;
  const readSeconds = passBytes / (kernelShare * machine.memoryReadBytesPerSecond);
  const timesOf = rowTimes(input, passBytes, unpackRows);
  const secondsOf = (rows: number) => Math.max(timesOf(rows).compute, timesOf(rows).disk);
  let rows = maxRows;
  if (trunkStreamedBytes + missing > 0) {
    // Reading weights from memory is not the work that hides the disk: a larger chunk does it once as well.
    const enough = firstThat(maxRows, (n) => {
      const { work, disk } = timesOf(n);
      return work >= Math.max(readSeconds, computePerRead * disk);
    });
    rows = Math.min(maxRows, Math.max(leastChunk, enough));
    // Others wait for a chunk: their next token comes after it.
    if (sequences > 1)
      rows = Math.min(
        rows,
        firstThat(maxRows, (n) => secondsOf(n + 1) > latencySeconds),
      );
  }
  const { disk } = timesOf(maxRows);
  const slower = machine.diskReadBytesPerSecond / machine.diskFirstTouchBytesPerSecond;
  return {
    chunkRows: rows,
    prefillTokensPerSecond: rows / secondsOf(rows),
    promptPassSeconds: Math.max(readSeconds, disk),
    firstPromptPassSeconds: Math.max(readSeconds, disk * slower),
  };
}

/**
 * Computing of passes of a prompt, type by type and with what rows see: times to be told. Choices of a plan rest on the
 * plainer figures above, which are the same for every budget.
 */
function promptCompute({ model, machine, maxRows }: PredictionInput, compute: PromptCompute): ComputeCosts {
  const memory = kernelShare * machine.memoryReadBytesPerSecond;
  const head = model.trunk.reduce((sum, m) => sum + (m.role === "head" ? m.bytes : 0), 0);
  const passes = passSizes(maxRows).map((rows) => {
    const experts = compute.expertUse(rows);
    const read = (model.trunkBytes - head) / memory + experts.bytes / (expertShare * machine.memoryReadBytesPerSecond);
    const products = compute.productSeconds(rows) + experts.seconds;
    // The head is for one row of all.
    const seconds = head / memory + Math.max(read, products + unhiddenRead * read) + rows * compute.valueSeconds;
    return { rows, seconds };
  });
  return { passes, attention: compute.attention };
}

/** Passes of which the time is told: twice as many rows each time, as far as there may be. */
function passSizes(maxRows: number): number[] {
  const sizes: number[] = [];
  for (let rows = 16; rows < maxRows; rows *= 2) sizes.push(rows);
  return [...sizes, maxRows];
}

/** The smallest number in [1, most] for which `holds`, `most` when there is none. */
function firstThat(most: number, holds: (n: number) => boolean): number {
  for (let n = 1; n < most; n++) if (holds(n)) return n;
  return most;
}

function activeParameters(model: PlanModel): number {
  const trunk = model.trunk.reduce((sum, m) => sum + m.rows * m.cols, 0);
  const perExpert = (l: PlanModel["passLayers"][number]) => l.matrices.reduce((sum, m) => sum + m.rows * m.cols, 0);
  return trunk + model.passLayers.reduce((sum, l) => sum + Math.min(model.topK, l.experts) * perExpert(l), 0);
}
