/** Learns what passes cost from those the engine tells of; until then the plan says it. */
import type { EngineStatus, ModelInfo } from "../../link/protocol.js";
import type { PassCosts } from "./wire.js";

/** Share of a new measurement; the first passes of a model are slower than those behind them. */
const share = 0.25;
/** Rows from which a pass tells what a row costs: smaller ones are read, not computed. */
const manyRows = 32;
/** A pass that waited for the disk so long, of its time, tells what reading takes. */
const stalledShare = 0.1;

export class PassCostMeter {
  #oneRow: number | undefined;
  /** Seconds of computing a row takes in passes of many rows. */
  #row: number | undefined;
  /** Seconds of passes of many rows that waited for the disk. */
  #pass: number | undefined;
  /** Many rows have been read: what the next pass wants from the disk has been read before. */
  #hasRead = false;
  #passes = 0;

  /** Another model is open. */
  reset(): void {
    this.#oneRow = undefined;
    this.#row = undefined;
    this.#pass = undefined;
    this.#hasRead = false;
    this.#passes = 0;
  }

  see({ passes, lastPass }: EngineStatus): void {
    if (lastPass === undefined || passes === this.#passes) return;
    this.#passes = passes;
    const { rows, elapsedMs, stallMs } = lastPass;
    const seconds = elapsedMs / 1000;
    if (rows === 1) this.#oneRow = mixed(this.#oneRow, seconds);
    if (rows < manyRows) return;
    this.#row = mixed(this.#row, (seconds - stallMs / 1000) / rows);
    // The first of all reads slower than any other one.
    if (this.#hasRead && stallMs > stalledShare * elapsedMs) this.#pass = mixed(this.#pass, seconds);
    this.#hasRead = true;
  }

  /** Undefined where nothing was measured and nothing planned. */
  costs(info: ModelInfo): PassCosts | undefined {
    const { plan } = info.residency;
    const planned = plannedCosts(info);
    const oneRowSeconds = this.#oneRow ?? planned.oneRowSeconds;
    const rowSeconds = this.#row ?? planned.rowSeconds ?? this.#oneRow;
    if (oneRowSeconds === undefined || rowSeconds === undefined) return undefined;
    const guessed = (this.#oneRow === undefined || this.#row === undefined) && plan?.guessed !== false;
    const passSeconds = this.#pass ?? planned.passSeconds ?? oneRowSeconds;
    const { chunkRows, firstPassSeconds } = planned;
    const first = this.#hasRead || firstPassSeconds === undefined ? {} : { firstPassSeconds };
    return { chunkRows, oneRowSeconds, rowSeconds, passSeconds, ...first, guessed };
  }
}

/** The costs by the plan; where nothing was planned not all of them. */
export function plannedCosts({ chunkRows, residency }: ModelInfo): Pick<PassCosts, "chunkRows"> & Partial<PassCosts> {
  const { plan, predictedSecondsPerToken } = residency;
  const oneRowSeconds = plan?.secondsPerToken ?? predictedSecondsPerToken;
  const { prefillTokensPerSecond, promptPassSeconds, firstPromptPassSeconds, guessed } = plan ?? {};
  return {
    chunkRows,
    ...(oneRowSeconds !== undefined && { oneRowSeconds }),
    ...(prefillTokensPerSecond !== undefined && { rowSeconds: 1 / prefillTokensPerSecond }),
    ...(promptPassSeconds !== undefined && { passSeconds: promptPassSeconds }),
    ...(firstPromptPassSeconds !== undefined && { firstPassSeconds: firstPromptPassSeconds }),
    ...(guessed !== undefined && { guessed }),
  };
}

function mixed(before: number | undefined, now: number): number {
  return before === undefined ? now : before + share * (now - before);
}
