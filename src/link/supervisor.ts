/** An engine in a process of its own that is started again when it dies: what a server holds. */
import { setTimeout as sleep } from "node:timers/promises";
import { asHundredweightError, HundredweightError } from "../errors.js";
import { EngineClient, type ResultOf, type RunningJob } from "./client.js";
import { DiskSigns } from "./disk-signs.js";
import type { EngineOptions, JobEvent, JobRequest, ModelInfo } from "./protocol.js";

export interface SupervisedState {
  readonly phase: "loading" | "ready" | "restarting" | "failed" | "closed";
  /** Bytes of weights read into memory so far; mapped ones need no loading. */
  readonly loadedBytes: number;
  readonly totalBytes: number;
  /** Times it was started again. */
  readonly restarts: number;
  /** Why it restarts or failed. */
  readonly error: HundredweightError | undefined;
}

/** Tells what becomes of the engine. */
export interface SupervisorHooks {
  readonly onState?: (state: SupervisedState) => void;
  /** Running jobs failed with ENGINE_CRASHED; new ones do until it is ready again. */
  readonly onRestarting?: (reason: string) => void;
  readonly onReady?: () => void;
  /** With work before it it has said nothing for `silentMs`, or speaks again. */
  readonly onSilent?: (silent: boolean) => void;
  /** It is not tried again. */
  readonly onFailed?: (error: HundredweightError) => void;
  readonly timing?: Partial<RestartTiming>;
  /** @internal Tests play the disk. */
  readonly signsOf?: (pid: number) => Pick<DiskSigns, "look">;
}

export interface RestartTiming {
  /** Before the first restart; doubled with each that follows soon. */
  readonly firstWaitMs: number;
  readonly longestWaitMs: number;
  /** Alive so long, it counts as sound again. */
  readonly soundMs: number;
  /**
   * Without a word and without a finished tile for so long, it is not ready; without a read in flight either, it is
   * started again.
   */
  readonly silentMs: number;
  readonly hungMs: number;
  /** Ends in a row, each before it was sound, after which it is given up. */
  readonly maxEnds: number;
}

const usualTiming: RestartTiming = {
  firstWaitMs: 500,
  longestWaitMs: 30_000,
  soundMs: 60_000,
  maxEnds: 5,
  silentMs: 5000,
  hungMs: 30_000,
};

export class SupervisedEngine {
  /** Facts of the model; the same after a restart. */
  info: ModelInfo;
  private current: EngineClient | undefined;
  private now: SupervisedState;
  private readonly path: string;
  private readonly options: EngineOptions;
  private readonly hooks: SupervisorHooks;
  private readonly timing: RestartTiming;
  private ends = 0;

  private constructor(path: string, options: EngineOptions, hooks: SupervisorHooks, client: EngineClient) {
    this.path = path;
    this.options = options;
    this.hooks = hooks;
    this.timing = { ...usualTiming, ...hooks.timing };
    this.info = client.info;
    this.now = { phase: "ready", loadedBytes: 0, totalBytes: 0, restarts: 0, error: undefined };
    this.adopt(client);
  }

  /** @throws whatever opening throws; ENGINE_CRASHED when the process ends meanwhile */
  static async open(path: string, options: EngineOptions, hooks: SupervisorHooks): Promise<SupervisedEngine> {
    const state = { phase: "loading", loadedBytes: 0, totalBytes: 0, restarts: 0, error: undefined } as const;
    const onLoading = (loadedBytes: number, totalBytes: number): void =>
      hooks.onState?.({ ...state, loadedBytes, totalBytes });
    hooks.onState?.(state);
    const client = await EngineClient.open(path, { ...options, place: "process" }, undefined, { onLoading });
    return new SupervisedEngine(path, options, hooks, client);
  }

  get state(): SupervisedState {
    return this.now;
  }

  /** Undefined while none is ready. */
  get client(): EngineClient | undefined {
    return this.now.phase === "ready" ? this.current : undefined;
  }

  /** As `EngineClient.submit`; fails with ENGINE_CRASHED while the engine is being started again. */
  submit<Q extends JobRequest>(request: Q, onEvent: (event: JobEvent) => void = () => {}): RunningJob<ResultOf<Q>> {
    const { client } = this;
    if (client !== undefined) return client.submit(request, onEvent);
    const result = Promise.reject<ResultOf<Q>>(this.refusal());
    return { result, cancel: () => {}, pause: () => {}, resume: () => {} };
  }

  async close(): Promise<void> {
    if (this.now.phase !== "closed") this.enter({ phase: "closed" });
    await this.current?.close();
  }

  private refusal(): HundredweightError {
    const { phase, error } = this.now;
    if (phase === "closed") return new HundredweightError("ENGINE_CLOSED", "the model is closed");
    if (phase === "failed" && error !== undefined) return error;
    return new HundredweightError("ENGINE_CRASHED", "the engine ended unexpectedly and is being started again");
  }

  private adopt(client: EngineClient): void {
    this.current = client;
    this.enter({ phase: "ready", error: undefined });
    this.hooks.onReady?.();
    const since = performance.now();
    const unwatch = this.watch(client);
    void client.gone.then((error) => {
      unwatch();
      if (this.now.phase === "closed") return;
      if (performance.now() - since >= this.timing.soundMs) this.ends = 0;
      void this.restart(error);
    });
  }

  private watch(client: EngineClient): () => void {
    const { silentMs, hungMs } = this.timing;
    const { pid } = client;
    const signs = pid === undefined ? undefined : (this.hooks.signsOf ?? ((of) => new DiskSigns(of)))(pid);
    // Where the system does not tell, a read of a mapped file and a hang look alike: then it is left alone.
    const mapped = client.info.residency.io === "mmap";
    let silent = false;
    return client.watch(Math.min(500, silentMs / 4), (silence) => {
      if (silence.hungMs >= silentMs && (signs?.look() ?? mapped)) silence.heard(true);
      if (silent !== silence.silentMs >= silentMs) {
        silent = !silent;
        this.hooks.onSilent?.(silent);
      }
      if (silence.hungMs >= hungMs)
        client.kill(`the engine said nothing for ${hungMs / 1000} s, finished nothing and read nothing: it was ended`);
    });
  }

  private async restart(reason: HundredweightError): Promise<void> {
    let error = reason;
    for (;;) {
      this.ends++;
      if (this.ends > this.timing.maxEnds || error.code !== "ENGINE_CRASHED") break;
      this.enter({ phase: "restarting", error, restarts: this.now.restarts + 1, loadedBytes: 0, totalBytes: 0 });
      this.hooks.onRestarting?.(error.message);
      const { firstWaitMs, longestWaitMs } = this.timing;
      await sleep(Math.min(longestWaitMs, firstWaitMs * 2 ** (this.ends - 1)), undefined, { ref: false });
      if (this.now.phase === "closed") return;
      try {
        const client = await EngineClient.open(this.path, { ...this.options, place: "process" }, undefined, {
          onLoading: (loadedBytes, totalBytes) => this.enter({ loadedBytes, totalBytes }),
        });
        if ((this.now.phase as SupervisedState["phase"]) === "closed") return await client.close();
        this.adopt(client);
        return;
      } catch (thrown) {
        error = asHundredweightError(thrown);
      }
    }
    this.enter({ phase: "failed", error });
    this.hooks.onFailed?.(error);
  }

  private enter(change: Partial<SupervisedState>): void {
    if (this.now.phase === "closed" && change.phase !== "closed") return;
    this.now = { ...this.now, ...change };
    this.hooks.onState?.(this.now);
  }
}

/**
 * Opens a model in a process of its own and starts it again, after longer and longer waits, whenever it ends.
 * @throws whatever opening it the first time throws
 */
export function openSupervised(
  path: string,
  options: EngineOptions = {},
  hooks: SupervisorHooks = {},
): Promise<SupervisedEngine> {
  return SupervisedEngine.open(path, options, hooks);
}
