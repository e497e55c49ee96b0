/** An engine that a test plays: it decides which tokens come, and when. */

import { HundredweightError } from "../../src/errors.js";
import type { ResultOf, RunningJob } from "../../src/link/client.js";
import type { GenerateRequest, GenerateResult, JobEvent, JobRequest, ModelInfo } from "../../src/link/protocol.js";
import type { EngineHandle, EngineWatcher } from "../../src/server/service/model-service.js";

/** Conversations as lines of plain text; reads strings only, as most templates do. */
export const plainTemplate =
  "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt " +
  "%}assistant:{% endif %}";

type FakeGenerate = { readonly id: number; readonly request: GenerateRequest };

/** A generation as the engine under test would make it, played by the test. */
export class FakeJob {
  readonly id: number;
  readonly request: GenerateRequest;
  paused = false;
  /** Every pause and resume. */
  readonly calls: string[] = [];
  cancelled = false;
  readonly result: Promise<GenerateResult>;
  private readonly emit: (event: JobEvent) => void;
  private settle!: { resolve: (result: GenerateResult) => void; reject: (error: HundredweightError) => void };
  private made = 0;

  constructor({ id, request }: FakeGenerate, emit: (event: JobEvent) => void) {
    this.id = id;
    this.request = request;
    this.emit = emit;
    this.result = new Promise((resolve, reject) => {
      this.settle = { resolve, reject };
    });
    this.result.catch(() => {});
  }

  event(event: JobEvent): void {
    this.emit(event);
  }

  token(text: string): void {
    this.made++;
    this.emit({ kind: "token", id: 65, text });
  }

  finish(finishReason: "stop" | "length" = "stop", more: Partial<GenerateResult> = {}): void {
    const { made } = this;
    const times = { prefillMs: 1, prefillRows: 1, decodeMs: 1, decodeRows: made };
    this.settle.resolve({ kind: "generate", finishReason, reusedTokens: 0, ...times, ...more });
  }

  fail(error: HundredweightError): void {
    this.settle.reject(error);
  }

  cancel(): void {
    this.cancelled = true;
    this.fail(new HundredweightError("CANCELLED", "stopped by the caller"));
  }
}

export class FakeEngine implements EngineHandle {
  readonly info: ModelInfo;
  /** The last hundred. */
  readonly jobs: FakeJob[] = [];
  closed = false;
  watcher!: EngineWatcher;
  private readonly play: (job: FakeJob) => void;
  private waiting: ((job: FakeJob) => void)[] = [];

  constructor(play: (job: FakeJob) => void = () => {}, info: Partial<ModelInfo> = {}) {
    this.play = play;
    this.info = { ...fakeInfo, ...info };
  }

  submit<Q extends JobRequest>(request: Q, onEvent: (event: JobEvent) => void = () => {}): RunningJob<ResultOf<Q>> {
    if (request.kind === "embed") {
      const vector = new Float32Array(this.info.dim).fill(1 / Math.sqrt(this.info.dim));
      const embedded = { kind: "embed", embedding: vector, tokens: 1 } as unknown as ResultOf<Q>;
      return { result: Promise.resolve(embedded), cancel: () => {}, pause: () => {}, resume: () => {} };
    }
    if (request.kind === "adapters") {
      const none = { kind: "adapters", scales: [] } as unknown as ResultOf<Q>;
      return { result: Promise.resolve(none), cancel: () => {}, pause: () => {}, resume: () => {} };
    }
    if (request.kind !== "generate") {
      const result = new Promise<never>(() => {});
      return { result, cancel: () => {}, pause: () => {}, resume: () => {} };
    }
    const job = new FakeJob({ id: this.jobs.length, request }, onEvent);
    this.jobs.push(job);
    if (this.jobs.length > 100) this.jobs.shift();
    this.waiting.shift()?.(job);
    queueMicrotask(() => this.play(job));
    return {
      result: job.result as Promise<unknown> as Promise<ResultOf<Q>>,
      cancel: () => job.cancel(),
      pause: () => {
        job.paused = true;
        job.calls.push("pause");
      },
      resume: () => {
        job.paused = false;
        job.calls.push("resume");
      },
    };
  }

  /** The next job that is submitted. */
  next(): Promise<FakeJob> {
    return new Promise((resolve) => this.waiting.push(resolve));
  }

  async close(): Promise<void> {
    this.closed = true;
    for (const job of this.jobs) job.fail(new HundredweightError("ENGINE_CLOSED", "the model is closed"));
  }
}

const fakeInfo: ModelInfo = {
  path: "fake",
  name: "fake",
  architecture: "llama",
  ops: "fake",
  vocab: 2048,
  dim: 8,
  trainedContextTokens: 64,
  contextTokens: 64,
  chunkRows: 16,
  kvType: "f16",
  weightBytes: 1,
  passWeightBytes: 1,
  residency: {
    strategy: "resident",
    io: "mmap",
    budgetBytes: 1,
    plannedBytes: undefined,
    predictedSecondsPerToken: undefined,
  },
  tokenizer: "bpe/gpt-2",
  addBos: true,
  special: { bos: 0, eos: 1 },
  bosText: "",
  eosText: "",
  chatTemplate: plainTemplate,
  samplingDefaults: {},
  parameters: 1,
  fileType: undefined,
  header: { "general.architecture": "llama" },
};
