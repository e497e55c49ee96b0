/**
 * Entry of the engine's process. The engine has a thread of its own here too: a pass blocks it, and this thread must
 * hear cancels meanwhile and hand them on through memory the two share. Ends with the process that started it.
 */

import { getPriority, setPriority } from "node:os";
import { makeCancelWords } from "../engine/stop-signal.js";
import { IdleCollector } from "../process/idle.js";
import { boundOwnMemory, trimOwnMemory, usableAddon } from "../process/own-memory.js";
import { sharedSignals } from "../process/signals.js";
import { requestClose, requestStop } from "./cancel.js";
import { Heartbeat } from "./heartbeat.js";
import { watchLoading } from "./loading.js";
import type { FromEngine, ToEngine } from "./protocol.js";
import { startWorker } from "./transports.js";

/** Steps of niceness. With 3 the 99th percentile of /health was that of 0, with 10 that of 5. */
const givesWay = 5;

const words = makeCancelWords();
let endLoading: (() => void) | undefined;
let closed = false;

// The terminal's signals go to both; how to end is for the other one to say. When it is gone there is nothing to save,
// and a pass must not be waited for. It may be gone already.
for (const signal of sharedSignals) process.on(signal, () => {});
const orphaned = (): void => {
  if (!closed) process.kill(process.pid, "SIGKILL");
};
process.on("disconnect", orphaned);
if (!process.connected) orphaned();

// Threads inherit it. Passes last long and fill all cores: whoever talks to clients must not wait for its turn among
// them.
try {
  setPriority(Math.min(19, getPriority() + givesWay));
} catch {} // a system that forbids it

boundOwnMemory();
const idle = new IdleCollector(trimOwnMemory);
const engine = await startWorker({ collects: true });
const addon = usableAddon();

// Whoever started this process may die between the question and the message: `disconnect` says so right after.
const send = (message: FromEngine): void => {
  if (process.connected) process.send?.(message, undefined, {}, () => {});
};

const beat = new Heartbeat({
  ping: () => engine.post({ type: "ping" }),
  tiles: () => addon?.tilesFinished(),
  reading: () => (addon?.threadsReading() ?? 0) > 0,
  alive: (reading) => send({ type: "alive", reading }),
});

process.on("message", (message: ToEngine) => {
  idle.touch();
  if (message.type === "submit" && message.request.kind !== "watch") beat.begin(message.job);
  if (message.type === "cancel") beat.end(message.job);
  if (message.type === "cancel") requestStop(words, message.job);
  if (message.type === "close") requestClose(words);
  engine.post(message.type === "open" ? { ...message, stop: words } : message);
});

engine.onMessage((message) => {
  if (message.type === "pong") return beat.pong();
  if (message.type === "done" || message.type === "failed") beat.end(message.job);
  // Opening blocks the engine's thread, so what it has read is seen from here.
  endLoading?.();
  endLoading =
    message.type === "loading"
      ? watchLoading(message.totalBytes, (loadedBytes, totalBytes) =>
          send({ type: "loading", loadedBytes, totalBytes }),
        )
      : undefined;
  closed ||= message.type === "closed";
  send(message);
  if (message.type === "closed") engine.closed();
});

engine.onGone((error) => {
  if (!closed) {
    console.error(error.message);
    process.exit(1);
  }
  if (process.connected) process.disconnect();
});
