/** The fields around the choices, whole or in chunks, for both routes: identity, usage, timings, progress. */
import type { GenerateResult } from "../../link/protocol.js";
import type { ChoiceJob, ChoiceOutcome, Progress } from "../answers/answer-set.js";
import type { ServedModel } from "../service/model-service.js";
import type { CommonInput } from "./fields.js";
import { type Identity, identityOf } from "./identity.js";
import { promptProgressOf, RunningTimings, timingsOf, usageOf } from "./usage.js";

/** The `object` fields of an answer in one piece and of a chunk, and what its id begins with. */
interface ResponseKind {
  readonly prefix: string;
  readonly whole: string;
  readonly chunk: string;
}

export class Envelope {
  private readonly kind: ResponseKind;
  private readonly identity: Identity;
  private readonly choices: readonly ChoiceJob[];
  private readonly input: CommonInput;
  private readonly running: RunningTimings | undefined;

  constructor(kind: ResponseKind, served: ServedModel, choices: readonly ChoiceJob[], input: CommonInput) {
    this.kind = kind;
    this.identity = identityOf(kind.prefix, served);
    this.choices = choices;
    this.input = input;
    this.running = input.timings_per_token === true ? new RunningTimings(choices) : undefined;
  }

  /** A token was made: chunks tell from now on how fast, where that is wanted. */
  token(): void {
    this.running?.token();
  }

  chunk(choices: readonly object[]): object {
    const timings = this.running?.any === true ? { timings: this.running.now } : {};
    return { ...this.first(choices), ...timings };
  }

  /** A chunk that says nothing of the answer yet. */
  first(choices: readonly object[]): object {
    const usage = this.wantsUsage ? { usage: null } : {};
    return { ...this.identity, object: this.kind.chunk, choices, ...usage };
  }

  /** A chunk without choices, when progress is wanted and there is no answer yet. */
  progress(progress: Progress, elapsedMs: number): object | undefined {
    this.running?.progress(progress);
    if (this.input.return_progress !== true) return undefined;
    return { ...this.chunk([]), prompt_progress: promptProgressOf(progress, elapsedMs) };
  }

  /**
   * The end of a stream: `chunks` finish the choices; usage, when wanted, comes after them in a chunk without choices.
   */
  end(chunks: readonly object[], outcomes: readonly ChoiceOutcome[], reasoningTokens = 0): readonly object[] {
    const timings = timingsOf(outcomes);
    if (this.wantsUsage) {
      return [...chunks, { ...this.chunk([]), usage: this.usage(outcomes, reasoningTokens), ...timings }];
    }
    return chunks.map((chunk, i) => (i === chunks.length - 1 ? { ...chunk, ...timings } : chunk));
  }

  whole(choices: readonly object[], outcomes: readonly ChoiceOutcome[], reasoningTokens = 0): object {
    const { identity, kind } = this;
    const usage = this.usage(outcomes, reasoningTokens);
    return { ...identity, object: kind.whole, choices, usage, ...timingsOf(outcomes) };
  }

  private get wantsUsage(): boolean {
    return this.input.stream_options?.include_usage === true;
  }

  private usage(outcomes: readonly ChoiceOutcome[], reasoningTokens: number): object {
    return usageOf(this.choices, outcomes, this.input.n ?? 1, reasoningTokens);
  }
}

/**
 * Says where the answer breaks a schema that was not enforced whole, in a field of our own; nothing when it breaks
 * nothing.
 */
export function violationsOf(result: GenerateResult | undefined): object {
  const { violations = [] } = result ?? {};
  return violations.length === 0 ? {} : { schema_violations: violations };
}
