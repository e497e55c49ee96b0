import type { MessagePort } from "node:worker_threads";
import type { ToEngine } from "./protocol.js";
import type { Port } from "./serve.js";

/** A node message port as the engine sees it. */
export function portOf(port: MessagePort): Port {
  return {
    post: (message, transfer = []) => port.postMessage(message, transfer),
    onMessage: (listener) => {
      port.on("message", (message: ToEngine) => listener(message));
    },
    end: () => port.close(),
  };
}
