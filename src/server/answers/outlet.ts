/**
 * The way out of an answer: bytes a client reads at its own speed. When it reads slower than they are made, `onFull`
 * says so until `onDrained`; when it goes away, or reads nothing for too long, `onGone`.
 */
export interface OutletEvents {
  onFull(): void;
  onDrained(): void;
  onGone(): void;
}

/** Bytes that may wait; the socket holds about as many again, the system's buffers more. */
const bufferBytes = 16 * 1024;
const encoder = new TextEncoder();

export class Outlet {
  readonly body: ReadableStream<Uint8Array>;
  private readonly events: OutletEvents;
  private readonly stallMs: number;
  private readonly drop: () => void;
  private controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  private stall: NodeJS.Timeout | undefined;
  private lastWrite = performance.now();

  /**
   * @param stallMs a client that leaves everything unread for so long is dropped
   * @param drop cuts the connection
   */
  constructor(events: OutletEvents, stallMs: number, drop: () => void) {
    this.events = events;
    this.stallMs = stallMs;
    this.drop = drop;
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
    return this.controller !== undefined;
  }

  /** Milliseconds since something was written. */
  get silentMs(): number {
    return performance.now() - this.lastWrite;
  }

  write(text: string): void {
    const { controller } = this;
    if (controller === undefined) return;
    controller.enqueue(encoder.encode(text));
    this.lastWrite = performance.now();
    if ((controller.desiredSize ?? 0) > 0 || this.stall !== undefined) return;
    this.stall = setTimeout(() => {
      this.gone();
      this.drop();
    }, this.stallMs);
    this.stall.unref();
    this.events.onFull();
  }

  end(): void {
    clearTimeout(this.stall);
    // What is left may stay unread for as long as anything else; later, `drop` finds no connection any more.
    if (this.full && this.open) setTimeout(this.drop, this.stallMs).unref();
    const { controller } = this;
    this.controller = undefined;
    controller?.close();
  }

  /** The client went away. Safe to call twice. */
  gone(): void {
    if (this.controller === undefined) return;
    this.controller = undefined;
    clearTimeout(this.stall);
    this.events.onGone();
  }

  private drained(): void {
    if (this.stall === undefined || this.controller === undefined) return;
    clearTimeout(this.stall);
    this.stall = undefined;
    this.events.onDrained();
  }
}
