/**
 * Bytes of answers that were made and that nobody has taken yet: of every route, counted in this one place and bounded
 * together. Beyond the bound a large answer waits for its turn, and readers who take nothing give way to it.
 */
import type { Server, ServerResponse } from "node:http";
import { busy, HttpError } from "./http-error.js";

export interface UntakenLimits {
  /** Bytes of all answers together. One alone may be larger. */
  readonly mostBytes: number;
  /** A reader who has taken nothing for so long gives way when there is no room. */
  readonly idleMs: number;
  /** Longest an answer waits for room. */
  readonly waitMs: number;
  /** A reader who has taken nothing for so long is dropped in any case. */
  readonly stallMs: number;
}

export const usualUntaken: UntakenLimits = {
  mostBytes: 32 * 2 ** 20,
  idleMs: 3000,
  waitMs: 30_000,
  stallMs: 600_000,
};

/** Answers up to here are made at once and never wait: there are as many as connections. */
export const smallBytes = 64 * 1024;

const tickMs = 500;

/** Bytes one answer holds beside those its socket has. */
export interface Share {
  resize(bytes: number): void;
  /** Safe to call twice. */
  release(): void;
}

interface Reader {
  readonly response: ServerResponse;
  held: number;
  /** Bytes its socket took when it was last looked at. */
  taken: number;
  idleMs: number;
}

interface Waiter {
  readonly bytes: number;
  readonly reader: Reader | undefined;
  waitedMs: number;
  enter(): void;
  refuse(error: HttpError): void;
}

export class Untaken {
  readonly limits: UntakenLimits;
  readonly #readers = new Map<ServerResponse, Reader>();
  readonly #waiting: Waiter[] = [];
  /** Bytes of shares without a socket. */
  #loose = 0;
  #timer: NodeJS.Timeout | undefined;
  #last = 0;
  #cut = 0;

  constructor(limits: Partial<UntakenLimits> = {}) {
    this.limits = { ...usualUntaken, ...limits };
  }

  /** Made and not taken: what answers hold, and what their sockets have not passed on. */
  get bytes(): number {
    let sum = this.#loose;
    for (const { held, response } of this.#readers.values()) sum += held + response.writableLength;
    return sum;
  }

  /** Readers who had to give way. */
  get cut(): number {
    return this.#cut;
  }

  /** Counts every answer of a server, and looks after their readers. */
  watch(server: Server): void {
    server.prependListener("request", (_request, response) => {
      this.#readers.set(response, { response, held: 0, taken: 0, idleMs: 0 });
      response.once("close", () => this.#leave(response));
      if (this.#timer !== undefined) return;
      this.#last = performance.now();
      this.#timer = setInterval(() => this.#tick(), tickMs).unref();
    });
  }

  /** Counts what is made already. @param response undefined: an answer without a socket */
  hold(response: ServerResponse | undefined, bytes: number): Share {
    const reader = response && this.#readers.get(response);
    // Its reader left before it was made: nothing will keep it.
    if (response !== undefined && reader === undefined) return { resize: () => {}, release: () => {} };
    let held = 0;
    const set = (next: number): void => {
      if (reader === undefined) this.#loose += next - held;
      else reader.held += next - held;
      const less = next < held;
      held = next;
      if (less) this.#admit();
    };
    set(bytes);
    this.#makeRoom(0);
    return { resize: set, release: () => set(0) };
  }

  /**
   * Waits until there is room for an answer that is about to be made. Turns are taken in order of arrival.
   * @throws HttpError 429 when there is none for too long, or too many wait; 400 when the client left meanwhile
   */
  async reserve(response: ServerResponse | undefined, estimate: number): Promise<Share> {
    const { mostBytes } = this.limits;
    const bytes = Math.min(estimate, mostBytes);
    const reader = response && this.#readers.get(response);
    if (response !== undefined && reader === undefined) throw left();
    if (this.#waiting.length === 0 && this.#fits(bytes)) return this.hold(response, bytes);
    // Those who wait hold their requests.
    const waiting = this.#waiting.reduce((sum, waiter) => sum + waiter.bytes, 0);
    if (waiting + bytes > 4 * mostBytes) throw tooMany();
    return new Promise((resolve, reject) => {
      const enter = (): void => resolve(this.hold(response, bytes));
      this.#waiting.push({ bytes, reader, waitedMs: 0, enter, refuse: reject });
    });
  }

  #fits(bytes: number): boolean {
    const now = this.bytes;
    return now + bytes <= this.limits.mostBytes || now === 0;
  }

  #admit(): void {
    for (let first = this.#waiting[0]; first !== undefined && this.#fits(first.bytes); first = this.#waiting[0]) {
      this.#waiting.shift();
      first.enter();
    }
  }

  #leave(response: ServerResponse): void {
    const reader = this.#readers.get(response);
    if (reader === undefined) return;
    this.#readers.delete(response);
    const at = this.#waiting.findIndex((waiter) => waiter.reader === reader);
    if (at >= 0) this.#waiting.splice(at, 1)[0]!.refuse(left());
    this.#admit();
  }

  /** Time is counted in steps: when this process was stopped, or busy, no reader was idle. */
  #tick(): void {
    const now = performance.now();
    const passed = Math.min(2 * tickMs, now - this.#last);
    this.#last = now;
    for (const reader of [...this.#readers.values()]) {
      const { socket, writableLength } = reader.response;
      // What a socket passed on to the system counts as taken; it takes no more than its buffers hold.
      const taken = socket === null ? 0 : socket.bytesWritten - socket.writableLength;
      if (writableLength === 0 || taken !== reader.taken) reader.idleMs = 0;
      else reader.idleMs += passed;
      reader.taken = taken;
      if (reader.idleMs >= this.limits.stallMs) this.#drop(reader);
    }
    for (const waiter of this.#waiting) waiter.waitedMs += passed;
    this.#makeRoom(this.#waiting[0]?.bytes ?? 0);
    this.#admit();
    while ((this.#waiting[0]?.waitedMs ?? 0) >= this.limits.waitMs) this.#waiting.shift()!.refuse(tooMany());
    if (this.#readers.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #makeRoom(bytes: number): void {
    const { mostBytes, idleMs } = this.limits;
    let over = this.bytes + bytes - mostBytes;
    if (over <= 0) return;
    const idle = [...this.#readers.values()].filter((reader) => reader.idleMs >= idleMs);
    idle.sort((a, b) => b.idleMs - a.idleMs);
    for (const reader of idle) {
      if (over <= 0) return;
      over -= reader.held + reader.response.writableLength;
      this.#cut++;
      this.#drop(reader);
    }
  }

  #drop(reader: Reader): void {
    // At once, not when the socket tells: what it held is room.
    this.#readers.delete(reader.response);
    reader.response.destroy();
  }
}

function left(): HttpError {
  return new HttpError(400, "the client left before its answer was made", { code: "body_incomplete" });
}

function tooMany(): HttpError {
  return busy(429, "too many large answers wait for their readers", "too_many_bytes", 5);
}
