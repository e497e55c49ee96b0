/** Entry of the engine thread. */
import { type MessagePort, parentPort } from "node:worker_threads";
import { serveEngine } from "./host.js";
import { openParts } from "./open.js";
import { portOf } from "./ports.js";

serveEngine(portOf(parentPort as MessagePort), openParts);
