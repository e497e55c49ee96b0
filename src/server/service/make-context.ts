/** The parts of a server, put together: the same with a socket and without. */

import { ModelFolder } from "../../store/folder.js";
import type { ServerConfig } from "../http/config.js";
import { Gate } from "../http/gate.js";
import { Untaken } from "../http/untaken.js";
import type { ServerContext } from "./context.js";
import { Metrics } from "./metrics.js";
import { ModelService, type OpenEngine, type OpenText } from "./model-service.js";
import { Pulls } from "./pulls.js";
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
  const listed = config.computerModels || config.modelsFolder !== undefined;
  const models = listed ? new ModelFolder(config.computerModels ? undefined : config.modelsFolder) : undefined;
  const first = config.modelName;
  const nameOf = (path: string) => (path === first?.path ? first.name : models?.nameOf(path));
  const model = new ModelService({ ...named, nameOf, textTimeoutMs, maxIntakeBytes, openEngine, openText });
  const status = new StatusStream(model);
  const gate = new Gate(maxAnswers, draining);
  const untaken = new Untaken({ mostBytes: config.maxUntakenBytes, stallMs: stallTimeoutMs });
  const lastly = new Set<() => Promise<void>>();
  const own = {
    config,
    model,
    models,
    pulls: new Pulls(models),
    metrics: new Metrics(),
    status,
    gate,
    untaken,
    lastly,
  };
  return { ...own, draining, ending, log };
}
