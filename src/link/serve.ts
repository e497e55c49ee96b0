/** The engine behind a message port: turns messages into jobs and events into messages. */

import { Engine } from "../engine/engine.js";
import type { EngineParts } from "../engine/parts.js";
import { StopSignal } from "../engine/stop-signal.js";
import { HundredweightError } from "../errors.js";
import { mark } from "../process/marks.js";
import { toWire } from "../process/wire.js";
import { type Addressed, pack } from "./parcels.js";
import type { EngineOptions, FromEngine, JobEvent, ToEngine } from "./protocol.js";

export interface Port {
  post(message: FromEngine, transfer?: readonly ArrayBuffer[]): void;
  onMessage(listener: (message: ToEngine) => void): void;
  /** Nothing more will be posted. */
  end(): void;
}

/**
 * `onPlanned` is told how many bytes of weights will be read before the model is open. That ends with CANCELLED when
 * the first of the words in `stop` is not 0.
 */
export type OpenParts = (
  path: string,
  options: EngineOptions,
  onPlanned?: (loadBytes: number) => void,
  stop?: Int32Array,
) => Promise<EngineParts>;

/** Events of a pass go in one message, before the next one begins. */
class Outbox {
  private readonly port: Port;
  private events: Addressed[] = [];
  private readonly values: ArrayBuffer[] = [];

  constructor(port: Port) {
    this.port = port;
  }

  add(job: number, event: JobEvent): void {
    this.events.push({ job, event });
    if (event.kind === "logits" || event.kind === "logprobs") {
      // Those of a pass may be hundreds of megabytes: slice by slice they are not here all at once.
      this.values.push(event.values.buffer as ArrayBuffer);
      this.flush();
    } else if (this.events.length === 1) setImmediate(() => this.flush());
  }

  /** Behind the events that came before. */
  post(message: FromEngine): void {
    this.flush();
    this.port.post(message);
  }

  private flush(): void {
    if (this.events.length === 0) return;
    const { events } = this;
    this.events = [];
    this.port.post({ type: "events", events: pack(events) }, this.values.splice(0));
  }
}

export function serveEngine(port: Port, openParts: OpenParts): void {
  const outbox = new Outbox(port);
  let engine: Engine | undefined;
  let stop: StopSignal | undefined;
  const open = async (path: string, options: EngineOptions, words: Int32Array): Promise<void> => {
    const signal = new StopSignal(words);
    try {
      signal.begin([]); // reading the weights, which may take a minute, is stopped like a pass
      if (signal.closing) signal.stop();
      const onPlanned = (totalBytes: number): void => port.post({ type: "loading", loadedBytes: 0, totalBytes });
      const parts = await openParts(path, options, onPlanned, words);
      signal.end();
      stop = signal;
      engine = new Engine(parts, stop);
      port.post({ type: "opened", info: parts.info });
    } catch (error) {
      port.post({ type: "openFailed", error: toWire(error) });
    }
  };
  port.onMessage((message) => {
    switch (message.type) {
      case "open":
        void open(message.path, message.options, message.stop);
        return;
      case "submit": {
        mark(`engine: told to ${message.request.kind}`);
        const { job } = message;
        if (engine === undefined) {
          port.post({
            type: "failed",
            job,
            error: toWire(new HundredweightError("ENGINE_CLOSED", "no model is open")),
          });
          return;
        }
        engine
          .submit(job, message.request, (event) => outbox.add(job, event))
          .then(
            (result) => outbox.post({ type: "done", job, result }),
            (error) => outbox.post({ type: "failed", job, error: toWire(error) }),
          );
        return;
      }
      case "cancel":
        stop?.heard();
        engine?.cancel(message.job);
        return;
      case "pause":
      case "resume":
        engine?.[message.type](message.job);
        return;
      case "ping":
        port.post({ type: "pong" });
        return;
      case "close":
        void (engine?.close() ?? Promise.resolve()).finally(() => {
          port.post({ type: "closed" });
          port.end();
        });
        return;
    }
  });
}
