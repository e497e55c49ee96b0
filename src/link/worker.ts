/** Entry of the engine thread. */
import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import { openParts } from "../engine/open.js";
import { IdleCollector } from "../process/idle.js";
import { mark } from "../process/marks.js";
import { portOf } from "./ports.js";
import { serveEngine } from "./serve.js";
import type { WorkerData } from "./transports.js";

mark("engine: program loaded");
const port = parentPort as MessagePort;
serveEngine(portOf(port), openParts);
if ((workerData as WorkerData | undefined)?.collects) {
  const idle = new IdleCollector();
  port.on("message", () => idle.touch());
}
