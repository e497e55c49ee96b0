/**
 * The model a server answers with: its engine and its texts' process, loading, ready, restarting or failed, and
 * exchanged as a whole when another model is chosen.
 */
import { basename } from "node:path";
import { asHundredweightError, HundredweightError } from "../../errors.js";
import type { ResultOf, RunningJob } from "../../link/client.js";
import type { EngineOptions, JobEvent, JobRequest, ModelInfo } from "../../link/protocol.js";
import { openSupervised } from "../../link/supervisor.js";
import { EvaluatedTexts, openTexts, type TextService } from "../../text/index.js";
import { defaultConfig, type RequestDefaults } from "../http/config.js";
import { busy, type HttpError } from "../http/http-error.js";

/** The part of an engine that a server needs; `SupervisedEngine` is one. */
export interface EngineHandle {
  readonly info: ModelInfo;
  submit<Q extends JobRequest>(request: Q, onEvent?: (event: JobEvent) => void): RunningJob<ResultOf<Q>>;
  close(): Promise<void>;
}

/** Tells what becomes of an engine that has been opened: it may die and come back. */
export interface EngineWatcher {
  onState(state: { readonly loadedBytes: number; readonly totalBytes: number }): void;
  onRestarting(reason: string): void;
  onReady(): void;
  /** It has work and says nothing for a while, or speaks again. */
  onSilent?(silent: boolean): void;
  onFailed(error: HundredweightError): void;
}

export type OpenEngine = (path: string, options: EngineOptions, watcher: EngineWatcher) => Promise<EngineHandle>;
export type OpenText = (
  path: string,
  timeoutMs: number,
  maxWaitingBytes: number,
  template?: string,
) => Promise<TextService>;

export const openEngineProcess: OpenEngine = (path, options, watcher) => openSupervised(path, options, watcher);

/** Texts come from several people: one of them must not hold up the others. */
export const openTextProcess: OpenText = (path, timeoutMs, maxWaitingBytes, template) =>
  openTexts(path, { place: "process", timeoutMs, shared: true, maxWaitingBytes, template });

export type ModelPhase = "loading" | "ready" | "restarting" | "failed" | "closed";

export interface ModelState {
  readonly phase: ModelPhase;
  readonly path: string;
  /** Milliseconds since 1970 at which the phase began. */
  readonly since: number;
  /** Why it restarts or failed. */
  readonly error: string | undefined;
  /** Times the engine was started again. */
  readonly restarts: number;
  /** Weights read into memory so far, of all; 0 of 0 when they are mapped. */
  readonly loadedBytes: number;
  readonly totalBytes: number;
  /** The engine has work and has said nothing for seconds: whoever balances load should look elsewhere. */
  readonly silent: boolean;
}

/** A model that is ready. */
export interface ServedModel {
  readonly id: string;
  /** All names it is served under. */
  readonly names: readonly string[];
  readonly info: ModelInfo;
  readonly engine: EngineHandle;
  readonly text: TextService;
  /** The tokens of conversations that it answered. */
  readonly evaluated: EvaluatedTexts;
  /** Settings of requests that say nothing of them. */
  readonly defaults: RequestDefaults;
}

const nothingLoaded = { loadedBytes: 0, totalBytes: 0, silent: false };

export interface ModelServiceOptions {
  readonly alias?: string | undefined;
  readonly aliases?: readonly string[] | undefined;
  /** The name under which a path is listed among others; else it is the file's. */
  readonly nameOf?: ((path: string) => string | undefined) | undefined;
  readonly textTimeoutMs: number;
  readonly maxIntakeBytes: number;
  readonly keepThinking?: boolean | undefined;
  readonly answers?: RequestDefaults | undefined;
  readonly openEngine?: OpenEngine | undefined;
  readonly openText?: OpenText | undefined;
}

export class ModelService {
  private readonly options: ModelServiceOptions;
  private readonly listeners = new Set<(state: ModelState) => void>();
  private served: ServedModel | undefined;
  private opening: EngineOptions = {};
  private current: ModelState = {
    phase: "closed",
    path: "",
    since: Date.now(),
    error: undefined,
    restarts: 0,
    ...nothingLoaded,
  };
  /** The number of the newest `open`; an older one that is still loading is dropped when it is done. */
  private generation = 0;

  constructor(options: ModelServiceOptions) {
    this.options = options;
  }

  get state(): ModelState {
    return this.current;
  }

  /** The name in answers; known before the model is loaded. */
  get id(): string {
    const { path } = this.current;
    return this.options.alias ?? this.options.nameOf?.(path) ?? modelId(path);
  }

  /** Facts of the model that is open, also while its engine restarts. */
  get info(): ModelInfo | undefined {
    return this.served?.info;
  }

  /** With which the newest model was opened: another one gets the same. */
  get engineOptions(): EngineOptions {
    return this.opening;
  }

  /** Times a text process of the open model was replaced. */
  get textRestarts(): number {
    return this.served?.text.restarts ?? 0;
  }

  /** @throws HttpError 503 with Retry-After while no model is ready */
  require(): ServedModel {
    if (this.current.phase === "ready" && this.served !== undefined) return this.served;
    throw this.unavailable();
  }

  /** Called at every change of phase. @returns unsubscribes */
  onChange(listener: (state: ModelState) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /**
   * Closes the model that is open (its answers end with ENGINE_CLOSED) and opens this one.
   * @param drained waited for before the open model is closed; meanwhile it answers no new request
   * @throws whatever opening throws; the phase is then `failed`
   */
  async open(
    path: string,
    given: EngineOptions = {},
    drained: Promise<unknown> = Promise.resolve(),
  ): Promise<ServedModel> {
    // A server's model stays, also for one conversation at a time.
    const options: EngineOptions = { stays: true, ...given, textProcess: true };
    const mine = ++this.generation;
    this.opening = options;
    this.enter("loading", { path, error: undefined, restarts: 0, ...nothingLoaded });
    await drained;
    await this.release();
    const isCurrent = (): boolean => mine === this.generation;
    try {
      const opening = { engine: this.openEngine(path, options, isCurrent), text: this.openText(path) };
      const [engine, text] = await Promise.allSettled([opening.engine, opening.text]);
      if (engine.status === "rejected" || text.status === "rejected" || !isCurrent()) {
        if (engine.status === "fulfilled") await engine.value.close();
        if (text.status === "fulfilled") await text.value.close();
        if (engine.status === "rejected") throw engine.reason;
        if (text.status === "rejected") throw text.reason;
        throw new HundredweightError("CANCELLED", `${path}: another model was chosen meanwhile`);
      }
      const { keepThinking, answers: defaults = defaultConfig.answers } = this.options;
      const names = [this.id, ...(this.options.aliases ?? [])];
      this.served = {
        id: this.id,
        names,
        info: this.withDefaults(engine.value.info),
        engine: engine.value,
        text: text.value,
        evaluated: new EvaluatedTexts(text.value, { keepThinking }),
        defaults,
      };
      this.enter("ready", { error: undefined });
      return this.served;
    } catch (thrown) {
      const error = asHundredweightError(thrown);
      if (isCurrent()) this.enter("failed", { error: error.message });
      throw error;
    }
  }

  /** Before the end: no text is waited for that needs more than moments. */
  hurryTexts(): void {
    this.served?.text.hurry();
  }

  /** Safe to call twice. */
  async close(): Promise<void> {
    this.generation++;
    if (this.current.phase !== "closed") this.enter("closed", { error: undefined });
    await this.release();
  }

  private openEngine(path: string, options: EngineOptions, isCurrent: () => boolean): Promise<EngineHandle> {
    const open = this.options.openEngine ?? openEngineProcess;
    return open(path, options, {
      // Not a phase of its own: whoever waits asks /ready.
      onState: ({ loadedBytes, totalBytes }) => {
        if (isCurrent()) this.current = { ...this.current, loadedBytes, totalBytes };
      },
      onRestarting: (reason) => {
        if (isCurrent())
          this.enter("restarting", { error: reason, restarts: this.current.restarts + 1, silent: false });
      },
      onReady: () => {
        if (isCurrent() && this.served !== undefined) this.enter("ready", { error: undefined });
      },
      onSilent: (silent) => {
        if (isCurrent()) this.current = { ...this.current, silent };
      },
      onFailed: (error) => {
        if (isCurrent()) this.enter("failed", { error: error.message });
      },
    });
  }

  /** Puts what the server was told in place of what the file says. */
  private withDefaults(info: ModelInfo): ModelInfo {
    const { sampling = {}, chatTemplate = info.chatTemplate } = this.options.answers ?? {};
    return { ...info, chatTemplate, samplingDefaults: { ...info.samplingDefaults, ...sampling } };
  }

  private openText(path: string): Promise<TextService> {
    const { openText = openTextProcess, textTimeoutMs, maxIntakeBytes, answers } = this.options;
    return openText(path, textTimeoutMs, maxIntakeBytes, answers?.chatTemplate);
  }

  private async release(): Promise<void> {
    const { served } = this;
    this.served = undefined;
    await Promise.all([served?.engine.close(), served?.text.close()]);
  }

  private enter(phase: ModelPhase, change: Partial<ModelState>): void {
    this.current = { ...this.current, ...change, phase, since: Date.now() };
    for (const listener of [...this.listeners]) listener(this.current);
  }

  private unavailable(): HttpError {
    const { phase, error } = this.current;
    switch (phase) {
      case "loading":
        return busy(503, "the model is being loaded", "model_loading", 2);
      case "restarting":
        return busy(503, "the engine ended unexpectedly and is being started again", "engine_restarting", 2);
      case "failed":
        return busy(503, `the model could not be opened: ${error}`, "model_failed", 30);
      default:
        return busy(503, "the server is ending", "server_ending", 5);
    }
  }
}

/** `/models/Some-7B.Q4_K_M.gguf` -> `Some-7B.Q4_K_M`; of a split file without its number. */
export function modelId(path: string): string {
  return basename(path).replace(/(-\d{5}-of-\d{5})?\.gguf$/i, "");
}
