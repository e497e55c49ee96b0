/** A running server: socket, model, and an orderly end. */
import { setMaxListeners } from "node:events";
import { createServer as createHttpServer, type Server } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { isIP } from "node:net";
import { createAdaptorServer } from "@hono/node-server";
import type { Hono } from "hono";
import { HundredweightError } from "../errors.js";
import type { EngineOptions } from "../link/protocol.js";
import { createApp } from "./app.js";
import { defaultConfig, type ServerConfig } from "./http/config.js";
import { boundHalfOpen } from "./http/half-open.js";
import type { Untaken } from "./http/untaken.js";
import type { ServerContext } from "./service/context.js";
import { makeContext } from "./service/make-context.js";
import type { OpenEngine, OpenText } from "./service/model-service.js";
import { defaultDataFolder } from "./ui/conversations.js";

export interface StartOptions {
  readonly config?: Partial<ServerConfig>;
  readonly modelPath: string;
  readonly engine?: EngineOptions;
  /**
   * The process serves and does nothing else: its `Request` and `Response` may become ones that make streams and header
   * lists only where they are looked at. Default false.
   */
  readonly ownsProcess?: boolean;
  /** Lines for people; default: nowhere. */
  readonly log?: (line: string) => void;
  /** @internal Tests serve engines and texts of their own. */
  readonly openEngine?: OpenEngine;
  readonly openText?: OpenText;
}

export class RunningServer {
  readonly url: string;
  readonly context: ServerContext;
  /** The routes: `app.request()` needs no socket. */
  readonly app: Hono;
  /** Settles when the first model is ready, or could not be opened. */
  readonly loaded: Promise<void>;
  private readonly server: Server;
  private readonly drainer: AbortController;
  private readonly ender: AbortController;
  private stopping: Promise<void> | undefined;

  /** @internal */
  constructor(
    server: Server,
    app: Hono,
    context: ServerContext,
    loaded: Promise<void>,
    ends: readonly [drainer: AbortController, ender: AbortController],
  ) {
    const { address, family, port } = server.address() as AddressInfo;
    const scheme = context.config.tls === undefined ? "http" : "https";
    this.url = `${scheme}://${family === "IPv6" ? `[${address}]` : address}:${port}`;
    this.server = server;
    this.app = app;
    this.context = context;
    this.loaded = loaded;
    [this.drainer, this.ender] = ends;
  }

  /**
   * Takes no new connection and no new answer, lets running answers end (after `drainTimeoutMs` with what they have),
   * closes the model. Safe to call twice.
   */
  stop(drainTimeoutMs = this.context.config.drainTimeoutMs): Promise<void> {
    this.stopping ??= this.drain(drainTimeoutMs);
    return this.stopping;
  }

  private async drain(drainTimeoutMs: number): Promise<void> {
    const { context, server } = this;
    this.drainer.abort();
    context.model.hurryTexts();
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    server.closeIdleConnections();
    const timer = setTimeout(() => this.ender.abort(), drainTimeoutMs);
    await context.gate.whenIdle();
    clearTimeout(timer);
    this.ender.abort();
    // What is written by now gets a moment to reach its reader.
    const cut = setTimeout(() => server.closeAllConnections(), 1000);
    server.closeIdleConnections();
    await closed;
    clearTimeout(cut);
    await Promise.all([...context.lastly].map((work) => work()));
    await context.model.close();
  }
}

/**
 * Listens, then loads the model: `/ready` tells how far it is.
 * @throws OPTION_INVALID for an address that needs a key, and for a key that nobody can send; ADDRESS_IN_USE
 */
export async function startServer(options: StartOptions): Promise<RunningServer> {
  const config: ServerConfig = { ...defaultConfig, ...options.config };
  checkKeys(config);
  checkAddress(config);
  const drainer = new AbortController();
  const ender = new AbortController();
  // Every answer listens to them.
  setMaxListeners(0, drainer.signal, ender.signal);
  const context = makeContext(config, options, {
    draining: drainer.signal,
    ending: ender.signal,
    log: options.log ?? (() => {}),
  });
  const app = createApp(context, config.dataFolder ?? defaultDataFolder());
  const server = await listen(app, config, context.untaken, options.ownsProcess === true);
  // Its name is the one by which it will be listed.
  const listed = context.models?.learn().catch(() => {});
  const loaded = context.model.open(options.modelPath, options.engine, listed).then(() => {});
  loaded.catch(() => {}); // the caller may look at /ready instead
  return new RunningServer(server, app, context, loaded, [drainer, ender]);
}

/** A key that no header can carry would lock everybody out; an empty one would let everybody in. */
function checkKeys({ apiKeys }: ServerConfig): void {
  if (apiKeys.every((key) => /^[\x21-\x7e]+$/.test(key))) return;
  throw new HundredweightError(
    "OPTION_INVALID",
    "a key is one or more printable ASCII characters without spaces; another one was given (--api-key)",
  );
}

/** Anybody who reaches the port can use the machine: beyond this computer only with a key. */
function checkAddress({ host, apiKeys }: ServerConfig): void {
  const local = host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
  if (local || apiKeys.length > 0) return;
  throw new HundredweightError(
    "OPTION_INVALID",
    `--host ${host}: others could use this server; give it a key with --api-key, or listen on 127.0.0.1`,
  );
}

function listen(app: Hono, config: ServerConfig, untaken: Untaken, ownsProcess: boolean): Promise<Server> {
  const limits = {
    headersTimeout: config.headersTimeoutMs,
    requestTimeout: config.receiveTimeoutMs,
    connectionsCheckingInterval: Math.min(2000, config.headersTimeoutMs),
    keepAliveTimeout: 10_000,
    maxHeaderSize: 16 * 1024,
  };
  const server = createAdaptorServer({
    fetch: app.fetch,
    overrideGlobalObjects: ownsProcess,
    ...(config.tls === undefined
      ? { createServer: createHttpServer, serverOptions: limits }
      : { createServer: createHttpsServer, serverOptions: { ...limits, ...config.tls } }),
  }) as Server;
  boundHalfOpen(server, config.headersTimeoutMs);
  untaken.watch(server);
  server.maxConnections = config.maxConnections;
  server.maxHeadersCount = 100;
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      const where = `${config.host}:${config.port}`;
      if (error.code === "EADDRINUSE") {
        reject(
          new HundredweightError("ADDRESS_IN_USE", `something listens on ${where} already; choose another --port`),
        );
      } else reject(new HundredweightError("OPTION_INVALID", `cannot listen on ${where}: ${error.message}`));
    });
    server.listen(config.port, config.host, () => resolve(server));
  });
}
