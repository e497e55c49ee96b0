/** An answer: prompt in, then a token at a time from the logits of the last row, until something ends it. */
import { HundredweightError } from "../errors.js";
import type { AllowedTokens } from "../sampling/allowed.js";
import type { Candidates } from "../sampling/candidates.js";
import { SamplerChain, type SamplingSettings } from "../sampling/chain.js";
import type { Constraints } from "../sampling/constraint/constraint.js";
import type { LeftOut } from "../sampling/constraint/grammar/rule-book.js";
import type { Guide } from "../sampling/constraint/guide.js";
import { type Violation, validateSchema } from "../sampling/constraint/json/validate.js";

import type { Constraint, EitherWay } from "../sampling/constraint/source.js";
import { type RowScans, topLogprobs } from "../sampling/logprobs.js";
import type { StreamDecoder } from "../tokenizer/types.js";
import type { Guessed } from "./draft-model.js";
import { Drafter, type DraftMode, type LearnedOdds } from "./drafts/drafter.js";
import type { FinishReason, GenerateRequest, GenerateResult, JobEvent, Resume, TokenLogprobs } from "./jobs.js";
import type { EngineParts } from "./parts.js";
import { StopStrings } from "./stop-strings.js";
import { mostAnswerRows, type Past, type Rolling, type Task, type Wanted } from "./task.js";
import { ThinkingBudget } from "./thinking-budget.js";
import { type RolledContext, RollingTokens, rollOf, type WhenFull } from "./when-full.js";

export interface TaskContext {
  readonly parts: EngineParts;
  /** Scratch shared by all tasks: one row is sampled at a time. */
  readonly candidates: Candidates;
  readonly constraints: Constraints;
  readonly emit: (event: JobEvent) => void;
  /** How answers are guessed ahead, where the request does not say. */
  readonly drafts: DraftMode;
  /** The way of answers that have filled the context. */
  readonly whenFull: WhenFull;
  /** How often guesses were right so far. */
  readonly learned: LearnedOdds;
}

export class GenerateTask implements Task, Guessed {
  readonly tokens: Int32Array;
  known: number;
  /** Tokens of the prompt that are at the beginning of `tokens`. */
  promptTokens: number;
  readonly mostPositions: number;
  readonly rolling: Rolling | undefined;
  result: GenerateResult | undefined;
  private readonly context: TaskContext;
  private readonly request: GenerateRequest;
  /** Tokens of the prompt. */
  private readonly asked: number;
  private readonly limit: number;
  /** Absent: it ends with its context. */
  private readonly rolled: RollingTokens | undefined;
  private readonly chain: SamplerChain;
  private readonly decoder: StreamDecoder;
  private readonly stops: StopStrings;
  private readonly thinking: ThinkingBudget | undefined;
  private readonly guide: Guide | undefined;
  private readonly leftOut: readonly LeftOut[];
  /** Parts of an answer's schema are not enforced: then the whole text is kept, and checked at the end. */
  private readonly checks: boolean;
  private said = "";
  /** The first position whose logits have not been seen. */
  private next: number;
  private readonly ofPrompt: TokenLogprobs[] = [];
  generated = 0;
  private readonly drafter: Drafter;
  /** Guesses of what comes next, in tokens behind the known ones: checked in the pass of the newest token. */
  drafts = 0;
  private reused = 0;
  private began = 0;
  private prefilled = 0;

  /** @throws OPTION_INVALID for sampling settings out of range, a constraint that cannot be obeyed */
  constructor(context: TaskContext, prompt: Int32Array, request: GenerateRequest) {
    const { parts, candidates } = context;
    const { contextTokens, trainedContextTokens } = parts.info;
    const { endOfGeneration } = parts.tokenizer;
    this.context = context;
    this.request = request;
    this.promptTokens = prompt.length;
    this.asked = prompt.length;
    const rolls = (request.whenFull?.how ?? context.whenFull.how) !== "stop";
    // What goes on behind its context may go on for ever.
    const most = rolls ? Math.max(contextTokens, trainedContextTokens) : Number.POSITIVE_INFINITY;
    this.limit = request.maxTokens < 0 ? most : request.maxTokens;
    // The last token of an answer is not evaluated.
    const positions = prompt.length + Math.max(0, this.limit - 1);
    this.mostPositions = Math.min(contextTokens, positions);
    this.tokens = new Int32Array(this.mostPositions);
    this.tokens.set(prompt);
    const roll =
      positions > contextTokens ? rollOf({ ...context.whenFull, ...request.whenFull }, this.rolls()) : undefined;
    this.rolled = roll && new RollingTokens(roll, this.tokens, prompt);
    this.rolling = this.rolled && this.rollingOf(this.rolled);
    this.known = prompt.length;
    // The last row is always evaluated: its logits are not kept.
    this.next = request.promptLogprobs === undefined ? prompt.length - 1 : 0;
    const settings = request.ignoreEos ? banEndings(request.sampling, endOfGeneration) : request.sampling;
    this.chain = new SamplerChain(settings, candidates, contextTokens + 1, parts.tokenizer);
    this.decoder = parts.streamDecoder(request.shown);
    this.stops = new StopStrings(request.stop);
    this.thinking = request.thinking && new ThinkingBudget(request.thinking);
    this.guide = request.constraint === undefined ? undefined : context.constraints.guide(request.constraint);
    this.leftOut = this.guide?.leftOut ?? [];
    // What calls break is seen by whoever reads them.
    this.checks = this.leftOut.length > 0 && request.constraint?.kind !== "shape";
    if (this.leftOut.length > 0) context.emit({ kind: "constraint", leftOut: this.leftOut });
    const prediction = request.prediction ?? [];
    const mode = request.drafts ?? context.drafts;
    const guesser = parts.draftModel === undefined && parts.model.blocks !== undefined ? "mtp" : "model";
    const { guide } = this;
    const { scope: owner } = request;
    this.drafter = new Drafter({ mode, learned: context.learned, guesser, guide, prediction, prompt, owner });
    for (const id of prompt) this.chain.accept(id);
    if (request.resume !== undefined) this.resume(request.resume, prompt);
  }

  /** Brings everything that follows an answer to where it was behind the tokens that are there. */
  private resume({ tokens, sampler }: Resume, prompt: Int32Array): void {
    if (!(Number.isInteger(tokens) && tokens >= 0 && tokens < prompt.length))
      throw new HundredweightError(
        "OPTION_INVALID",
        `resume: ${tokens} of ${prompt.length} tokens cannot be an answer`,
      );
    const texts: string[] = [];
    for (const id of prompt.subarray(prompt.length - tokens)) {
      if (this.guide?.accept(id) === false)
        throw new HundredweightError("OPTION_INVALID", `resume: the constraint refuses token ${id}`);
      const written = this.decoder.push(id);
      this.thinking?.accept(written);
      const text = this.stops.push(written);
      if (this.checks) this.said += text;
      texts.push(text);
    }
    this.chain.state = sampler;
    this.context.emit({ kind: "resumed", texts });
  }

  private rolls(): RolledContext {
    const { model, info } = this.context.parts;
    const windows = model.kvGroups.map(({ window }) => window);
    const { contextTokens } = info;
    const fault = model.turns === undefined ? "nothing is known of its keys" : model.turns.fault;
    return { contextTokens, promptTokens: this.asked, windows, fault };
  }

  private rollingOf(rolled: RollingTokens): Rolling {
    const { roll } = rolled;
    let told = 0;
    const took = (positions: number): void => {
      this.next += positions;
      this.known = rolled.known;
      this.promptTokens = rolled.times === 0 ? this.asked : Math.min(this.asked, roll.keep);
      this.drafts = 0;
    };
    return {
      roll,
      get full() {
        return rolled.full;
      },
      left: () => {
        rolled.go();
        took(-roll.discard);
        if (rolled.times <= told) return;
        told = rolled.times;
        this.context.emit({ kind: "rolled", ...roll, leftOut: rolled.leftOut });
      },
      // Only what was moved cannot be read again as it is now.
      restart: () => {
        if (roll.how === "reread") return 0;
        const { leftOut } = rolled;
        rolled.restart();
        took(leftOut);
        return leftOut;
      },
    };
  }

  /** Moved keys are no past of their tokens; what was read again is, but of a text that nobody will send. */
  get past(): Past {
    if (this.rolled === undefined || this.rolled.times === 0) return "kept";
    return this.rolled.roll.how === "shift" ? "gone" : "spare";
  }

  private get scans(): RowScans {
    return this.context.parts.scans ?? {};
  }

  get reusable(): number {
    return Math.min(this.next, this.known);
  }

  get answering(): boolean {
    return this.generated > 0;
  }

  start(reused: number): void {
    this.reused = reused;
    this.began = performance.now();
  }

  wanted(position: number): Wanted {
    return position >= this.next ? "logits" : "nothing";
  }

  take(position: number, row: Float32Array): void {
    if (position < this.next || this.result !== undefined) return;
    if (position < this.promptTokens - 1) {
      this.ofPrompt.push(topLogprobs(row, this.tokens[position + 1]!, this.request.promptLogprobs ?? 0, this.scans));
      this.next = position + 1;
      return;
    }
    this.flushPrompt();
    this.next = position + 1;
    this.choose(row);
  }

  get odds(): readonly number[] | undefined {
    return this.drafter.odds;
  }

  passed(tried: number, accepted: number): void {
    this.flushPrompt();
    this.drafter.learn(tried, accepted);
    if (this.prefilled === 0 && this.next >= this.promptTokens) this.prefilled = performance.now();
    if (this.result === undefined) {
      this.drafts = this.answering ? this.guess() : 0;
      return;
    }
    this.drafter.ended();
    const drafts = this.drafter.counts;
    if (Object.keys(drafts).length > 0) this.result = { ...this.result, drafts };
    this.result = { ...this.result, decodeMs: performance.now() - this.prefilled };
    this.result = { ...this.result, prefillMs: this.prefilled - this.began };
  }

  wants(): number {
    const room = Math.min(mostAnswerRows - 1, this.mostPositions - this.known);
    return this.drafter.wants(room, this.drafts);
  }

  get always(): boolean {
    return this.drafter.always;
  }

  get hope(): number {
    return this.drafter.hope;
  }

  oddsOf(certainty: number): number {
    return this.drafter.oddsOf(certainty);
  }

  /** Guesses by evaluating take the place of others. */
  offer(ids: readonly number[], certainty: readonly number[]): void {
    if (ids.length === 0 || !this.drafter.offer(certainty)) return;
    this.tokens.set(ids, this.known);
    this.drafts = ids.length;
  }

  /** @returns how many tokens it wrote behind the known ones */
  private guess(): number {
    const ids = this.drafter.propose(Math.min(mostAnswerRows - 1, this.mostPositions - this.known));
    this.tokens.set(ids, this.known);
    return ids.length;
  }

  /** One event for the prompt's rows of a pass. */
  private flushPrompt(): void {
    const logprobs = this.ofPrompt.splice(0);
    const first = this.next + 1 - logprobs.length;
    if (logprobs.length > 0) this.context.emit({ kind: "promptLogprobs", first, logprobs });
  }

  private choose(row: Float32Array): void {
    const { request, chain, context, guide } = this;
    const { parts, emit } = context;
    const allowed = guide?.allowed();
    // Nothing may come when the vocabulary cannot write what the constraint wants.
    if (guide?.done === true && guide.accepts) {
      this.finish("stop");
      return;
    }
    if (this.limit === 0 || allowed?.count === 0) {
      this.finish("length");
      return;
    }
    const forced = this.forced(allowed);
    const id = forced ?? sample(parts, chain, row, allowed);
    if (!request.ignoreEos && parts.tokenizer.endOfGeneration.has(id)) {
      this.finish("stop");
      return;
    }
    chain.accept(id);
    if (guide?.accept(id) === false) throw new HundredweightError("INTERNAL", `the constraint refuses token ${id}`);
    this.generated++;
    const written = this.decoder.push(id);
    this.thinking?.accept(written);
    const text = this.stops.push(written);
    if (this.checks) this.said += text;
    const logprobs = this.logprobsOf(row, id, forced !== undefined);
    const sampler = request.resumable === true ? chain.state : undefined;
    emit({ kind: "token", id, text, ...(logprobs && { logprobs }), ...(sampler && { sampler }) });
    if (this.stops.found !== undefined || guide?.done === true) this.finish("stop");
    else if (this.generated >= this.limit) this.finish("length");
    else if (this.rolled !== undefined) {
      this.rolled.push(id);
      this.known = this.rolled.known;
    } else if (this.known >= this.mostPositions) this.finish("length");
    else this.tokens[this.known++] = id;
    this.drafter.accept(id);
  }

  private logprobsOf(row: Float32Array, id: number, forced: boolean): TokenLogprobs | undefined {
    const { logprobs, logprobsSampled } = this.request;
    if (logprobs === undefined) return undefined;
    if (logprobsSampled !== true) return topLogprobs(row, id, logprobs, this.scans);
    if (!forced) return this.chain.probabilities(id, logprobs);
    return { id, logprob: 0, top: logprobs > 0 ? [{ id, logprob: 0 }] : [] };
  }

  /** The token that ends thinking, unless the constraint wants another one before it. */
  private forced(allowed: AllowedTokens | undefined): number | undefined {
    const id = this.thinking?.forced;
    if (id === undefined || allowed === undefined) return id;
    return allowed.has(id) ? id : undefined;
  }

  private finish(finishReason: FinishReason): void {
    const rest = this.stops.push(this.decoder.flush()) + this.stops.flush();
    if (rest !== "") this.context.emit({ kind: "text", text: rest });
    const checked = this.checks && finishReason === "stop";
    const stopText = this.stops.found;
    this.result = {
      kind: "generate",
      finishReason,
      ...(stopText !== undefined && { stopText }),
      reusedTokens: this.reused,
      prefillMs: 0,
      prefillRows: this.asked - this.reused,
      decodeMs: 0,
      decodeRows: this.known + (this.rolled?.leftOut ?? 0) - this.asked,
      ...(this.rolled !== undefined && this.rolled.times > 0 && { leftOut: this.rolled.leftOut }),
      ...(checked && { violations: violationsOf(this.request.constraint, this.said + rest) }),
    };
  }
}

/** Lists where an answer breaks a schema that was not enforced whole. */
function violationsOf(constraint: Constraint | undefined, text: string): readonly Violation[] | "unknown" {
  const ways = constraint?.kind === "either" ? constraint.of : constraint === undefined ? [] : [{ constraint }];
  const way: EitherWay | undefined = ways.find((one) => one.constraint.kind === "json_schema");
  if (way?.constraint.kind !== "json_schema") return "unknown";
  // What was thought before is no part of the answer, nor is what begins one.
  const { begun = "" } = constraint?.kind === "either" ? constraint : {};
  const before = way.before?.slice(begun.length);
  const signs = [...(constraint?.thinking?.close ?? []), ...(before ? [before] : [])];
  const from = Math.max(0, ...signs.map((sign) => (text.includes(sign) ? text.indexOf(sign) + sign.length : 0)));
  try {
    return validateSchema(way.constraint.schema, JSON.parse(text.slice(from))) ?? "unknown";
  } catch {
    return "unknown"; // cut by a stop text
  }
}

function banEndings(settings: SamplingSettings, ids: ReadonlySet<number>): SamplingSettings {
  return { ...settings, logitBias: [...settings.logitBias, ...[...ids].map((id) => [id, -Infinity] as const)] };
}

/** @internal The chain's choice; its time is that of `sample` in a profile. */
export function sample(
  { profiler }: EngineParts,
  chain: SamplerChain,
  logits: Float32Array,
  allowed?: AllowedTokens,
): number {
  const choose = (): number => chain.sample(logits, allowed);
  return profiler === undefined ? choose() : profiler.time("sample", choose);
}
