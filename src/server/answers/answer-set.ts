/**
 * The jobs behind one request: an answer for each choice, started together, paused, cut short or cancelled together.
 */

import { asHundredweightError } from "../../errors.js";
import type { RunningJob } from "../../link/client.js";
import { JobFold } from "../../link/job-fold.js";
import type { FinishReason, GenerateRequest, GenerateResult, JobEvent, RolledEvent } from "../../link/protocol.js";
import { asHttpError, busy, HttpError } from "../http/http-error.js";
import type { EngineHandle } from "../service/model-service.js";
import type { PrefixEvent } from "./lost-prefix.js";

export interface ChoiceJob {
  readonly tokens: Int32Array;
  readonly request: Omit<GenerateRequest, "kind" | "prompt">;
}

export type ChoiceEvent = Extract<JobEvent, { kind: "token" | "text" | "promptLogprobs" }>;

/**
 * Why answers end before they are done: they keep what they have. `asked` is the time that the request gave them, in
 * which no token at all may be made; `deadline` is the server's.
 */
export type Cut = "asked" | "deadline" | "shutdown";

export interface ChoiceOutcome {
  readonly finishReason: FinishReason;
  /** Tokens made. */
  readonly tokens: number;
  /** Undefined when the answer was cut short. */
  readonly result: GenerateResult | undefined;
}

export interface Progress {
  /** Jobs before the first of ours; 0 = it runs. */
  readonly ahead: number;
  /** Rows of the prompts read, of all. */
  readonly done: number;
  readonly total: number;
  /** Those of them that were there from before; undefined until something is known. */
  readonly cached: number | undefined;
  readonly generated: number;
}

export class AnswerSet {
  private readonly jobs: RunningJob<GenerateResult>[];
  private readonly folds: readonly JobFold[];
  private readonly totalRows: number;
  private readonly outcomes: Promise<ChoiceOutcome[]>;
  private cutBy: Cut | undefined;
  private sign: (() => void) | undefined;
  private readonly signed: Promise<void>;

  /**
   * @param onPrefix tells what was there of the first choice's prompt
   * @param onRolled tells that an answer went on behind its context
   */
  constructor(
    engine: EngineHandle,
    choices: readonly ChoiceJob[],
    onEvent: (choice: number, event: ChoiceEvent) => void,
    onProgress: () => void,
    onPrefix: (prefix: PrefixEvent) => void,
    onRolled: (choice: number, event: RolledEvent) => void,
  ) {
    this.folds = choices.map(() => new JobFold());
    this.totalRows = choices.reduce((sum, { tokens }) => sum + tokens.length, 0);
    this.signed = new Promise((resolve) => {
      this.sign = resolve;
    });
    this.jobs = choices.map(({ tokens, request }, choice) =>
      engine.submit({ ...request, kind: "generate", prompt: { kind: "tokens", tokens } }, (event) => {
        // What was found of its prompt follows the place of one that waits.
        if (event.kind !== "queued") this.sign?.();
        this.folds[choice]!.add(event);
        if (event.kind === "prefix" && choice === 0) onPrefix(event);
        if (event.kind === "rolled") onRolled(choice, event);
        if (event.kind === "token" || event.kind === "text" || event.kind === "promptLogprobs") onEvent(choice, event);
        else if (event.kind === "pass" || event.kind === "queued") onProgress();
      }),
    );
    const all = this.jobs.map((job, choice) => this.outcome(job, choice));
    this.outcomes = Promise.all(all);
    // One that fails takes the others with it.
    this.outcomes.catch(() => this.cancel());
    void Promise.allSettled(all).then(() => this.sign?.());
  }

  get progress(): Progress {
    const { folds, totalRows: total } = this;
    const generated = folds.reduce((sum, fold) => sum + fold.generated, 0);
    const done = folds.reduce((sum, fold) => sum + fold.read, 0);
    const known = folds.filter(({ cached }) => cached !== undefined);
    const cached = known.length === 0 ? undefined : known.reduce((sum, fold) => sum + fold.cached!, 0);
    return { ahead: generated > 0 ? 0 : folds[0]!.ahead, done, total, cached, generated };
  }

  /** Milliseconds from the construction to the first token of any. */
  get firstTokenMs(): number | undefined {
    const times = this.folds.flatMap(({ firstTokenMs }) => firstTokenMs ?? []);
    return times.length === 0 ? undefined : Math.min(...times);
  }

  /**
   * Waits for a sign of life, so that a refused request can still be refused with its status.
   * @throws HttpError when the jobs failed meanwhile
   */
  async accepted(waitMs: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const patience = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, waitMs);
    });
    try {
      await Promise.race([this.signed, patience, this.outcomes]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** @throws HttpError */
  done(): Promise<readonly ChoiceOutcome[]> {
    return this.outcomes;
  }

  pause(): void {
    for (const job of this.jobs) job.pause();
  }

  resume(): void {
    for (const job of this.jobs) job.resume();
  }

  cancel(): void {
    for (const job of this.jobs) job.cancel();
  }

  cut(why: Cut): void {
    this.cutBy ??= why;
    this.cancel();
  }

  private async outcome(job: RunningJob<GenerateResult>, choice: number): Promise<ChoiceOutcome> {
    try {
      const result = await job.result;
      return { finishReason: result.finishReason, tokens: this.folds[choice]!.generated, result };
    } catch (thrown) {
      const { cutBy } = this;
      if (cutBy === undefined || asHundredweightError(thrown).code !== "CANCELLED") throw asHttpError(thrown);
      if (this.progress.generated === 0 && cutBy !== "asked") throw nothingYet(cutBy);
      return { finishReason: "length", tokens: this.folds[choice]!.generated, result: undefined };
    }
  }
}

function nothingYet(cut: Exclude<Cut, "asked">): HttpError {
  return cut === "shutdown"
    ? busy(503, "the server ended before the first token", "server_ending", 5)
    : new HttpError(504, "the time for this answer ended before the first token", { code: "deadline_exceeded" });
}
