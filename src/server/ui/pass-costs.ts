/** Learns what passes cost from those the engine tells of; until then the plan says it. */
import type { EngineStatus, ModelInfo } from "../../link/protocol.js";
import type { PassCosts } from "./wire.js";

/** Share of a new measurement; the first passes of a model are slower than those behind them. */
const share = 0.25;
/** Rows from which a pass tells what a row costs: smaller ones are read, not computed. */
const manyRows = 32;

export class PassCostMeter {
  #oneRow: number | undefined;
  /** Seconds a row of passes of many rows. */
  #row: number | undefined;
  #passes = 0;

  /** Another model is open. */
  reset(): void {
    this.#oneRow = undefined;
    this.#row = undefined;
    this.#passes = 0;
  }

  see({ passes, lastPass }: EngineStatus): void {
    if (lastPass === undefined || passes === this.#passes) return;
    this.#passes = passes;
    const { rows, elapsedMs } = lastPass;
    const seconds = elapsedMs / 1000;
    if (rows === 1) this.#oneRow = mixed(this.#oneRow, seconds);
    else if (rows >= manyRows) this.#row = mixed(this.#row, seconds / rows);
  }

  /** Undefined where nothing was measured and nothing planned. */
  costs({ chunkRows, residency }: ModelInfo): PassCosts | undefined {
    const { plan, predictedSecondsPerToken } = residency;
    const planned = plan === undefined ? undefined : 1 / plan.prefillTokensPerSecond;
    const oneRowSeconds = this.#oneRow ?? plan?.secondsPerToken ?? predictedSecondsPerToken;
    const rowSeconds = this.#row ?? planned ?? this.#oneRow;
    if (oneRowSeconds === undefined || rowSeconds === undefined) return undefined;
    const guessed = (this.#oneRow === undefined || this.#row === undefined) && plan?.guessed !== false;
    return { chunkRows, oneRowSeconds, rowSeconds, guessed };
  }
}

function mixed(before: number | undefined, now: number): number {
  return before === undefined ? now : before + share * (now - before);
}
