/** Models that the page has fetched: where each stands, told to every page that watches. */
import { asHundredweightError } from "../../errors.js";
import type { PullProgress } from "../../store/pull/pull.js";
import type { Pulls } from "../service/pulls.js";
import { newId } from "./ids.js";
import type { PullState } from "./wire.js";

/** Ended ones that are kept to be seen. */
const mostEnded = 8;
const tellEveryMs = 500;
/** The rate is that of so long a time. */
const rateMs = 5000;

interface Running {
  readonly canceller: AbortController;
  /** Bytes that were there at moments of the last seconds. */
  moments: readonly { readonly at: number; readonly bytes: number }[];
}

export class PagePulls {
  readonly #pulls: Pulls;
  readonly #draining: AbortSignal;
  readonly #listeners = new Set<() => void>();
  readonly #running = new Map<string, Running>();
  #states: readonly PullState[] = [];
  #told = 0;

  /** @param draining the server ends: what is fetched goes on with the next one */
  constructor(pulls: Pulls, draining: AbortSignal) {
    this.#pulls = pulls;
    this.#draining = draining;
  }

  get states(): readonly PullState[] {
    return this.#states;
  }

  /** @returns unsubscribes */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** One that runs already is not begun again. @throws HttpError 503 when as many run as may */
  begin(word: string): PullState {
    const same = this.#states.find((one) => one.word === word && one.phase === "running");
    if (same !== undefined) return same;
    this.#pulls.checkRoom();
    const id = newId();
    const running: Running = { canceller: new AbortController(), moments: [] };
    this.#running.set(id, running);
    const began: PullState = { id, word, phase: "running", doneBytes: 0, totalBytes: 0 };
    this.#states = [...this.#states.filter((one) => one.word !== word), began].slice(-mostEnded - this.#running.size);
    const signal = AbortSignal.any([running.canceller.signal, this.#draining]);
    this.#pulls
      .run(word, {
        signal,
        onProgress: (progress) => this.#progress(id, running, progress),
        onNote: (note) => this.#change(id, { note }, true),
      })
      .then(
        () => this.#end(id, { phase: "done" }),
        (error: unknown) => {
          const { code, message } = asHundredweightError(error);
          this.#end(id, code === "CANCELLED" ? { phase: "cancelled" } : { phase: "failed", note: message });
        },
      );
    this.#tell();
    return began;
  }

  /** Ends one that runs; takes one that has ended from the list. */
  cancel(id: string): void {
    const running = this.#running.get(id);
    if (running !== undefined) {
      running.canceller.abort();
      return;
    }
    this.#states = this.#states.filter((one) => one.id !== id);
    this.#tell();
  }

  #progress(id: string, running: Running, { doneBytes, totalBytes }: PullProgress): void {
    const at = performance.now();
    const last = running.moments.at(-1);
    if (last === undefined || at - last.at >= tellEveryMs / 2)
      running.moments = [...running.moments.filter((moment) => at - moment.at < rateMs), { at, bytes: doneBytes }];
    const first = running.moments[0]!;
    const seconds = (at - first.at) / 1000;
    const rate = seconds < 1 ? undefined : (doneBytes - first.bytes) / seconds;
    const told = { doneBytes, totalBytes, ...(rate !== undefined && { bytesPerSecond: rate }) };
    this.#change(id, told, doneBytes === totalBytes || at - this.#told >= tellEveryMs);
  }

  #end(id: string, end: Pick<PullState, "phase" | "note">): void {
    this.#running.delete(id);
    this.#states = this.#states.map((one) => {
      if (one.id !== id) return one;
      const { note: _, bytesPerSecond: __, ...rest } = one;
      return { ...rest, ...end, ...(end.phase === "done" && { doneBytes: one.totalBytes }) };
    });
    this.#tell();
  }

  #change(id: string, change: Partial<PullState>, tells: boolean): void {
    this.#states = this.#states.map((one) => (one.id === id ? { ...one, ...change } : one));
    if (tells) this.#tell();
  }

  #tell(): void {
    this.#told = performance.now();
    for (const listener of this.#listeners) listener();
  }
}
