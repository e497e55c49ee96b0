/**
 * The engine: jobs in, events out. It owns the model and the KV cache, answers what needs no pass at once and leaves
 * the rest to the scheduler. It knows nothing of threads or transports.
 */
import { asHundredweightError, HundredweightError } from "../errors.js";
import { Candidates } from "../sampling/candidates.js";
import { Constraints } from "../sampling/constraint/constraint.js";
import { StateCache } from "../state/cache.js";
import { encodePair, shownText } from "../tokenizer/index.js";
import { Ledger } from "../weights/ledger.js";
import { DraftBlocks } from "./draft-blocks.js";
import { DraftModel } from "./draft-model.js";
import { LearnedOdds } from "./drafts/drafter.js";
import { EmbedTask, RankTask } from "./embed.js";
import { GenerateTask } from "./generate.js";
import type { AdapterScales, JobEvent, JobRequest, JobResult, MeasureRequest, MemoryReport, Prompt } from "./jobs.js";
import { measure } from "./measure.js";
import { type EngineParts, stateOptions } from "./parts.js";
import type { Known } from "./prefixes.js";
import type { SharedJob } from "./running.js";
import { Scheduler } from "./scheduler.js";
import { ScoreTask } from "./score.js";
import { cancelled, StopSignal } from "./stop-signal.js";
import type { Task } from "./task.js";
import { Watchers } from "./watchers.js";
import { checkShift } from "./when-full.js";

type Emit = (event: JobEvent) => void;

/** Sequences kept for their past: a few conversations, or the last answers of everyone. */
const keptSequences = (sequences: number, slots = 0): number => Math.max(8 + 2 * sequences, slots);

export class Engine {
  private readonly parts: EngineParts;
  private readonly cache: StateCache;
  private readonly candidates: Candidates;
  private readonly constraints: Constraints;
  private readonly learned = new LearnedOdds();
  private readonly scheduler: Scheduler;
  private readonly watchers = new Watchers(() => this.scheduler.status());
  private closing: Promise<void> | undefined;
  /** How much each adapter counts where a request does not say. */
  private scales: AdapterScales;

  constructor(parts: EngineParts, stop: StopSignal = new StopSignal()) {
    const { info, model, scans, sequences = 1 } = parts;
    const kept = keptSequences(sequences, model.slots?.slots);
    if (parts.whenFull?.how === "shift") checkShift({ fault: model.turns?.fault });
    this.parts = parts;
    this.scales = (info.adapters ?? []).map(({ scale }) => scale);
    this.candidates = new Candidates(info.vocab, scans?.bestLogits);
    this.constraints = new Constraints(parts.tokenizer);
    if (parts.stays === true) this.constraints.prepare();
    this.cache = new StateCache({
      ...stateOptions(model, model.backend),
      // One more for the time in which a sequence is copied, one for a past that is read.
      sequences: sequences + kept + (parts.past === undefined ? 1 : 2),
      growing: sequences,
      contextTokens: info.contextTokens,
      maxRows: info.chunkRows,
    });
    model.backend.setCancelFlag(stop.words);
    this.scheduler = new Scheduler({
      parts,
      cache: this.cache,
      ledger: new Ledger(() => model.backend.traffic?.()),
      stop,
      ...(parts.draftModel !== undefined && {
        draftModel: new DraftModel(parts.draftModel, parts.tokenizer, sequences),
      }),
      draftBlocks: parts.draftModel === undefined ? this.draftBlocks() : undefined,
      sequences,
      keptSequences: kept,
      queueLimit: parts.queueLimit ?? Number.POSITIVE_INFINITY,
      onChange: () => this.watchers.changed(),
    });
  }

  /** Blocks of the file that guess ahead of answers, where they are bound. */
  private draftBlocks(): DraftBlocks | undefined {
    const { cache } = this;
    const { info, model, scans = {} } = this.parts;
    const { blocks, carries: of = "hidden", kvGroups } = model;
    if (blocks === undefined || blocks.length === 0) return undefined;
    const { dim, vocab, chunkRows: mostRows } = info;
    const windowed = kvGroups.some(({ window }) => window > 0);
    const follows = (task: Task): boolean => task instanceof GenerateTask;
    return new DraftBlocks({ blocks, of, cache, dim, vocab, mostRows, scans, windowed, follows });
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
        else if (request.kind === "saveSession" || request.kind === "loadSession")
          this.session(request).then(resolve, (error) => reject(asHundredweightError(error)));
        else if (request.kind === "measure") this.measure(id, request).then(resolve, reject);
        else this.enter(this.adapted(request, emit), { id, user: userOf(request), emit, settle }, request.kind);
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
    const { model, liveMemory, remember, rememberExperts } = this.parts;
    model.backend.setCancelFlag(null);
    rememberExperts?.();
    model.close();
    this.parts.draftModel?.model.close();
    const learned = liveMemory?.bytesPerSecond;
    if (learned !== undefined) remember?.(learned);
  }

  /** The result of a request that needs no pass; undefined for the others. */
  private answer(request: JobRequest): JobResult | undefined {
    const { tokenizer, profiler } = this.parts;
    switch (request.kind) {
      case "tokenize":
        return { kind: "tokenize", tokens: this.encode(request.prompt) };
      case "detokenize":
        return { kind: "detokenize", text: tokenizer.decode(request.tokens, { special: request.special }) };
      case "memory":
        return { kind: "memory", memory: this.memory() };
      case "adapters":
        if (request.scales !== undefined) {
          checkScales(request.scales, this.scales.length);
          this.scales = this.scales.map((_, i) => request.scales![i] ?? 0);
        }
        return { kind: "adapters", scales: this.scales };
      case "profile":
        if (profiler === undefined)
          throw new HundredweightError("OPTION_INVALID", "profiling was not asked for when the model was opened");
        return { kind: "profile", profile: profiler.take() };
      default:
        return undefined;
    }
  }

  private async session(
    request: Extract<JobRequest, { readonly kind: "saveSession" | "loadSession" }>,
  ): Promise<JobResult> {
    const { past } = this.scheduler;
    const { parts } = this;
    if (past === undefined || parts.past === undefined)
      throw new HundredweightError("OPTION_INVALID", "this engine keeps no sessions");
    const { architecture, kvType, vocab } = parts.info;
    if (request.adapters !== undefined) checkScales(request.adapters, this.scales.length);
    const adapters = countedScales(request.adapters ?? this.scales);
    const { content: fingerprint } = parts.past.fingerprint();
    const model = { fingerprint, vocabulary: parts.past.vocabulary(), architecture, kvType, adapters };
    const { path } = request;
    if (request.kind === "loadSession")
      return { kind: "loadSession", ...(await past.loadSession(path, model, vocab, request.scope)) };
    checkIds(request.tokens, vocab);
    return { kind: "saveSession", positions: await past.saveSession(path, model, request) };
  }

  private enter(task: Task, job: Omit<SharedJob, "kind" | "task">, kind: JobRequest["kind"]): void {
    const known = kind === "generate" ? this.scheduler.known(task) : undefined;
    this.scheduler.submit({ ...job, kind: "shared", task });
    if (known !== undefined) job.emit(this.prefixEvent(task, known));
    if (kind !== "score") job.emit({ kind: "prompt", tokens: task.tokens.slice(0, task.promptTokens) });
  }

  private prefixEvent({ tokens, promptTokens }: Task, { reused, shared: at, length }: Known): JobEvent {
    const told = { kind: "prefix", tokens: promptTokens, reused } as const;
    if (at >= promptTokens - 1 || at >= length) return told;
    const token = tokens[at]!;
    const { tokenizer } = this.parts;
    const text = tokenizer.kind === "none" || token >= tokenizer.size ? "" : shownText(tokenizer, token);
    return { ...told, differs: { at, token, text, lost: length - at } };
  }

  private adapted(request: JobRequest, emit: Emit): Task {
    const task = this.task(request, emit);
    const given = "adapters" in request ? request.adapters : undefined;
    if (given !== undefined) checkScales(given, this.scales.length);
    const scales = countedScales(given ?? this.scales);
    if (scales !== undefined) task.adapters = scales;
    if ("scope" in request && request.scope !== undefined) task.scope = request.scope;
    return task;
  }

  private task(request: JobRequest, emit: Emit): Task {
    const { parts, candidates, constraints, learned } = this;
    switch (request.kind) {
      case "generate": {
        this.checkMakesText();
        checkIds(request.prediction ?? [], parts.info.vocab);
        const whenFull = parts.whenFull ?? ({ how: "stop" } as const);
        const context = { parts, candidates, constraints, learned, emit, drafts: parts.drafts ?? "auto", whenFull };
        return new GenerateTask(context, this.prompt(request.prompt), request);
      }
      case "embed":
        return new EmbedTask(this.prompt(request.prompt), parts.info, request);
      case "rank":
        return new RankTask(this.prompt(request.prompt), parts.info);
      case "score": {
        this.checkMakesText();
        const tokens = this.prompt({ kind: "tokens", tokens: request.tokens });
        return new ScoreTask({ emit, scans: parts.scans ?? {} }, tokens, request);
      }
      default:
        throw new HundredweightError("INTERNAL", `a job '${request.kind}' makes no passes`);
    }
  }

  private async measure(id: number, request: MeasureRequest): Promise<JobResult> {
    const { parts, candidates, cache } = this;
    const run = (tasks: readonly Task[]): Promise<JobResult> =>
      new Promise((resolve, reject) => {
        for (const { mostPositions } of tasks) checkLength(mostPositions, parts.info.contextTokens);
        const settle = (outcome: JobResult | HundredweightError): void =>
          outcome instanceof HundredweightError ? reject(outcome) : resolve(outcome);
        this.scheduler.submit({ id, user: "", emit: () => {}, settle, kind: "apart", tasks });
      });
    return measure({ parts, candidates, cache, run }, request);
  }

  /** @throws OPTION_INVALID, CONTEXT_EXCEEDED */
  private prompt(prompt: Prompt): Int32Array {
    const { vocab, contextTokens } = this.parts.info;
    const tokens = this.encode(prompt);
    if (tokens.length === 0) throw new HundredweightError("OPTION_INVALID", "the prompt has no tokens");
    checkLength(tokens.length, contextTokens);
    if (this.parts.info.vectors?.whole) checkLength(tokens.length, this.parts.info.chunkRows);
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
      case "pair":
        return encodePair(tokenizer, this.parts.pairTemplate, prompt.query, prompt.document);
      case "tokens":
        return prompt.tokens;
    }
  }

  /** @throws OPTION_INVALID */
  private checkMakesText(): void {
    const { architecture, vectors } = this.parts.info;
    if (vectors?.only !== true) return;
    const makes = vectors.pooling === "rank" ? "scores of pairs of texts: rerank" : "vectors: embed texts";
    throw new HundredweightError(
      "OPTION_INVALID",
      `a model of architecture '${architecture}' makes no text but ${makes} with it`,
    );
  }

  private memory(): MemoryReport {
    const { model, info } = this.parts;
    const counters = model.backend.counters();
    const traffic = model.backend.traffic?.();
    const machine = model.backend.machine?.();
    const units = [
      ...model.kvGroups.map(({ pool }) => pool.pageBytes),
      ...(model.slots ? [model.slots.slotBytes] : []),
    ];
    const touched = this.cache.touchedUnits();
    const activationBytes = counters.activationBytes + counters.scratchBytes;
    return {
      kvBytes: counters.kvBytes,
      kvTouchedBytes: units.reduce((sum, bytes, i) => sum + touched[i]! * bytes, 0),
      activationBytes,
      activationTouchedBytes: Math.round((activationBytes * this.scheduler.mostRows) / info.chunkRows),
      weightBytes: counters.weightBytes,
      allocations: counters.allocations,
      pinnedBytes: (traffic?.pinnedBytes ?? 0) + (traffic?.slotBytes ?? 0),
      slotBytes: traffic?.slotBytes ?? 0,
      ringBytes: traffic?.ringBytes ?? 0,
      lockedBytes: traffic?.lockedBytes ?? 0,
      ...(machine !== undefined && { machine }),
    };
  }
}

/** @throws OPTION_INVALID */
function checkScales(scales: AdapterScales, adapters: number): void {
  if (scales.length > adapters)
    throw new HundredweightError("OPTION_INVALID", `${scales.length} scales of adapters, the model has ${adapters}`);
  if (!scales.every(Number.isFinite))
    throw new HundredweightError("OPTION_INVALID", "the scale of an adapter is no number");
}

/** The same for the same sum, however it was said; undefined where no adapter counts. */
function countedScales(scales: AdapterScales): AdapterScales | undefined {
  const rounded = scales.map(Math.fround);
  const count = rounded.findLastIndex((scale) => scale !== 0) + 1;
  return count === 0 ? undefined : rounded.slice(0, count);
}

function userOf(request: JobRequest): string {
  return "user" in request ? (request.user ?? "") : "";
}

/** @throws OPTION_INVALID */
function checkIds(tokens: Iterable<number>, vocab: number): void {
  for (const id of tokens) {
    if (id < 0 || id >= vocab) {
      throw new HundredweightError("OPTION_INVALID", `token ${id} is not in the vocabulary of ${vocab}`, { id, vocab });
    }
  }
}

/** @throws CONTEXT_EXCEEDED */
function checkLength(tokens: number, contextTokens: number): void {
  if (tokens <= contextTokens) return;
  throw new HundredweightError(
    "CONTEXT_EXCEEDED",
    `${tokens} tokens do not fit the context of ${contextTokens}; shorten the prompt or raise --ctx`,
    { tokens, contextTokens },
  );
}

function closed(): HundredweightError {
  return new HundredweightError("ENGINE_CLOSED", "the model is closed");
}
