/**
 * The way out of an answer: bytes a client reads at its own speed. When it reads slower than they are made, `onFull`
 * says so until `onDrained`; when it goes away, or reads nothing for too long, `onGone`.
 */
export interface OutletEvents {
  onFull(): void;
  onDrained(): void;
  onGone(): void;
}

import type { ServerResponse } from "node:http";
import type { Share, Untaken } from "../http/untaken.js";
import { textParts } from "./parts.js";

/** Bytes that may wait; the socket holds about as many again, the system's buffers more. */
const bufferBytes = 16 * 1024;
const encoder = new TextEncoder();

export class Outlet {
  readonly body: ReadableStream<Uint8Array>;
  private readonly events: OutletEvents;
  private readonly stallMs: number;
  private readonly untaken: Untaken;
  private readonly outgoing: ServerResponse | undefined;
  private controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  private stall: NodeJS.Timeout | undefined;
  private lastWrite = performance.now();
  /** The rest of the last text, from the moment the answer is whole. */
  private rest: Iterator<string> | undefined;
  private share: Share | undefined;

  /**
   * @param stallMs a client that leaves everything unread for so long is dropped
   * @param outgoing the socket's side; undefined for a request without a socket
   */
  constructor(events: OutletEvents, stallMs: number, untaken: Untaken, outgoing: ServerResponse | undefined) {
    this.events = events;
    this.stallMs = stallMs;
    this.untaken = untaken;
    this.outgoing = outgoing;
    this.body = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.controller = controller;
        },
        pull: () => this.drained(),
        cancel: () => this.gone(),
      },
      new ByteLengthQueuingStrategy({ highWaterMark: bufferBytes }),
    );
  }

  /** Nothing fits at the moment. */
  get full(): boolean {
    return this.stall !== undefined;
  }

  get open(): boolean {
    return this.controller !== undefined && this.rest === undefined;
  }

  /** Milliseconds since something was written. */
  get silentMs(): number {
    return performance.now() - this.lastWrite;
  }

  write(text: string): void {
    const { controller } = this;
    if (controller === undefined || this.rest !== undefined) return;
    controller.enqueue(encoder.encode(text));
    this.lastWrite = performance.now();
    if ((controller.desiredSize ?? 0) > 0 || this.stall !== undefined) return;
    this.stall = setTimeout(() => {
      this.gone();
      this.outgoing?.destroy();
    }, this.stallMs);
    this.stall.unref();
    this.events.onFull();
  }

  /** @param last the end of the answer: written in parts as they are taken, and counted until then */
  end(last = ""): void {
    clearTimeout(this.stall);
    this.stall = undefined;
    if (this.controller === undefined || this.rest !== undefined) return;
    this.rest = textParts(last);
    this.share = this.untaken.hold(this.outgoing, Buffer.byteLength(last));
    this.pour();
  }

  /** The client went away. Safe to call twice. */
  gone(): void {
    if (this.controller === undefined) return;
    this.controller = undefined;
    clearTimeout(this.stall);
    this.share?.release();
    if (this.rest === undefined) this.events.onGone();
  }

  private drained(): void {
    if (this.controller === undefined) return;
    if (this.rest !== undefined) this.pour();
    if (this.stall === undefined) return;
    clearTimeout(this.stall);
    this.stall = undefined;
    this.events.onDrained();
  }

  private pour(): void {
    const { controller, rest } = this;
    if (controller === undefined || rest === undefined) return;
    // What is put into it may be pulled at once: this is then called inside itself, and may end there.
    while (this.controller !== undefined && (controller.desiredSize ?? 0) > 0) {
      const { done, value } = rest.next();
      if (done === true) {
        this.controller = undefined;
        this.share?.release();
        controller.close();
        return;
      }
      controller.enqueue(encoder.encode(value));
    }
  }
}
