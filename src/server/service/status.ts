/** The engine's status as a stream: one `watch` job for as long as a model is ready, any number of listeners. */
import type { EngineStatus } from "../../link/protocol.js";
import type { ModelService } from "./model-service.js";

export class StatusStream {
  private readonly listeners = new Set<(status: EngineStatus) => void>();
  private last: EngineStatus | undefined;
  private job: { cancel(): void } | undefined;

  constructor(model: ModelService) {
    model.onChange(({ phase }) => {
      this.job?.cancel();
      this.job = undefined;
      if (phase !== "ready") this.last = undefined;
      else this.watch(model);
    });
  }

  /** The last one; undefined while no model is ready. */
  get latest(): EngineStatus | undefined {
    return this.last;
  }

  /** At most about 20 a second. @returns unsubscribes */
  subscribe(listener: (status: EngineStatus) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  private watch(model: ModelService): void {
    const job = model.require().engine.submit({ kind: "watch" }, (event) => {
      if (event.kind !== "status" || this.job !== job) return;
      this.last = event.status;
      for (const listener of [...this.listeners]) listener(event.status);
    });
    this.job = job;
    job.result.catch(() => {}); // ends with the engine; the next phase starts another
  }
}
