/** Learns what passes cost from those the engine tells of; until then the plan says it, and how busy the machine is. */
import type { EngineStatus, ModelInfo } from "../../link/protocol.js";
import {
  type ComputeCosts,
  computeSeconds,
  scaled,
  scaledToken,
  type TokenCompute,
  tokenComputeSeconds,
} from "../../weights/prompt-seconds.js";
import type { Slowdown } from "./other-work.js";
import type { PassCosts } from "./wire.js";

/** Share of a new measurement: a machine gives more at one moment than at another. */
const share = 0.25;
/** Rows from which a pass tells what rows compute: smaller ones are read, not computed. */
const manyRows = 32;
/** A pass that waited for the disk so long, of its time, tells what reading takes. */
const stalledShare = 0.1;
/** Answering of so many milliseconds, or so many passes if that is longer, halves what was measured before. */
const halfMs = 10_000;
const halfPasses = 4;

/** Sums of what answers took, the newest passes the loudest. */
interface AnswerSums {
  readonly tokens: number;
  /** Beside what the plan says of computing them. */
  readonly plannedSeconds: number;
  readonly computeSeconds: number;
  readonly waitSeconds: number;
}

const noSums: AnswerSums = { tokens: 0, plannedSeconds: 0, computeSeconds: 0, waitSeconds: 0 };
const notAnswered: EngineStatus["answering"] = { passes: 0, tokens: 0, positions: 0, ms: 0, stallMs: 0 };

export class PassCostMeter {
  #answers = noSums;
  /** The engine's sums when they were last seen. */
  #answering = notAnswered;
  /** Computing of passes of many rows, beside what the plan says of them; where there is none, seconds of a row. */
  #compute: number | undefined;
  /** Seconds of passes of many rows that waited for the disk. */
  #pass: number | undefined;
  /** Many rows have been read: what the next pass wants from the disk has been read before. */
  #hasRead = false;
  #passes = 0;

  /** Another model is open. */
  reset(): void {
    this.#answers = noSums;
    this.#answering = notAnswered;
    this.#compute = undefined;
    this.#pass = undefined;
    this.#hasRead = false;
    this.#passes = 0;
  }

  /** @param info the model whose passes they are */
  see({ passes, answering, lastPass }: EngineStatus, info: ModelInfo): void {
    if (lastPass === undefined || passes === this.#passes) return;
    this.#passes = passes;
    this.#answered(answering, info);
    const { rows, position, elapsedMs, stallMs } = lastPass;
    if (rows < manyRows) return;
    const seconds = elapsedMs / 1000;
    this.#compute = mixed(this.#compute, (seconds - stallMs / 1000) / computeSeconds(computeOf(info), rows, position));
    // The first of all reads slower than any other one.
    if (this.#hasRead && stallMs > stalledShare * elapsedMs) this.#pass = mixed(this.#pass, seconds);
    this.#hasRead = true;
  }

  /** Guesses that were right made tokens cheaper, those that were wrong dearer: so a token counts, not a pass. */
  #answered(now: EngineStatus["answering"], info: ModelInfo): void {
    const { passes, tokens, positions, ms, stallMs } = this.#answering;
    this.#answering = now;
    const more = now.tokens - tokens;
    // Passes that are not told one by one: few tokens or many since the status before.
    if (more <= 0) return;
    const elapsed = now.ms - ms;
    const kept = Math.max(0.5 ** (elapsed / halfMs), 0.5 ** ((now.passes - passes) / halfPasses));
    const planned = more * tokenComputeSeconds(tokenOf(info), (now.positions - positions) / more);
    const waited = Math.min(elapsed, now.stallMs - stallMs);
    const before = this.#answers;
    this.#answers = {
      tokens: kept * before.tokens + more,
      plannedSeconds: kept * before.plannedSeconds + planned,
      computeSeconds: kept * before.computeSeconds + (elapsed - waited) / 1000,
      waitSeconds: kept * before.waitSeconds + waited / 1000,
    };
  }

  /**
   * Undefined where nothing was measured and nothing planned.
   * @param slowdown by others; what was measured has it in it
   */
  costs(info: ModelInfo, slowdown: Slowdown = { prompt: 1, token: 1 }): PassCosts | undefined {
    const { chunkRows, residency } = info;
    const { plan } = residency;
    const answered = this.#answers.tokens > 0;
    if (!answered && plan === undefined) return undefined;
    const token = this.#token(info, slowdown);
    const oneRowSeconds = Math.max(token.leastTokenSeconds, token.token.seconds) + token.tokenWaitSeconds;
    // Without a plan a row of many takes as long as one alone, as far as anybody knows.
    const factor = this.#compute ?? (plan === undefined ? oneRowSeconds : slowdown.prompt);
    const guessed = (!answered || this.#compute === undefined) && plan?.guessed !== false;
    return {
      chunkRows,
      ...token,
      compute: scaled(computeOf(info), factor),
      passSeconds: this.#pass ?? plan?.promptPassSeconds ?? oneRowSeconds,
      ...(!this.#hasRead && plan !== undefined && { firstPassSeconds: plan.firstPromptPassSeconds }),
      guessed,
    };
  }

  #token(info: ModelInfo, slowdown: Slowdown): Pick<PassCosts, "token" | "leastTokenSeconds" | "tokenWaitSeconds"> {
    const { tokens, plannedSeconds, computeSeconds, waitSeconds } = this.#answers;
    const planned = tokenOf(info);
    if (tokens > 0)
      return {
        token: scaledToken(planned, computeSeconds / plannedSeconds),
        leastTokenSeconds: 0,
        tokenWaitSeconds: waitSeconds / tokens,
      };
    const { plan } = info.residency;
    // The disk is no slower for it that others compute, and threads that waited for it are the first to go on.
    const reads = plan !== undefined && plan.streamedBytesPerPass > 0;
    return {
      token: scaledToken(planned, reads ? slowdown.prompt : slowdown.token),
      leastTokenSeconds: reads ? plan.secondsPerToken : 0,
      tokenWaitSeconds: 0,
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
const unplannedToken: TokenCompute = { seconds: 1, attention: [] };

const computeOf = ({ residency }: ModelInfo): ComputeCosts => residency.plan?.promptCompute ?? unplanned;
const tokenOf = ({ residency }: ModelInfo): TokenCompute => residency.plan?.tokenCompute ?? unplannedToken;

function mixed(before: number | undefined, now: number): number {
  return before === undefined ? now : before + share * (now - before);
}
