/** A change of the model, which can wait until the answers that run have ended. */
import { setTimeout as pause } from "node:timers/promises";
import type { EngineOptions } from "../../link/protocol.js";
import type { ServerContext } from "../service/context.js";
import { modelId } from "../service/model-service.js";

/** idle: when no answer runs, and until then others are taken. now: at once. drained: answers get the drain time. */
export type When = "idle" | "now" | "drained";

export class ModelChange {
  readonly #context: ServerContext;
  readonly #listeners = new Set<() => void>();
  #waiting: { readonly name: string } | undefined;

  constructor(context: ServerContext) {
    this.#context = context;
  }

  /** The name of the model that waits for answers to end. */
  get to(): string | undefined {
    return this.#waiting?.name;
  }

  /** @returns unsubscribes */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  begin(path: string, options: EngineOptions, when: When): void {
    const { gate, config } = this.#context;
    if (when !== "idle") {
      this.cancel();
      const patience = when === "now" ? 0 : config.drainTimeoutMs;
      this.#open(path, options, Promise.race([gate.whenIdle(), pause(patience)]));
      return;
    }
    const waiting = { name: modelId(path) };
    this.#set(waiting);
    void gate.whenIdle().then(() => {
      if (this.#waiting !== waiting) return;
      this.#set(undefined);
      this.#open(path, options, Promise.resolve());
    });
  }

  cancel(): void {
    this.#set(undefined);
  }

  #open(path: string, options: EngineOptions, drained: Promise<unknown>): void {
    const { model, log } = this.#context;
    model.open(path, options, drained).catch((error: Error) => log(error.message));
  }

  #set(waiting: { readonly name: string } | undefined): void {
    if (waiting === this.#waiting) return;
    this.#waiting = waiting;
    for (const listener of this.#listeners) listener();
  }
}
