/** The parts of a server, put together: the same with a socket and without. */

import type { ServerConfig } from "../http/config.js";
import { Gate } from "../http/gate.js";
import { Untaken } from "../http/untaken.js";
import type { ServerContext } from "./context.js";
import { Metrics } from "./metrics.js";
import { ModelService, type OpenEngine, type OpenText } from "./model-service.js";
import { StatusStream } from "./status.js";

export interface Openers {
  /** @internal Tests bring engines and texts of their own. */
  readonly openEngine?: OpenEngine;
  readonly openText?: OpenText;
}

export function makeContext(
  config: ServerConfig,
  { openEngine, openText }: Openers,
  { draining, ending, log }: Pick<ServerContext, "draining" | "ending" | "log">,
): ServerContext {
  const { alias, aliases, answers, textTimeoutMs, maxAnswers, maxIntakeBytes, stallTimeoutMs, keepThinking } = config;
  const named = { alias, aliases, answers, keepThinking };
  const model = new ModelService({ ...named, textTimeoutMs, maxIntakeBytes, openEngine, openText });
  const status = new StatusStream(model);
  const gate = new Gate(maxAnswers, draining);
  const untaken = new Untaken({ mostBytes: config.maxUntakenBytes, stallMs: stallTimeoutMs });
  const lastly = new Set<() => Promise<void>>();
  return { config, model, metrics: new Metrics(), status, gate, untaken, draining, ending, lastly, log };
}
