/** The routes of a server without a socket: for who asks from the same process, like a batch. */
import { setMaxListeners } from "node:events";
import type { Hono } from "hono";
import type { EngineOptions } from "../link/protocol.js";
import { createApp } from "./app.js";
import { defaultConfig, type ServerConfig } from "./http/config.js";
import type { ServerContext } from "./service/context.js";
import { makeContext } from "./service/make-context.js";
import type { OpenEngine, OpenText } from "./service/model-service.js";

export interface OfflineOptions {
  readonly modelPath: string;
  readonly engine?: EngineOptions;
  readonly config?: Partial<ServerConfig>;
  /** Called a few times a second while weights are read into memory. */
  readonly onLoading?: (loadedBytes: number, totalBytes: number) => void;
  /** @internal Tests bring engines and texts of their own. */
  readonly openEngine?: OpenEngine;
  readonly openText?: OpenText;
}

export interface OfflineServer {
  readonly context: ServerContext;
  readonly app: Hono;
  /** Ends what runs and closes the model. */
  close(): Promise<void>;
}

const lookEveryMs = 200;

/** @throws whatever opening the model throws */
export async function openOffline(options: OfflineOptions): Promise<OfflineServer> {
  const config: ServerConfig = { ...defaultConfig, ...options.config };
  const ender = new AbortController();
  // Every answer listens, and there may be any number of them.
  setMaxListeners(0, ender.signal);
  const context = makeContext(config, options, {
    draining: ender.signal,
    ending: ender.signal,
    log: () => {},
  });
  const { model } = context;
  const { onLoading } = options;
  const looking = setInterval(() => onLoading?.(model.state.loadedBytes, model.state.totalBytes), lookEveryMs).unref();
  await model.open(options.modelPath, options.engine).finally(() => clearInterval(looking));
  return {
    context,
    app: createApp(context),
    close: async () => {
      ender.abort();
      await model.close();
    },
  };
}
