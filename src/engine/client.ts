/**
 * The user's side of an engine: opens it in a worker thread (or in this thread, for tests and for TypeScript run
 * without a build), submits jobs, hands out their events.
 */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { MessageChannel, type MessagePort, Worker } from "node:worker_threads";
import { HundredweightError } from "../errors.js";
import { cancelled, makeCancelWords, requestClose, requestStop } from "./cancel.js";
import { fromWire, type OpenParts, serveEngine } from "./host.js";
import { portOf } from "./ports.js";
import type { EngineOptions, FromEngine, JobEvent, JobRequest, JobResult, ModelInfo, ToEngine } from "./protocol.js";

interface Pending {
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

type ResultOf<Q extends JobRequest> = Extract<JobResult, { kind: Q["kind"] }>;

export class EngineClient {
  readonly info: ModelInfo;
  private readonly link: Link;

  private constructor(info: ModelInfo, link: Link) {
    this.info = info;
    this.link = link;
  }

  /**
   * @param inProcess opens the engine in this thread with these parts instead of a worker
   * @throws whatever opening the model throws
   */
  static async open(path: string, options: EngineOptions = {}, inProcess?: OpenParts): Promise<EngineClient> {
    const link = inProcess === undefined ? await startWorker() : startHere(inProcess);
    try {
      const info = await link.open(path, options);
      return new EngineClient(info, link);
    } catch (error) {
      await link.close();
      throw error;
    }
  }

  submit<Q extends JobRequest>(request: Q, onEvent: (event: JobEvent) => void = () => {}): RunningJob<ResultOf<Q>> {
    return this.link.submit(request, onEvent) as RunningJob<ResultOf<Q>>;
  }

  /** Cancels what runs and frees the model. Safe to call twice. */
  close(): Promise<void> {
    return this.link.close();
  }
}

/** Jobs over a message port. */
class Link {
  private readonly port: MessagePort | Worker;
  private readonly stop = makeCancelWords();
  private readonly jobs = new Map<number, Pending>();
  private nextJob = 1;
  private opening: { resolve: (info: ModelInfo) => void; reject: (error: HundredweightError) => void } | undefined;
  private closing: Promise<void> | undefined;
  private ended: (() => void) | undefined;
  private dead: HundredweightError | undefined;

  constructor(port: MessagePort | Worker) {
    this.port = port;
    port.on("message", (message: FromEngine) => this.receive(message));
    if (port instanceof Worker) {
      port.on("error", (error) => this.fail(`the engine thread failed: ${error.message}`));
      port.on("exit", (code) => this.fail(`the engine thread ended with code ${code}`));
    }
  }

  open(path: string, options: EngineOptions): Promise<ModelInfo> {
    return new Promise((resolve, reject) => {
      this.opening = { resolve, reject };
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
      this.jobs.set(job, { onEvent, resolve, reject });
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

  private receive(message: FromEngine): void {
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
      case "event":
        this.jobs.get(message.job)?.onEvent(message.event);
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
        if (this.port instanceof Worker) return; // "exit" follows
        this.port.close();
        this.ended?.();
        return;
    }
  }

  /** An open model without a job does not keep the process alive; one that is being closed does. */
  private hold(force = this.closing !== undefined): void {
    if (force || this.jobs.size > 0 || this.opening !== undefined) this.port.ref();
    else this.port.unref();
  }

  private fail(message: string): void {
    const error = this.dead ?? new HundredweightError("INTERNAL", message);
    this.dead = error;
    this.opening?.reject(error);
    for (const pending of this.jobs.values()) pending.reject(error);
    this.jobs.clear();
    this.ended?.();
  }

  private post(message: ToEngine): void {
    this.port.postMessage(message);
  }
}

function startHere(openParts: OpenParts): Link {
  const { port1, port2 } = new MessageChannel();
  serveEngine(portOf(port2), openParts);
  return new Link(port1);
}

async function startWorker(): Promise<Link> {
  const url = new URL("./worker.js", import.meta.url);
  if (existsSync(fileURLToPath(url))) return new Link(new Worker(url));
  // TypeScript sources run directly: a worker could not load them.
  const { openParts } = await import("./open.js");
  return startHere(openParts);
}
