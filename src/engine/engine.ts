/**
 * The engine: jobs in, events out. It owns the model and the KV cache, answers what needs no pass at once and leaves the
 * rest to the scheduler. It knows nothing of threads or transports.
 */
import { asHundredweightError, HundredweightError } from "../errors.js";
import { KvCache } from "../kv/cache.js";
import { Candidates } from "../sampling/candidates.js";
import { Ledger } from "../weights/ledger.js";
import { ledgerEntry } from "./accounts.js";
import { cancelled, StopSignal } from "./cancel.js";
import { EmbedTask } from "./embed.js";
import { GenerateTask } from "./generate.js";
import { measure } from "./measure.js";
import { type EngineParts, groupShapes } from "./parts.js";
import type { JobEvent, JobRequest, JobResult, MemoryReport, Prompt, ScoreRequest } from "./protocol.js";
import type { SchedulerJob } from "./running.js";
import { Scheduler } from "./scheduler.js";
import { score } from "./score.js";
import { checkIds, checkLength, type EvaluateHooks, Session } from "./session.js";
import { Watchers } from "./watchers.js";

type Emit = (event: JobEvent) => void;

/** Sequences kept for their past: a few conversations, or the last answers of everyone. */
const keptSequences = (sequences: number): number => 8 + 2 * sequences;

export class Engine {
  private readonly parts: EngineParts;
  private readonly stop: StopSignal;
  private readonly cache: KvCache;
  private readonly candidates: Candidates;
  private readonly ledger: Ledger;
  private readonly scheduler: Scheduler;
  private readonly watchers = new Watchers(() => this.scheduler.status());
  private closing: Promise<void> | undefined;
  /** Rows of the largest pass of jobs that run alone. */
  private mostRowsAlone = 0;

  constructor(parts: EngineParts, stop: StopSignal = new StopSignal()) {
    const { info, model, sequences = 1 } = parts;
    this.parts = parts;
    this.stop = stop;
    this.candidates = new Candidates(info.vocab, model.ops.bestLogits);
    this.cache = new KvCache({
      groups: groupShapes(model),
      // One more for the time in which a sequence is copied.
      sequences: sequences + keptSequences(sequences) + 1,
      growing: sequences,
      contextTokens: info.contextTokens,
      maxRows: info.chunkRows,
      copyPage: (group, from, to) => model.ops.kvCopyPage(model.kvGroups[group]!.pool, from, to),
    });
    model.ops.setCancelFlag(stop.words);
    this.ledger = new Ledger(() => model.ops.traffic?.());
    this.scheduler = new Scheduler({
      parts,
      cache: this.cache,
      ledger: this.ledger,
      stop,
      sequences,
      keptSequences: keptSequences(sequences),
      queueLimit: parts.queueLimit ?? Number.POSITIVE_INFINITY,
      onChange: () => this.watchers.changed(),
    });
  }

  /**
   * Starts a job, or lets it wait. `id` is a positive number the caller chose.
   * @throws whatever ends the job: CANCELLED, CONTEXT_EXCEEDED, OPTION_INVALID, QUEUE_FULL, ENGINE_CLOSED ...
   */
  submit(id: number, request: JobRequest, emit: Emit = () => {}): Promise<JobResult> {
    return new Promise((resolve, reject) => {
      const settle = (outcome: JobResult | HundredweightError): void =>
        outcome instanceof HundredweightError ? reject(outcome) : resolve(outcome);
      try {
        if (this.closing !== undefined) throw closed();
        const atOnce = this.answer(request);
        if (atOnce !== undefined) resolve(atOnce);
        else if (request.kind === "watch") this.watchers.add(id, emit, settle);
        else this.enter({ id, user: userOf(request), emit, settle, ...this.work(request, emit) });
      } catch (error) {
        reject(asHundredweightError(error));
      }
    });
  }

  cancel(id: number): void {
    if (!this.watchers.remove(id, cancelled())) this.scheduler.cancel(id, cancelled());
  }

  /** Stops working on a job between passes; it keeps what it has. */
  pause(id: number): void {
    this.scheduler.pause(id);
  }

  resume(id: number): void {
    this.scheduler.resume(id);
  }

  /** Stops everything and frees the model. */
  close(): Promise<void> {
    this.closing ??= this.shutDown();
    return this.closing;
  }

  private async shutDown(): Promise<void> {
    await this.scheduler.end(closed());
    this.watchers.end(closed());
    this.parts.model.ops.setCancelFlag(null);
    this.parts.model.close();
  }

  /** What needs no pass. */
  private answer(request: JobRequest): JobResult | undefined {
    const { tokenizer, profiler } = this.parts;
    switch (request.kind) {
      case "tokenize":
        return { kind: "tokenize", tokens: this.encode(request.prompt) };
      case "detokenize":
        return { kind: "detokenize", text: tokenizer.decode(request.tokens, { special: request.special }) };
      case "memory":
        return { kind: "memory", memory: this.memory() };
      case "profile":
        if (profiler === undefined)
          throw new HundredweightError("OPTION_INVALID", "profiling was not asked for when the model was opened");
        return { kind: "profile", profile: profiler.take() };
      default:
        return undefined;
    }
  }

  private enter(job: SchedulerJob): void {
    this.scheduler.submit(job);
    const { task } = job;
    if (task !== undefined) job.emit({ kind: "prompt", tokens: task.tokens.slice(0, task.promptTokens) });
  }

  private work(request: JobRequest, emit: Emit): Pick<SchedulerJob, "task" | "alone"> {
    const { parts, candidates } = this;
    switch (request.kind) {
      case "generate":
        return { task: new GenerateTask({ parts, candidates, emit }, this.prompt(request.prompt), request) };
      case "embed":
        return { task: new EmbedTask(this.prompt(request.prompt), parts.info.dim, request.pooling) };
      case "score":
        return { alone: () => this.alone((session) => this.score(session, request, emit)) };
      case "measure":
        return {
          alone: () => this.alone((session) => measure({ parts, session, candidates, cache: this.cache }, request)),
        };
      default:
        throw new HundredweightError("INTERNAL", `a job '${request.kind}' makes no passes`);
    }
  }

  private async alone(use: (session: Session) => Promise<JobResult>): Promise<JobResult> {
    const { parts, cache, stop } = this;
    const { vocab, chunkRows } = parts.info;
    const session = new Session({ model: parts.model, cache, vocab, chunkRows, stop });
    try {
      return await use(session);
    } finally {
      session.close();
      this.mostRowsAlone = Math.max(this.mostRowsAlone, session.mostRows);
    }
  }

  private async score(session: Session, request: ScoreRequest, emit: Emit): Promise<JobResult> {
    const { vocab, passWeightBytes } = this.parts.info;
    const began = performance.now();
    const hooks: EvaluateHooks = {
      onPass: (pass) => {
        const entry = ledgerEntry(pass, this.ledger.lap(), passWeightBytes);
        emit({ kind: "pass", entry, done: pass.position + pass.rows, total: request.tokens.length });
      },
    };
    await score(session, request, vocab, emit, hooks, this.parts.model.ops);
    return { kind: "score", computeMs: performance.now() - began };
  }

  /** @throws OPTION_INVALID, CONTEXT_EXCEEDED */
  private prompt(prompt: Prompt): Int32Array {
    const { vocab, contextTokens } = this.parts.info;
    const tokens = this.encode(prompt);
    if (tokens.length === 0) throw new HundredweightError("OPTION_INVALID", "the prompt has no tokens");
    checkLength(tokens.length, contextTokens);
    checkIds(tokens, vocab);
    return tokens;
  }

  private encode(prompt: Prompt): Int32Array {
    const { tokenizer } = this.parts;
    switch (prompt.kind) {
      case "text":
        return tokenizer.encode(prompt.text, {
          addSpecial: prompt.addSpecial ?? true,
          parseSpecial: prompt.parseSpecial ?? false,
        });
      case "segments":
        return tokenizer.encodeSegments(prompt.segments);
      case "tokens":
        return prompt.tokens;
    }
  }

  private memory(): MemoryReport {
    const { model, info } = this.parts;
    const counters = model.ops.counters();
    const traffic = model.ops.traffic?.();
    const touched = this.cache.touchedPages();
    const mostRows = Math.max(this.scheduler.mostRows, this.mostRowsAlone);
    const activationBytes = counters.activationBytes + counters.scratchBytes;
    return {
      kvBytes: counters.kvBytes,
      kvTouchedBytes: model.kvGroups.reduce((sum, { pool }, g) => sum + touched[g]! * pool.pageBytes, 0),
      activationBytes,
      activationTouchedBytes: Math.round((activationBytes * mostRows) / info.chunkRows),
      weightBytes: counters.weightBytes,
      allocations: counters.allocations,
      pinnedBytes: (traffic?.pinnedBytes ?? 0) + (traffic?.slotBytes ?? 0),
      slotBytes: traffic?.slotBytes ?? 0,
      ringBytes: traffic?.ringBytes ?? 0,
      lockedBytes: traffic?.lockedBytes ?? 0,
    };
  }
}

function userOf(request: JobRequest): string {
  return request.kind === "generate" || request.kind === "embed" ? (request.user ?? "") : "";
}

function closed(): HundredweightError {
  return new HundredweightError("ENGINE_CLOSED", "the model is closed");
}
