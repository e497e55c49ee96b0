/**
 * A replica in a process of its own, so that it can be killed; its answers are one word and then silence.
 *   replica-child MODEL PORT DATA
 * It tells its parent when it is there.
 */
import { startServer } from "../../src/server/index.js";
import { FakeEngine } from "../server/fake-engine.js";

const [modelPath, port, dataFolder] = process.argv.slice(2) as [string, string, string];
const engine = new FakeEngine((job) => {
  job.token("begun");
  if (job.request.maxTokens !== 60) job.finish();
});
const server = await startServer({
  modelPath,
  config: { port: Number(port), dataFolder, keepAliveMs: 400 },
  openEngine: async (_path, _options, watcher) => {
    engine.watcher = watcher;
    return engine;
  },
  log: () => {},
});
await server.loaded;
process.send!("ready");
