/**
 * Entry of the process in which texts are handled. V8 aborts the whole process when a template outgrows its heap, so
 * this one holds nothing else. Ends with the process that started it: a template is broken off at its deadline, so it
 * is never deaf for longer.
 */
import { IdleCollector } from "../process/idle.js";
import { mark } from "../process/marks.js";
import { boundOwnMemory, limitOwnMemory, trimOwnMemory } from "../process/own-memory.js";
import { sharedSignals } from "../process/signals.js";
import type { FromText, ToText } from "./protocol.js";
import { serveTexts } from "./serve.js";

/** Bytes a request may take beyond what the process has when its model is open. */
const growthBytes = 176 * 2 ** 20;

// The terminal's signals go to both; when to end is for the other one to say.
for (const signal of sharedSignals) process.on(signal, () => {});
const orphaned = (): void => {
  process.kill(process.pid, "SIGKILL");
};
process.on("disconnect", orphaned);
if (!process.connected) orphaned();

mark("texts: program loaded");
boundOwnMemory();
const idle = new IdleCollector(trimOwnMemory);
const send = (message: FromText): void => {
  // The heap's limit does not count what lies outside it, and is looked at after a large string was made, not before.
  mark(`texts: ${message.type}`);
  if (message.type === "opened") limitOwnMemory(growthBytes);
  // Whoever started this process may die between the question and the message: `disconnect` says so right after.
  if (process.connected) process.send?.(message, undefined, {}, () => {});
};
const receive = serveTexts(send);

process.on("message", (message: ToText) => {
  idle.touch();
  void receive(message);
});
