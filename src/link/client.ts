/** The user's side of an engine: opens it, wherever it lives, submits jobs, hands out their events. */

import { cancelled, makeCancelWords } from "../engine/stop-signal.js";
import { HundredweightError } from "../errors.js";
import { fromWire } from "../process/wire.js";
import { requestClose, requestStop } from "./cancel.js";
import { unpack } from "./parcels.js";
import type { EngineOptions, FromEngine, JobEvent, JobRequest, JobResult, ModelInfo, ToEngine } from "./protocol.js";
import type { OpenParts } from "./serve.js";
import { Silence } from "./silence.js";
import { startHere, startProcess, startWorker, type Transport } from "./transports.js";

interface Pending {
  /** Watching is no work. */
  readonly works: boolean;
  readonly onEvent: (event: JobEvent) => void;
  readonly resolve: (result: JobResult) => void;
  readonly reject: (error: HundredweightError) => void;
}

export interface RunningJob<R extends JobResult = JobResult> {
  readonly result: Promise<R>;
  /** Ends the job with CANCELLED, within 100 ms also inside a pass. */
  cancel(): void;
  /** Keeps what the job has and stops working on it after the pass that runs; at most one more token comes. */
  pause(): void;
  resume(): void;
}

export type ResultOf<Q extends JobRequest> = Extract<JobResult, { kind: Q["kind"] }>;

export interface OpenHooks {
  /** Weights read into memory so far, and all of them; only a process of its own tells more than the beginning. */
  readonly onLoading?: (loadedBytes: number, totalBytes: number) => void;
  /** Ends the opening with CANCELLED, soon also while gigabytes are read. */
  readonly signal?: AbortSignal;
}

export class EngineClient {
  /** Id of the engine's process, when it has one of its own. */
  readonly pid: number | undefined;
  /** Resolves when the engine is gone: ENGINE_CLOSED after `close`, ENGINE_CRASHED or INTERNAL when it died. */
  readonly gone: Promise<HundredweightError>;
  readonly info: ModelInfo;
  private readonly link: Link;

  private constructor(info: ModelInfo, link: Link) {
    this.info = info;
    this.link = link;
    this.gone = link.gone;
    this.pid = link.transport.pid;
  }

  /**
   * @param inProcess opens the engine in this thread with these parts instead of a worker
   * @throws whatever opening the model throws
   */
  static async open(
    path: string,
    options: EngineOptions = {},
    inProcess?: OpenParts,
    hooks: OpenHooks = {},
  ): Promise<EngineClient> {
    const { place, ...sent } = options;
    const link = new Link(
      inProcess !== undefined ? await startHere(inProcess) : place === "process" ? startProcess() : await startWorker(),
    );
    const { signal } = hooks;
    const abort = (): void => void link.close();
    signal?.addEventListener("abort", abort, { once: true });
    if (signal?.aborted) abort();
    try {
      const info = await link.open(path, sent, hooks);
      if (signal?.aborted) throw cancelled();
      return new EngineClient(info, link);
    } catch (error) {
      await link.close();
      throw signal?.aborted ? cancelled() : error;
    } finally {
      signal?.removeEventListener("abort", abort);
    }
  }

  submit<Q extends JobRequest>(request: Q, onEvent: (event: JobEvent) => void = () => {}): RunningJob<ResultOf<Q>> {
    return this.link.submit(request, onEvent) as RunningJob<ResultOf<Q>>;
  }

  /** Looked at every `stepMs`; `heard` is called whenever the engine says something. @returns stops looking */
  watch(stepMs: number, look: (silence: Silence) => void): () => void {
    const silence = new Silence(stepMs);
    this.link.onHeard = (reading) => silence.heard(reading);
    const timer = setInterval(() => {
      silence.step(this.link.working);
      look(silence);
    }, stepMs).unref();
    return () => clearInterval(timer);
  }

  /** Ends a process that does not answer; its jobs fail with ENGINE_CRASHED and this reason. */
  kill(reason: string): void {
    this.link.kill(new HundredweightError("ENGINE_CRASHED", reason, { pid: this.pid }));
  }

  /** Cancels what runs and frees the model. Safe to call twice. */
  close(): Promise<void> {
    return this.link.close();
  }
}

/** Jobs over a transport. */
class Link {
  readonly gone: Promise<HundredweightError>;
  readonly transport: Transport;
  private readonly stop = makeCancelWords();
  private readonly jobs = new Map<number, Pending>();
  private nextJob = 1;
  private opening:
    | { resolve: (info: ModelInfo) => void; reject: (error: HundredweightError) => void; hooks: OpenHooks }
    | undefined;
  private closing: Promise<void> | undefined;
  private ended: (() => void) | undefined;
  private dead: HundredweightError | undefined;

  constructor(transport: Transport) {
    this.transport = transport;
    transport.onMessage((message) => this.receive(message));
    this.gone = new Promise((resolve) => {
      transport.onGone((error) => resolve(this.fail(error)));
    });
  }

  open(path: string, options: EngineOptions, hooks: OpenHooks): Promise<ModelInfo> {
    return new Promise((resolve, reject) => {
      this.opening = { resolve, reject, hooks };
      this.post({ type: "open", path, options, stop: this.stop });
    });
  }

  submit(request: JobRequest, onEvent: (event: JobEvent) => void): RunningJob {
    const job = this.nextJob++;
    const result = new Promise<JobResult>((resolve, reject) => {
      const dead = this.dead ?? (this.closing && new HundredweightError("ENGINE_CLOSED", "the model is closed"));
      if (dead !== undefined) {
        reject(dead);
        return;
      }
      this.jobs.set(job, { works: request.kind !== "watch", onEvent, resolve, reject });
      this.hold();
      this.post({ type: "submit", job, request });
    });
    return {
      result,
      cancel: () => this.cancel(job),
      pause: () => this.tell("pause", job),
      resume: () => this.tell("resume", job),
    };
  }

  close(): Promise<void> {
    this.closing ??= new Promise<void>((resolve) => {
      if (this.dead !== undefined) {
        resolve();
        return;
      }
      this.ended = resolve;
      this.hold(true);
      requestClose(this.stop);
      this.post({ type: "close" });
    });
    return this.closing;
  }

  private cancel(job: number): void {
    const pending = this.jobs.get(job);
    if (pending === undefined) return;
    requestStop(this.stop, job);
    this.post({ type: "cancel", job });
    // A pass may go on for the sake of others; this caller need not wait for it.
    this.jobs.delete(job);
    this.hold();
    pending.reject(cancelled());
  }

  private tell(type: "pause" | "resume", job: number): void {
    if (this.jobs.has(job)) this.post({ type, job });
  }

  /** Told of every message; whether all it says is that the disk is waited for. */
  onHeard: (reading: boolean) => void = () => {};

  get working(): boolean {
    for (const { works } of this.jobs.values()) if (works) return true;
    return false;
  }

  kill(reason: HundredweightError): void {
    const { pid } = this.transport;
    if (pid === undefined || this.dead !== undefined) return;
    this.dead = reason;
    process.kill(pid, "SIGKILL");
  }

  private receive(message: FromEngine): void {
    this.onHeard(message.type === "alive" && message.reading);
    switch (message.type) {
      case "opened":
        this.opening?.resolve(message.info);
        this.opening = undefined;
        this.hold();
        return;
      case "openFailed":
        this.opening?.reject(fromWire(message.error));
        this.opening = undefined;
        return;
      case "events":
        unpack(message.events, (job, event) => this.jobs.get(job)?.onEvent(event));
        return;
      case "done":
      case "failed": {
        const pending = this.jobs.get(message.job);
        this.jobs.delete(message.job);
        this.hold();
        if (message.type === "done") pending?.resolve(message.result);
        else pending?.reject(fromWire(message.error));
        return;
      }
      case "closed":
        this.dead = new HundredweightError("ENGINE_CLOSED", "the model is closed");
        this.transport.closed();
        return;
      case "pong":
      case "alive":
        return;
      case "loading":
        this.opening?.hooks.onLoading?.(message.loadedBytes, message.totalBytes);
        return;
    }
  }

  /** An open model without a job does not keep the process alive; one that is being closed does. */
  private hold(force = this.closing !== undefined): void {
    this.transport.hold(force || this.jobs.size > 0 || this.opening !== undefined);
  }

  /** @returns why the engine is gone: what is known already, else this */
  private fail(found: HundredweightError): HundredweightError {
    const error = this.dead ?? found;
    this.dead = error;
    this.opening?.reject(error);
    for (const pending of this.jobs.values()) pending.reject(error);
    this.jobs.clear();
    this.ended?.();
    return error;
  }

  private post(message: ToEngine): void {
    this.transport.post(message);
  }
}
