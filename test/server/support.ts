/** Servers for tests: with the bundled model, a chat template added, or with an engine the test plays itself. */
import { after } from "node:test";
import { type RunningServer, type ServerConfig, type StartOptions, startServer } from "../../src/server/index.js";
import { until as patiently } from "../support/wait.js";
import { chatModel, testFolder } from "./chat-model.js";
import type { FakeEngine } from "./fake-engine.js";

/** Engines of TypeScript sources have no thread of their own: the server's loop would wait for every pass. */
export const needsThreads = import.meta.url.endsWith(".ts")
  ? "SKIPPED: needs engine threads, so the built files: npm run build && node scripts/test.mjs --no-build server/"
  : false;
if (needsThreads) console.log(needsThreads);

export { chatModel, demoModel, testFolder } from "./chat-model.js";

const serving: RunningServer[] = [];
// For the whole file: hooks registered by a test or by another hook are not always called.
after(() => Promise.all(serving.splice(0).map((server) => server.stop())));

/** Stopped when the tests of the file are done. */
export async function serveForTests(options: StartOptions): Promise<RunningServer> {
  const config = { port: 0, drainTimeoutMs: 0, dataFolder: testFolder(), ...options.config };
  const server = await startServer({ ownsProcess: true, ...options, config });
  serving.push(server);
  await server.loaded;
  return server;
}

export async function serveFake(
  engine: FakeEngine,
  config: Partial<ServerConfig> = {},
  modelPath?: string,
  log: (line: string) => void = () => {},
): Promise<RunningServer> {
  const openEngine: StartOptions["openEngine"] = async (_path, _options, watcher) => {
    engine.watcher = watcher;
    return engine;
  };
  return serveForTests({ modelPath: modelPath ?? (await chatModel()), config, openEngine, log });
}

/** Every route that wants a body. */
export const postRoutes = [
  "/v1/chat/completions",
  "/v1/completions",
  "/v1/embeddings",
  "/v1/rerank",
  "/tokenize",
  "/detokenize",
  "/apply-template",
] as const;

export function postJson(url: string, body: unknown, init: RequestInit = {}): Promise<Response> {
  const { headers, ...rest } = init;
  return fetch(url, {
    method: "POST",
    body: typeof body === "string" || body instanceof Uint8Array ? (body as string) : JSON.stringify(body),
    headers: { "content-type": "application/json", ...(headers as Record<string, string> | undefined) },
    ...rest,
  });
}

export interface FailureBody {
  readonly error: { readonly message: string; readonly type: string; readonly param: unknown; readonly code: unknown };
}

/** Events of a stream: comments begin with ":". */
export function sseEvents(text: string): string[] {
  return text.split("\n\n").filter((event) => event !== "");
}

export function until(condition: () => boolean, what: string, timeoutMs = 20_000): Promise<void> {
  return patiently(condition, what, { ms: timeoutMs, everyMs: 5 });
}
