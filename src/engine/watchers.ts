/** Those who watch what the engine does: a status when something changed, at most 20 a second, the last one always. */
import type { HundredweightError } from "../errors.js";
import type { EngineStatus, JobEvent } from "./jobs.js";

const everyMs = 50;

interface Watcher {
  readonly emit: (event: JobEvent) => void;
  readonly settle: (error: HundredweightError) => void;
}

export class Watchers {
  private readonly status: () => EngineStatus;
  private readonly watchers = new Map<number, Watcher>();
  private told = Number.NEGATIVE_INFINITY;
  private timer: NodeJS.Timeout | undefined;

  constructor(status: () => EngineStatus) {
    this.status = status;
  }

  add(id: number, emit: Watcher["emit"], settle: Watcher["settle"]): void {
    this.watchers.set(id, { emit, settle });
    emit({ kind: "status", status: this.status() });
  }

  /** @returns whether it was a watcher */
  remove(id: number, error: HundredweightError): boolean {
    const watcher = this.watchers.get(id);
    if (watcher === undefined) return false;
    this.watchers.delete(id);
    watcher.settle(error);
    return true;
  }

  changed(): void {
    if (this.watchers.size === 0 || this.timer !== undefined) return;
    const wait = this.told + everyMs - performance.now();
    if (wait <= 0) this.tell();
    else this.timer = setTimeout(() => this.tell(), wait).unref();
  }

  end(error: HundredweightError): void {
    clearTimeout(this.timer);
    for (const id of [...this.watchers.keys()]) this.remove(id, error);
  }

  private tell(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.told = performance.now();
    const status = this.status();
    for (const { emit } of this.watchers.values()) emit({ kind: "status", status });
  }
}
