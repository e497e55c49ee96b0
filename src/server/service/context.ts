/** Everything a route needs, made once when the server starts. */

import type { ModelFolder } from "../../store/folder.js";
import type { ServerConfig } from "../http/config.js";
import type { Gate } from "../http/gate.js";
import type { Untaken } from "../http/untaken.js";
import type { Metrics } from "./metrics.js";
import type { ModelService } from "./model-service.js";
import type { Pulls } from "./pulls.js";
import type { StatusStream } from "./status.js";

export interface ServerContext {
  readonly config: ServerConfig;
  /** The model: `require()` for answers, `state` for its phase, `open()` to switch. */
  readonly model: ModelService;
  /** Models that can be switched to; undefined: only one is served. */
  readonly models: ModelFolder | undefined;
  readonly pulls: Pulls;
  readonly metrics: Metrics;
  /** The engine's status, pass by pass. */
  readonly status: StatusStream;
  /** Counts answers and refuses those too many. */
  readonly gate: Gate;
  /** Counts answers that are made and not taken, and bounds them together. */
  readonly untaken: Untaken;
  /** Aborted when the server begins to drain: nothing new is taken, endless streams end. */
  readonly draining: AbortSignal;
  /** Aborted when draining has lasted too long: running answers end with what they have. */
  readonly ending: AbortSignal;
  /** Called and waited for at the very end, when no answer is under way any more. */
  readonly lastly: Set<() => Promise<void>>;
  log(line: string): void;
}
