/** Learns what passes cost from those the engine tells of; until then the plan says it, and how busy the machine is. */
import type { EngineStatus, ModelInfo } from "../../link/protocol.js";
import { type ComputeCosts, computeSeconds, scaled } from "../../weights/prompt-seconds.js";
import type { PassCosts } from "./wire.js";

/** Share of a new measurement: a machine gives more at one moment than at another. */
const share = 0.25;
/** Rows from which a pass tells what rows compute: smaller ones are read, not computed. */
const manyRows = 32;
/** A pass that waited for the disk so long, of its time, tells what reading takes. */
const stalledShare = 0.1;

export class PassCostMeter {
  #oneRow: number | undefined;
  /** Computing of passes of many rows, beside what the plan says of them; where there is none, seconds of a row. */
  #compute: number | undefined;
  /** Seconds of passes of many rows that waited for the disk. */
  #pass: number | undefined;
  /** Many rows have been read: what the next pass wants from the disk has been read before. */
  #hasRead = false;
  #passes = 0;

  /** Another model is open. */
  reset(): void {
    this.#oneRow = undefined;
    this.#compute = undefined;
    this.#pass = undefined;
    this.#hasRead = false;
    this.#passes = 0;
  }

  /** @param info the model whose passes they are */
  see({ passes, lastPass }: EngineStatus, info: ModelInfo): void {
    if (lastPass === undefined || passes === this.#passes) return;
    this.#passes = passes;
    const { rows, position, elapsedMs, stallMs } = lastPass;
    const seconds = elapsedMs / 1000;
    if (rows === 1) this.#oneRow = mixed(this.#oneRow, seconds);
    if (rows < manyRows) return;
    this.#compute = mixed(this.#compute, (seconds - stallMs / 1000) / computeSeconds(computeOf(info), rows, position));
    // The first of all reads slower than any other one.
    if (this.#hasRead && stallMs > stalledShare * elapsedMs) this.#pass = mixed(this.#pass, seconds);
    this.#hasRead = true;
  }

  /**
   * Undefined where nothing was measured and nothing planned.
   * @param slowdown how many times as long computing takes now because of others; what was measured has it in it
   */
  costs(info: ModelInfo, slowdown = 1): PassCosts | undefined {
    const { chunkRows, residency } = info;
    const { plan, predictedSecondsPerToken } = residency;
    // The disk is no slower for it that others compute.
    const planned = plan && Math.max(plan.secondsPerToken, slowdown * plan.computeSeconds);
    const oneRowSeconds = this.#oneRow ?? planned ?? predictedSecondsPerToken;
    if (oneRowSeconds === undefined) return undefined;
    // Without a plan a row of many takes as long as one alone, as far as anybody knows.
    const factor = this.#compute ?? (plan === undefined ? oneRowSeconds : slowdown);
    const guessed = (this.#oneRow === undefined || this.#compute === undefined) && plan?.guessed !== false;
    return {
      chunkRows,
      oneRowSeconds,
      compute: scaled(computeOf(info), factor),
      passSeconds: this.#pass ?? plan?.promptPassSeconds ?? oneRowSeconds,
      ...(!this.#hasRead && plan !== undefined && { firstPassSeconds: plan.firstPromptPassSeconds }),
      guessed,
    };
  }
}

/** Where nothing was planned: a second for each row. */
const unplanned: ComputeCosts = {
  passes: [
    { rows: 0, seconds: 0 },
    { rows: 1, seconds: 1 },
  ],
  attention: [],
};

const computeOf = ({ residency }: ModelInfo): ComputeCosts => residency.plan?.promptCompute ?? unplanned;

function mixed(before: number | undefined, now: number): number {
  return before === undefined ? now : before + share * (now - before);
}
