/** One place and the request it works on: messages become outcomes, and a place that does not answer is ended. */

import type { HundredweightError } from "../errors.js";
import { collectYoung } from "../process/idle.js";
import { fromWire } from "../process/wire.js";
import { endedUnexpectedly, tookTooLong, tookTooMuch } from "./faults.js";
import { type Gone, startPlace, type TextPlace, type TextPlaceKind } from "./places.js";
import {
  type FromText,
  mostIds,
  type TextInfo,
  type TextLimits,
  type TextRequest,
  type TextResults,
} from "./protocol.js";

export type Outcome =
  | { readonly kind: "done"; readonly result: TextResults[keyof TextResults] }
  | { readonly kind: "failed"; readonly error: HundredweightError }
  /** Broken off where its limits say; the place is as good as before. */
  | { readonly kind: "limited"; readonly by: keyof TextLimits; readonly starved: boolean }
  /** It did not even hear that: its place was ended. `starved`: it had too little of the processor to hear anything. */
  | { readonly kind: "late"; readonly starved: boolean }
  | { readonly kind: "gone"; readonly why: Gone };

/** Reading a large vocabulary from a slow disk. */
const openTimeoutMs = 120_000;
/** Longest a place is waited for that does not get the processor time it may have. */
const starvedMs = 10_000;
/** Less is not worth another look. */
const leastMs = 10;
/** Most requests have ended before: asking the system for a place's processor time costs more than they do. */
const firstLookMs = 100;

export class Lane {
  private readonly place: TextPlace;
  private answer: ((outcome: FromText | Gone | "late") => void) | undefined;
  private timer: NodeJS.Timeout | undefined;
  /** Milliseconds the place had computed at the first look at what it works on. */
  private computedBefore: number | undefined;
  private starved = false;
  private dead: Gone | undefined;
  /** A result that comes in parts. */
  private ids: Int32Array | undefined;
  private arrived = 0;
  /** Its model is open. */
  ready = false;

  constructor(kind: TextPlaceKind) {
    this.place = startPlace(kind);
    this.place.onMessage((message) => {
      if (message.type === "ids") this.gather(message.ids, message.length);
      else this.settle(message);
    });
    this.place.onGone((why) => {
      this.dead ??= why;
      this.settle(this.dead);
    });
  }

  get pid(): number | undefined {
    return this.place.pid;
  }

  get busy(): boolean {
    return this.answer !== undefined;
  }

  get alive(): boolean {
    return this.dead === undefined;
  }

  /** Milliseconds it has computed for what it works on; undefined where nobody says, and in the first moments. */
  get computedMs(): number | undefined {
    const now = this.place.processorMs();
    // Before the first look nobody counted: all of it is taken as computed.
    return now === undefined || this.computedBefore === undefined ? undefined : now - this.computedBefore + firstLookMs;
  }

  /** @throws what opening the file and its vocabulary throws */
  async open(path: string, template?: string): Promise<TextInfo> {
    const answer = await this.ask({ type: "open", path, template }, openTimeoutMs);
    if (answer === "late") throw tookTooLong(undefined, openTimeoutMs);
    if (!("type" in answer)) throw goneError(undefined, answer);
    if (answer.type === "opened") {
      this.ready = true;
      return answer.info;
    }
    throw answer.type === "failed" ? fromWire(answer.error) : endedUnexpectedly(undefined, answer.type);
  }

  /**
   * @param withinMs of computing (of the clock, where nobody counts that) after which the place is ended: later than
   *   its own limits, which it should have kept
   */
  async run(request: TextRequest, limits: TextLimits, withinMs: number): Promise<Outcome> {
    const answer = await this.ask({ type: "do", request, limits }, withinMs);
    if (answer === "late") return { kind: "late", starved: this.starved };
    if (!("type" in answer)) return { kind: "gone", why: answer };
    switch (answer.type) {
      case "done":
        return { kind: "done", result: answer.result };
      case "limited":
        return { kind: "limited", by: answer.by, starved: answer.starved };
      case "failed":
        return { kind: "failed", error: fromWire(answer.error) };
      case "opened":
      case "ids":
        return { kind: "gone", why: { memory: false, message: "it answered something else" } };
    }
  }

  /** Ends the place; what it works on has the outcome "late". */
  end(): void {
    this.dead ??= { memory: false, message: "it was ended" };
    this.place.end();
    this.settle("late");
  }

  private ask(message: Parameters<TextPlace["post"]>[0], withinMs: number): Promise<FromText | Gone | "late"> {
    if (this.dead !== undefined) return Promise.resolve(this.dead);
    return new Promise((resolve) => {
      this.answer = resolve;
      this.computedBefore = undefined;
      this.timer = setTimeout(() => {
        this.computedBefore = this.place.processorMs();
        this.watch(withinMs - firstLookMs, withinMs, withinMs - firstLookMs + starvedMs);
      }, firstLookMs).unref();
      this.place.hold(true);
      this.place.post(message);
    });
  }

  /** @param clockMs when it is ended at the latest */
  private watch(ms: number, withinMs: number, clockMs: number): void {
    this.timer = setTimeout(() => {
      const computed = this.computedMs;
      const left = computed === undefined ? 0 : withinMs - computed;
      const again = Math.min(left, clockMs - ms);
      if (again >= leastMs) this.watch(again, withinMs, clockMs - ms);
      else {
        this.starved = left >= leastMs;
        this.end();
      }
    }, ms);
    this.timer.unref();
  }

  private gather(ids: Int32Array, length: number): void {
    this.ids ??= new Int32Array(length);
    this.ids.set(ids, this.arrived);
    this.arrived += ids.length;
    // Each came in buffers of three times its size.
    if (this.arrived % (8 * mostIds) === 0) collectYoung();
  }

  private settle(outcome: FromText | Gone | "late"): void {
    const { answer, ids } = this;
    this.answer = undefined;
    this.ids = undefined;
    this.arrived = 0;
    clearTimeout(this.timer);
    this.place.hold(false);
    const whole = ids !== undefined && typeof outcome === "object" && "type" in outcome && outcome.type === "done";
    answer?.(whole ? { type: "done", result: ids } : outcome);
  }
}

export function goneError(request: TextRequest | undefined, why: Gone): HundredweightError {
  return why.memory ? tookTooMuch(request) : endedUnexpectedly(request, why.message);
}
