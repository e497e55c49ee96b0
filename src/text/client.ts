/**
 * Asks for templates to be rendered and texts to be tokenized. Templates are programs from a stranger's file: they may
 * never end or take all memory, for some texts only. Such a request fails alone, and soon enough for everybody else:
 *
 * - All begin in one place, shortest first, and get some milliseconds there; then, when nobody new waits, once more
 *   some. Being broken off costs the place nothing (interrupt.ts).
 * - Whoever needs longer, or brings much text, goes aside: to a second place that is started for it and given up when
 *   it is idle. It has the whole deadline there, less when others wait there for the first time.
 * - A place that dies or does not even break off is replaced; the idle one of the two takes over at once.
 *
 * So there are never more than two, and with any number of bad requests a good one waits for a few first tries.
 */
import { HundredweightError } from "../errors.js";
import { isClosed, madeTooLong, tookTooLong, wasCrowded } from "./faults.js";
import { goneError, Lane, type Outcome } from "./lane.js";
import {
  bytesOf,
  fairMs,
  mostRequestBytes,
  mostTextBytes,
  overdueMs,
  patientLimits,
  quickBytes,
  quickLimits,
} from "./limits.js";
import type { TextPlaceKind } from "./places.js";
import type { TooLong } from "./prompt.js";
import type { TextInfo, TextRequest, TextResults } from "./protocol.js";

export interface TextService {
  readonly info: TextInfo;
  /** Times a place had to be replaced. */
  readonly restarts: number;
  /**
   * Why no conversation can be rendered with the file's template, when that is known: it is tried after the opening.
   */
  readonly sample: Promise<HundredweightError | undefined>;
  /**
   * A text that is too long for the context is answered as such, unread when it is far too long.
   * @throws TEMPLATE_*, TEXT_INVALID, OPTION_INVALID, QUEUE_FULL, CANCELLED, ENGINE_CLOSED
   */
  perform<Q extends TextRequest>(request: Q, signal?: AbortSignal): Promise<TextResults[Q["kind"]]>;
  /** The end is near: what needs more than moments fails with ENGINE_CLOSED, now and from now on. */
  hurry(): void;
  /** At once: what runs fails with ENGINE_CLOSED. */
  close(): Promise<void>;
}

export interface TextOptions {
  readonly place: TextPlaceKind;
  /** Longest a template may render. Default 10 s. */
  readonly timeoutMs?: number;
  /** Requests come from several people: slow ones step aside. Else each has the whole deadline at once. */
  readonly shared?: boolean;
  /** Bytes of the texts that wait, together; one alone may be larger. Default 16 MiB. */
  readonly maxWaitingBytes?: number;
  /** A chat template in place of the file's. */
  readonly template?: string | undefined;
  /** Ends it, also while it is opened. */
  readonly signal?: AbortSignal;
}

interface Item {
  readonly request: TextRequest;
  readonly bytes: number;
  readonly resolve: (result: TextResults[keyof TextResults]) => void;
  readonly reject: (error: Error) => void;
  /** Tries so far; those that are not new wait behind those that are. */
  tries: number;
  /** Tries that the machine left no time for; they do not count. */
  starved: number;
  /** Ends the wait for the second place. */
  timer?: NodeJS.Timeout;
  lane?: Lane;
  /** Pushed aside by others while it ran: milliseconds it had computed; undefined where nobody says. */
  crowded?: { readonly computedMs: number | undefined };
  cancelled?: boolean;
}

const usualTimeoutMs = 10_000;
const maxWaiting = 1024;
/** Tries a request has more when the machine computed for others meanwhile. */
const mostStarved = 4;
/** Bytes of texts that wait: they are held by this process. */
const usualWaitingBytes = 16 * 2 ** 20;
/** Longest a place takes to start on a busy machine. */
const startMs = 10_000;
/** Less is not worth another look. */
const leastMs = 10;
/** The second place is kept for a while: slow requests come in swarms. */
const idleMs = 15_000;

/** @throws what opening the file and its vocabulary throws */
export async function openTexts(path: string, options: TextOptions): Promise<TextService> {
  const client = new TextClient(path, options);
  options.signal?.addEventListener("abort", () => void client.close(), { once: true });
  if (options.signal?.aborted) await client.close();
  try {
    await client.open();
    return client;
  } catch (error) {
    await client.close();
    throw error;
  }
}

class TextClient implements TextService {
  private readonly path: string;
  private readonly template: string | undefined;
  private readonly kind: TextPlaceKind;
  private readonly timeoutMs: number;
  private readonly shared: boolean;
  private readonly maxWaitingBytes: number;
  private readonly waiting: Item[] = [];
  private readonly aside: Item[] = [];
  private quick: Lane | undefined;
  private patient: Lane | undefined;
  /** The request that runs in `patient`, and since when. */
  private slow: { readonly item: Item; readonly since: number } | undefined;
  private opened: TextInfo | undefined;
  private waitingBytes = 0;
  private crowd: NodeJS.Timeout | undefined;
  private idle: NodeJS.Timeout | undefined;
  private closed = false;
  private hurried = false;
  restarts = 0;
  sample: Promise<HundredweightError | undefined> = Promise.resolve(undefined);

  constructor(path: string, options: TextOptions) {
    const { place, timeoutMs = usualTimeoutMs, shared = false, maxWaitingBytes = usualWaitingBytes } = options;
    this.path = path;
    this.template = options.template;
    this.kind = place;
    this.timeoutMs = timeoutMs;
    this.shared = shared;
    this.maxWaitingBytes = maxWaitingBytes;
  }

  get info(): TextInfo {
    return this.opened!;
  }

  async open(): Promise<void> {
    if (this.closed) throw isClosed();
    this.quick = new Lane(this.kind);
    this.opened = await this.quick.open(this.path, this.template).catch((error: Error) => {
      throw this.closed ? isClosed() : error;
    });
    if (!this.shared || this.opened.templates.length === 0) return;
    // A request like others, so a template that never ends delays nobody; and the first one is slow while code is
    // compiled.
    this.sample = this.perform({ kind: "render", chat: { messages: [{ role: "user", content: "Hello" }] } }).then(
      () => undefined,
      (error: HundredweightError) => error,
    );
  }

  async perform<Q extends TextRequest>(request: Q, signal?: AbortSignal): Promise<TextResults[Q["kind"]]> {
    const bytes = bytesOf(request);
    const most = "most" in request ? mostTextBytes(request.most) : mostRequestBytes;
    if ("most" in request && bytes > most)
      return { bytes, mostBytes: most } satisfies TooLong as TextResults[Q["kind"]];
    if (!("tokens" in request) && bytes > most) {
      throw new HundredweightError(
        "OPTION_INVALID",
        `the text has ${bytes} bytes, more than ${most} are not taken at once`,
      );
    }
    if (this.closed) throw isClosed();
    const full = this.waitingBytes > 0 && this.waitingBytes + bytes > this.maxWaitingBytes;
    if (this.waiting.length + this.aside.length >= maxWaiting || full)
      throw new HundredweightError("QUEUE_FULL", "too many texts wait to be tokenized");
    this.waitingBytes += bytes;
    let cancel = (): void => {};
    try {
      return (await new Promise<TextResults[keyof TextResults]>((resolve, reject) => {
        const item: Item = { request, bytes, resolve, reject, tries: 0, starved: 0 };
        cancel = () => this.cancel(item);
        signal?.addEventListener("abort", cancel, { once: true });
        if (this.shared && bytes > quickBytes) this.stepAside(item);
        else this.waiting.push(item);
        if (signal?.aborted) cancel();
        this.next();
      })) as TextResults[Q["kind"]];
    } finally {
      signal?.removeEventListener("abort", cancel);
      this.waitingBytes -= bytes;
    }
  }

  hurry(): void {
    this.hurried = true;
    for (const item of this.aside.splice(0)) {
      clearTimeout(item.timer);
      item.reject(isClosed());
    }
    this.patient?.end();
  }

  close(): Promise<void> {
    this.closed = true;
    clearTimeout(this.idle);
    clearTimeout(this.crowd);
    this.refuse(isClosed());
    this.quick?.end();
    this.patient?.end();
    return Promise.resolve();
  }

  private cancel(item: Item): void {
    item.cancelled = true;
    for (const list of [this.waiting, this.aside]) if (list.includes(item)) list.splice(list.indexOf(item), 1);
    clearTimeout(item.timer);
    // Whoever waits next need not wait for what nobody wants. Several people's place goes on: it is back in
    // milliseconds.
    if (!this.shared) item.lane?.end();
    item.reject(new HundredweightError("CANCELLED", "stopped by the caller"));
  }

  private next(): void {
    if (this.closed) return;
    this.nextQuick();
    this.nextPatient();
  }

  private nextQuick(): void {
    if (this.quick?.alive !== true) this.replace();
    const lane = this.quick;
    if (lane === undefined || !lane.ready || lane.busy || this.waiting.length === 0) return;
    const best = this.waiting.reduce((a, b) => ((b.tries - a.tries || b.bytes - a.bytes) < 0 ? b : a));
    this.waiting.splice(this.waiting.indexOf(best), 1);
    const limits = this.shared ? quickLimits(best.bytes, best.tries) : patientLimits(this.timeoutMs);
    // Not shared, it has no second try, and a busy machine should not cost it the first.
    const withinMs = overdueMs(limits, best.bytes) + (this.shared ? 0 : 1000);
    best.lane = lane;
    void lane.run(best.request, limits, withinMs).then((outcome) => {
      if (!lane.alive) this.restarts++;
      if (this.shared && best.cancelled !== true && (outcome.kind === "limited" || outcome.kind === "late")) {
        if (!(outcome.kind === "limited" && outcome.starved && best.starved++ < mostStarved)) best.tries++;
        if (outcome.kind === "limited" && outcome.by === "renderMs" && best.tries < 2) this.waiting.push(best);
        else this.stepAside(best);
      } else this.settle(best, outcome, this.timeoutMs);
      this.next();
    });
  }

  /** The first place is gone. Nobody waits for a new one while the second has nothing to do. */
  private replace(): void {
    if (this.patient?.ready === true && this.patient.alive && !this.patient.busy) {
      this.quick = this.patient;
      this.patient = undefined;
      return;
    }
    if (!this.shared && this.waiting.length === 0) return;
    this.quick = this.start();
  }

  private start(): Lane {
    const lane = new Lane(this.kind);
    lane.open(this.path, this.template).then(
      () => this.next(),
      // The file is gone or changed: nothing that waits can be answered.
      (error: Error) => {
        lane.end();
        if (!this.closed) this.refuse(error);
      },
    );
    return lane;
  }

  private stepAside(item: Item): void {
    if (this.closed || this.hurried) {
      item.reject(isClosed());
      return;
    }
    this.aside.push(item);
    const giveUp = (): void => {
      if (!this.aside.includes(item)) return;
      this.aside.splice(this.aside.indexOf(item), 1);
      item.reject(wasCrowded(item.request));
    };
    item.timer = setTimeout(() => {
      // The start of the second place is not the request's fault.
      if (this.patient?.ready === true) giveUp();
      else item.timer = setTimeout(giveUp, startMs).unref();
    }, this.timeoutMs).unref();
  }

  private nextPatient(): void {
    if (this.aside.length === 0) {
      if (this.patient?.busy !== true) this.retireLater();
      return;
    }
    clearTimeout(this.idle);
    this.idle = undefined;
    if (this.patient?.alive !== true) this.patient = this.start();
    const lane = this.patient;
    if (!lane.ready) return;
    if (lane.busy) {
      this.crowdOut(lane);
      return;
    }
    const item = this.aside.find(({ tries }) => tries === 0) ?? this.aside[0]!;
    this.aside.splice(this.aside.indexOf(item), 1);
    clearTimeout(item.timer);
    const limits = patientLimits(this.timeoutMs);
    item.tries++;
    item.lane = lane;
    this.slow = { item, since: performance.now() };
    void lane.run(item.request, limits, overdueMs(limits, item.bytes)).then((outcome) => {
      if (!lane.alive) this.restarts++;
      this.slow = undefined;
      clearTimeout(this.crowd);
      this.crowd = undefined;
      this.settle(item, outcome, this.timeoutMs);
      this.next();
    });
    this.crowdOut(lane);
  }

  /** A running request has had its share when another waits that has not been tried anywhere. */
  private crowdOut(lane: Lane): void {
    if (this.slow === undefined || this.crowd !== undefined || !this.aside.some(({ tries }) => tries === 0)) return;
    const { item, since } = this.slow;
    const fair = fairMs(item.bytes);
    const look = (): void => {
      this.crowd = undefined;
      if (this.slow?.item !== item || !this.aside.some(({ tries }) => tries === 0)) return;
      const computedMs = lane.computedMs;
      const left = fair - (computedMs ?? fair);
      if (left >= leastMs) this.crowd = setTimeout(look, left).unref();
      else {
        item.crowded = { computedMs };
        lane.end();
      }
    };
    this.crowd = setTimeout(look, since + fair - performance.now()).unref();
  }

  private retireLater(): void {
    if (this.patient === undefined || this.idle !== undefined) return;
    this.idle = setTimeout(() => {
      this.idle = undefined;
      if (this.patient?.busy === true || this.aside.length > 0) return;
      this.patient?.end();
      this.patient = undefined;
    }, idleMs).unref();
  }

  private settle(item: Item, outcome: Outcome, ms: number): void {
    if (outcome.kind === "done") item.resolve(outcome.result);
    else
      item.reject(this.closed || (this.hurried && outcome.kind !== "failed") ? isClosed() : errorOf(item, outcome, ms));
  }

  private refuse(error: Error): void {
    for (const item of [...this.waiting.splice(0), ...this.aside.splice(0)]) {
      clearTimeout(item.timer);
      item.reject(error);
    }
  }
}

function errorOf({ request, crowded }: Item, outcome: Exclude<Outcome, { kind: "done" }>, ms: number): Error {
  switch (outcome.kind) {
    case "failed":
      return outcome.error;
    case "limited":
      if (outcome.by === "renderedLength") return madeTooLong();
      return outcome.starved ? wasCrowded(request) : tookTooLong(request, ms);
    case "late":
      if (crowded === undefined) return outcome.starved ? wasCrowded(request) : tookTooLong(request, ms);
      // By the clock alone nobody knows whether it was the text or the machine that was slow.
      return crowded.computedMs === undefined ? wasCrowded(request) : tookTooLong(request, crowded.computedMs, true);
    case "gone":
      return goneError(request, outcome.why);
  }
}
