/** Samples of the engine's status for the page's charts: the last ten minutes, whether anybody looks or not. */
import type { EngineStatus } from "../../link/protocol.js";
import type { ServerContext } from "../service/context.js";
import { OtherWork } from "./other-work.js";
import { PassCostMeter } from "./pass-costs.js";
import type { MemoryNow, PassCosts, Sample } from "./wire.js";

export const sampleEveryMs = 500;
const maxSamples = 1200;
const memoryEveryMs = 3000;

const nothingSeen: Sample["seen"] = {
  passes: 0,
  rows: 0,
  diskBytes: 0,
  pinnedBytes: 0,
  stallMs: 0,
  computeMs: 0,
  expertHits: 0,
  expertMisses: 0,
};

type SampleListener = (sample: Sample) => void;
type MemoryListener = (memory: MemoryNow | undefined) => void;

export class Machine {
  readonly #context: ServerContext;
  readonly #samples: Sample[] = [];
  readonly #listeners = new Set<{ readonly sample: SampleListener; readonly memory: MemoryListener }>();
  #seen = nothingSeen;
  #passesSeen = 0;
  /** Counters at the last sample. */
  #before: EngineStatus | undefined;
  #sampledAt = Date.now();
  #memory: MemoryNow | undefined;
  #memoryAskedAt = 0;
  #asking = false;
  readonly #costs = new PassCostMeter();
  readonly #others = new OtherWork();

  constructor(context: ServerContext) {
    this.#context = context;
    context.status.subscribe((status) => this.#see(status));
    context.model.onChange(() => {
      this.#costs.reset();
      this.#before = undefined;
      this.#passesSeen = 0;
      this.#memory = undefined;
    });
    const timer = setInterval(() => this.#sample(), sampleEveryMs);
    timer.unref();
    context.draining.addEventListener("abort", () => clearInterval(timer), { once: true });
  }

  get history(): readonly Sample[] {
    return this.#samples;
  }

  /** Bytes that closing the model would give back: mapped files are not held. */
  get heldBytes(): number {
    const now = this.#memory;
    return now === undefined ? 0 : now.pinnedBytes + now.ringBytes + now.kvTouchedBytes + now.activationTouchedBytes;
  }

  /** The costs of the model's passes. */
  get costs(): PassCosts | undefined {
    const { info } = this.#context.model;
    return info === undefined ? undefined : this.#costs.costs(info, this.#others.slowdown);
  }

  get memory(): MemoryNow | undefined {
    return this.#memory;
  }

  /** Memory is asked for only while somebody listens. @returns unsubscribes */
  subscribe(sample: SampleListener, memory: MemoryListener): () => void {
    const listener = { sample, memory };
    this.#listeners.add(listener);
    this.#memoryAskedAt = 0;
    return () => this.#listeners.delete(listener);
  }

  /** Passes come faster than statuses with a small model: those between two statuses are not in `seen`. */
  #see(status: EngineStatus): void {
    const { info } = this.#context.model;
    if (info !== undefined) this.#costs.see(status, info);
    const { passes, lastPass } = status;
    if (lastPass === undefined || passes === this.#passesSeen) return;
    this.#passesSeen = passes;
    const seen = this.#seen;
    this.#seen = {
      passes: seen.passes + 1,
      rows: seen.rows + lastPass.rows,
      diskBytes: seen.diskBytes + lastPass.diskBytes,
      pinnedBytes: seen.pinnedBytes + lastPass.pinnedBytes,
      stallMs: seen.stallMs + lastPass.stallMs,
      computeMs: seen.computeMs + lastPass.computeMs,
      expertHits: seen.expertHits + lastPass.expertHits,
      expertMisses: seen.expertMisses + lastPass.expertMisses,
    };
  }

  #sample(): void {
    const now = this.#context.status.latest;
    const time = Date.now();
    if (now?.running === 0) this.#others.look();
    if (now !== undefined) {
      const before = this.#before ?? now;
      const since = (of: (status: EngineStatus) => number) => Math.max(0, of(now) - of(before));
      const sample: Sample = {
        time,
        seconds: Math.max(0.001, (time - this.#sampledAt) / 1000),
        running: now.running,
        waiting: now.waiting,
        kvTokensUsed: now.kvTokensUsed,
        kvTokens: now.kvTokens,
        passes: since((s) => s.passes),
        generatedTokens: since((s) => s.generatedTokens),
        promptTokens: since((s) => s.promptTokens),
        cachedTokens: since((s) => s.cachedTokens),
        seen: this.#seen,
      };
      this.#samples.push(sample);
      if (this.#samples.length > maxSamples) this.#samples.shift();
      for (const listener of this.#listeners) listener.sample(sample);
    }
    this.#before = now;
    this.#seen = nothingSeen;
    this.#sampledAt = time;
    if (this.#listeners.size > 0 && time - this.#memoryAskedAt >= memoryEveryMs) void this.#askMemory(time);
  }

  async #askMemory(time: number): Promise<void> {
    const { model } = this.#context;
    if (this.#asking || model.state.phase !== "ready") return;
    this.#asking = true;
    this.#memoryAskedAt = time;
    try {
      const { memory } = await model.require().engine.submit({ kind: "memory" }).result;
      const { kvBytes, kvTouchedBytes, activationBytes, activationTouchedBytes } = memory;
      const { pinnedBytes, slotBytes, ringBytes, lockedBytes } = memory;
      this.#memory = {
        serverRssBytes: process.memoryUsage.rss(),
        kvBytes,
        kvTouchedBytes,
        activationBytes,
        activationTouchedBytes,
        pinnedBytes,
        slotBytes,
        ringBytes,
        lockedBytes,
      };
    } catch {
      this.#memory = undefined; // the model was closed meanwhile
    } finally {
      this.#asking = false;
    }
    for (const listener of this.#listeners) listener.memory(this.#memory);
  }
}
