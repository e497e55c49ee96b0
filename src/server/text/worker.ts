/** Entry of the text worker: one request at a time, answered in order. */
import { type MessagePort, parentPort } from "node:worker_threads";
import { toWire } from "../../engine/wire.js";
import { IdleCollector } from "../../process/idle.js";
import type { FromText, ToText } from "./protocol.js";
import { TextWork } from "./work.js";

const port = parentPort as MessagePort;
const idle = new IdleCollector();
let work: TextWork | undefined;

const post = (message: FromText): void => port.postMessage(message);

port.on("message", async (message: ToText) => {
  idle.touch();
  try {
    if (message.type === "open") {
      work = await TextWork.open(message.path);
      post({ type: "opened", info: work.info });
    } else post({ type: "done", result: work!.perform(message.request) });
  } catch (error) {
    post({ type: "failed", error: toWire(error) });
  }
});
