/** The jobs behind one request: an answer for each choice, started together, paused, cut short or cancelled together. */

import { asHundredweightError } from "../../errors.js";
import type { RunningJob } from "../../link/client.js";
import type { FinishReason, GenerateRequest, GenerateResult, JobEvent } from "../../link/protocol.js";
import type { LeftOut } from "../../sampling/constraint/json/compile.js";
import { asHttpError, busy, HttpError } from "../http/http-error.js";
import type { EngineHandle } from "../service/model-service.js";

export interface ChoiceJob {
  readonly tokens: Int32Array;
  readonly request: Omit<GenerateRequest, "kind" | "prompt">;
}

export type AnswerEvent = Extract<JobEvent, { kind: "token" | "text" | "promptLogprobs" }>;

/** Why answers end before they are done: they keep what they have. */
export type Cut = "deadline" | "shutdown";

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
  readonly generated: number;
}

export class AnswerSet {
  /** Milliseconds from the construction to the first token. */
  firstTokenMs: number | undefined;
  private readonly jobs: RunningJob<GenerateResult>[];
  private readonly counts: number[];
  private readonly reached: number[];
  private readonly totalRows: number;
  private readonly outcomes: Promise<ChoiceOutcome[]>;
  private readonly began = performance.now();
  private ahead = 0;
  private cutBy: Cut | undefined;
  /** What of a schema is not enforced. */
  leftOut: readonly LeftOut[] = [];
  private sign: (() => void) | undefined;
  private readonly signed: Promise<void>;

  constructor(
    engine: EngineHandle,
    choices: readonly ChoiceJob[],
    onEvent: (choice: number, event: AnswerEvent) => void,
    onProgress: () => void,
  ) {
    this.counts = choices.map(() => 0);
    this.reached = choices.map(() => 0);
    this.totalRows = choices.reduce((sum, { tokens }) => sum + tokens.length, 0);
    this.signed = new Promise((resolve) => {
      this.sign = resolve;
    });
    this.jobs = choices.map(({ tokens, request }, choice) =>
      engine.submit({ ...request, kind: "generate", prompt: { kind: "tokens", tokens } }, (event) => {
        this.sign?.();
        this.look(choice, event);
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
    const { ahead, totalRows: total } = this;
    const done = this.reached.reduce((sum, n) => sum + n, 0);
    return { ahead, done, total, generated: this.counts.reduce((sum, n) => sum + n, 0) };
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

  private look(choice: number, event: JobEvent): void {
    if (event.kind === "constraint") this.leftOut = event.leftOut;
    else if (event.kind === "token") {
      this.counts[choice] = this.counts[choice]! + 1;
      this.firstTokenMs ??= performance.now() - this.began;
      this.ahead = 0;
    } else if (event.kind === "queued" && choice === 0) this.ahead = event.ahead;
    else if (event.kind === "prompt" && choice === 0) this.ahead = 0;
    else if (event.kind === "pass" && event.total > 0) this.reached[choice] = event.done;
  }

  private async outcome(job: RunningJob<GenerateResult>, choice: number): Promise<ChoiceOutcome> {
    try {
      const result = await job.result;
      return { finishReason: result.finishReason, tokens: this.counts[choice]!, result };
    } catch (thrown) {
      const { cutBy } = this;
      if (cutBy === undefined || asHundredweightError(thrown).code !== "CANCELLED") throw asHttpError(thrown);
      if (this.progress.generated === 0) throw nothingYet(cutBy);
      return { finishReason: "length", tokens: this.counts[choice]!, result: undefined };
    }
  }
}

function nothingYet(cut: Cut): HttpError {
  return cut === "shutdown"
    ? busy(503, "the server ended before the first token", "server_ending", 5)
    : new HttpError(504, "the time for this answer ended before the first token", { code: "deadline_exceeded" });
}
