/**
 * The engine: jobs in, events out, one at a time in order of arrival (a scheduler that mixes the rows of many sequences
 * in one pass takes this place later; requests and events stay). It owns the model, the KV cache and the timeline, and
 * knows nothing of threads or transports.
 */
import { setImmediate as yieldToEvents } from "node:timers/promises";
import { asHundredweightError, HundredweightError } from "../errors.js";
import { KvCache } from "../kv/cache.js";
import type { RowTable } from "../ops/ops.js";
import { Candidates } from "../sampling/candidates.js";
import { Ledger, type PassTraffic } from "../weights/ledger.js";
import { StopSignal } from "./cancel.js";
import { Pooling } from "./embed.js";
import { generate } from "./generate.js";
import { measure } from "./measure.js";
import { type EngineParts, groupShapes } from "./parts.js";
import type { EngineStatus, JobEvent, JobRequest, JobResult, LedgerEntry, MemoryReport, Prompt } from "./protocol.js";
import { score } from "./score.js";
import { cancelled, type EvaluateHooks, type PassRecord, Session } from "./session.js";

interface Job {
  readonly id: number;
  readonly request: JobRequest;
  readonly emit: (event: JobEvent) => void;
  readonly settle: (outcome: JobResult | HundredweightError) => void;
}

export class Engine {
  private readonly parts: EngineParts;
  private readonly stop: StopSignal;
  private readonly cache: KvCache;
  private readonly session: Session;
  private readonly candidates: Candidates;
  private readonly ledger: Ledger;
  private readonly queue: Job[] = [];
  private running: Job | undefined;
  private closing: Promise<void> | undefined;
  private idle: (() => void) | undefined;
  private readonly paused = new Map<number, () => void>();
  private readonly watchers = new Map<number, Job>();
  private counts = { passes: 0, promptTokens: 0, cachedTokens: 0, generatedTokens: 0 };
  private lastPass: EngineStatus["lastPass"];

  constructor(parts: EngineParts, stop: StopSignal = new StopSignal()) {
    const { info, model } = parts;
    this.parts = parts;
    this.stop = stop;
    this.candidates = new Candidates(info.vocab);
    this.cache = new KvCache({
      groups: groupShapes(model),
      sequences: parts.sequences ?? 1,
      contextTokens: info.contextTokens,
      maxRows: info.chunkRows,
      copyPage: (group, from, to) => model.ops.kvCopyPage(model.kvGroups[group]!.pool, from, to),
    });
    this.session = new Session({ model, cache: this.cache, vocab: info.vocab, chunkRows: info.chunkRows, stop });
    model.ops.setCancelFlag(stop.words);
    this.ledger = new Ledger(() => model.ops.traffic?.());
  }

  /**
   * Queues a job. `id` is a positive number the caller chose.
   * @throws whatever ends the job: CANCELLED, CONTEXT_EXCEEDED, OPTION_INVALID, ENGINE_CLOSED ...
   */
  submit(id: number, request: JobRequest, emit: (event: JobEvent) => void = () => {}): Promise<JobResult> {
    return new Promise((resolve, reject) => {
      if (this.closing !== undefined) {
        reject(closed());
        return;
      }
      const settle = (outcome: JobResult | HundredweightError): void =>
        outcome instanceof HundredweightError ? reject(outcome) : resolve(outcome);
      const { queueLimit } = this.parts;
      if (request.kind === "watch") {
        this.watchers.set(id, { id, request, emit, settle });
        emit({ kind: "status", status: this.status() });
        return;
      }
      if (this.running !== undefined) {
        if (queueLimit !== undefined && this.queue.length >= queueLimit) {
          const details = { waiting: this.queue.length, queueLimit };
          reject(
            new HundredweightError("QUEUE_FULL", `${this.queue.length} jobs wait already; try again later`, details),
          );
          return;
        }
        emit({ kind: "queued", ahead: this.queue.length });
      }
      this.queue.push({ id, request, emit, settle });
      this.report();
      void this.drain();
    });
  }

  /** Stops working on a job between passes; it keeps what it has. */
  pause(id: number): void {
    if (!this.paused.has(id)) this.paused.set(id, () => {});
    this.report();
  }

  resume(id: number): void {
    const wake = this.paused.get(id);
    this.paused.delete(id);
    wake?.();
    this.report();
  }

  private turn(id: number): Promise<void> {
    if (!this.paused.has(id)) return Promise.resolve();
    return new Promise((resolve) => {
      this.paused.set(id, resolve);
    });
  }

  private status(): EngineStatus {
    const { contextTokens } = this.parts.info;
    return {
      running: this.running === undefined ? 0 : 1,
      waiting: this.queue.length,
      paused: this.paused.size,
      kvTokensUsed: this.session.length,
      kvTokens: contextTokens,
      ...this.counts,
      lastPass: this.lastPass,
    };
  }

  private report(): void {
    for (const watcher of this.watchers.values()) watcher.emit({ kind: "status", status: this.status() });
  }

  cancel(id: number): void {
    this.resume(id);
    const watcher = this.watchers.get(id);
    if (watcher !== undefined) {
      this.watchers.delete(id);
      watcher.settle(cancelled());
      return;
    }
    if (this.running?.id === id) {
      this.stop.stop();
      return;
    }
    const at = this.queue.findIndex((job) => job.id === id);
    if (at >= 0) this.queue.splice(at, 1)[0]!.settle(cancelled());
  }

  /** Stops everything and frees the model. */
  close(): Promise<void> {
    this.closing ??= this.shutDown();
    return this.closing;
  }

  private async shutDown(): Promise<void> {
    for (const job of [...this.queue.splice(0), ...this.watchers.values()]) job.settle(closed());
    this.watchers.clear();
    for (const id of this.paused.keys()) this.resume(id);
    if (this.running !== undefined) {
      this.stop.stop();
      await new Promise<void>((resolve) => {
        this.idle = resolve;
      });
    }
    this.parts.model.ops.setCancelFlag(null);
    this.parts.model.close();
  }

  private async drain(): Promise<void> {
    if (this.running !== undefined) return;
    for (let job = this.queue.shift(); job !== undefined; job = this.queue.shift()) {
      this.running = job;
      this.stop.begin(job.id);
      let outcome: JobResult | HundredweightError;
      try {
        outcome = await this.perform(job);
      } catch (error) {
        outcome = asHundredweightError(error);
      }
      this.stop.end();
      this.parts.profiler?.pause();
      this.running = undefined;
      this.paused.delete(job.id);
      job.settle(outcome);
      this.report();
    }
    this.idle?.();
  }

  private async perform(job: Job): Promise<JobResult> {
    const { request, emit } = job;
    const { parts, session } = this;
    this.ledger.lap(); // what passes of other jobs left, failed ones too
    switch (request.kind) {
      case "generate": {
        const prompt = this.encode(request.prompt);
        emit({ kind: "prompt", tokens: prompt });
        const hooks = (total: number): EvaluateHooks => this.hooks(emit, total);
        const { candidates } = this;
        const { contextTokens } = parts.info;
        const turn = (): Promise<void> => this.turn(job.id);
        const result = await generate(
          { parts, session, candidates, contextTokens, emit, hooks, turn },
          prompt,
          request,
        );
        this.counts.promptTokens += prompt.length;
        this.counts.cachedTokens += result.reusedTokens;
        this.counts.generatedTokens += result.decodeRows;
        return result;
      }
      case "embed":
        return this.embed(this.encode(request.prompt), request.pooling);
      case "watch":
        throw new HundredweightError("INTERNAL", "a watcher does not run");
      case "score": {
        const began = performance.now();
        await score(session, request, parts.info.vocab, emit, this.hooks(emit, request.tokens.length));
        return { kind: "score", computeMs: performance.now() - began };
      }
      case "measure":
        return measure({ parts, session, candidates: this.candidates, cache: this.cache }, request);
      case "tokenize":
        return { kind: "tokenize", tokens: this.encode(request.prompt) };
      case "detokenize":
        return { kind: "detokenize", text: parts.tokenizer.decode(request.tokens, { special: request.special }) };
      case "memory":
        return { kind: "memory", memory: this.memory() };
      case "profile":
        if (parts.profiler === undefined)
          throw new HundredweightError("OPTION_INVALID", "profiling was not asked for when the model was opened");
        return { kind: "profile", profile: parts.profiler.take() };
    }
  }

  private async embed(tokens: Int32Array, pooling: "mean" | "last"): Promise<JobResult> {
    const { session, cache, parts } = this;
    const { dim, chunkRows } = parts.info;
    if (tokens.length === 0) throw new HundredweightError("OPTION_INVALID", "the text has no tokens");
    const pool = new Pooling(dim, pooling);
    session.rewind(0);
    for (let at = 0; at < tokens.length; at += chunkRows) {
      if (this.stop.requested) throw cancelled();
      const count = Math.min(chunkRows, tokens.length - at);
      cache.append(session.sequence, count);
      const rows: RowTable = {
        count,
        ids: tokens.subarray(at, at + count),
        positions: Int32Array.from({ length: count }, (_, i) => at + i),
        sequences: new Int32Array(count).fill(session.sequence),
        blockTables: cache.blockTables,
      };
      const all = Int32Array.from({ length: count }, (_, i) => i);
      const wanted =
        pooling === "mean" ? all : at + count === tokens.length ? all.subarray(count - 1) : all.subarray(0, 0);
      await parts.model.forward(rows, new Int32Array(0), () => {}, {
        wanted,
        onHidden: (hidden) => {
          for (let i = 0; i < hidden.length; i += dim) pool.add(hidden.subarray(i, i + dim));
        },
      });
      await yieldToEvents();
    }
    session.rewind(0);
    return { kind: "embed", embedding: pool.result(), tokens: tokens.length };
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
    const activationBytes = counters.activationBytes + counters.scratchBytes;
    return {
      kvBytes: counters.kvBytes,
      kvTouchedBytes: model.kvGroups.reduce((sum, { pool }, g) => sum + touched[g]! * pool.pageBytes, 0),
      activationBytes,
      activationTouchedBytes: Math.round((activationBytes * this.session.mostRows) / info.chunkRows),
      weightBytes: counters.weightBytes,
      allocations: counters.allocations,
      pinnedBytes: (traffic?.pinnedBytes ?? 0) + (traffic?.slotBytes ?? 0),
      ringBytes: traffic?.ringBytes ?? 0,
      lockedBytes: traffic?.lockedBytes ?? 0,
    };
  }

  private hooks(emit: (event: JobEvent) => void, total: number): EvaluateHooks {
    return {
      onPass: (pass) => {
        const entry = ledgerEntry(pass, this.ledger.lap(), this.parts.info.passWeightBytes);
        this.counts.passes++;
        this.lastPass = { ...entry, elapsedMs: pass.elapsedMs };
        emit({ kind: "pass", entry, done: pass.position + pass.rows, total });
        this.report();
      },
    };
  }
}

function ledgerEntry(pass: PassRecord, traffic: PassTraffic | undefined, weightBytes: number): LedgerEntry {
  const stallMs = traffic?.stallMs ?? 0;
  return {
    position: pass.position,
    rows: pass.rows,
    diskBytes: traffic?.diskBytes ?? 0,
    pinnedBytes: traffic?.pinnedBytes ?? weightBytes,
    stallMs,
    computeMs: Math.max(0, pass.elapsedMs - stallMs),
    expertHits: traffic?.expertHits ?? 0,
    expertMisses: traffic?.expertMisses ?? 0,
    acceptedDrafts: 0,
  };
}

function closed(): HundredweightError {
  return new HundredweightError("ENGINE_CLOSED", "the model is closed");
}
