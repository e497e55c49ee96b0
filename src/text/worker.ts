/** Entry of the thread in which texts are handled. */
import { type MessagePort, parentPort } from "node:worker_threads";
import { IdleCollector } from "../process/idle.js";
import type { ToText } from "./protocol.js";
import { serveTexts } from "./serve.js";

const port = parentPort as MessagePort;
const idle = new IdleCollector();
const receive = serveTexts((message) => port.postMessage(message));

port.on("message", (message: ToText) => {
  idle.touch();
  void receive(message);
});
