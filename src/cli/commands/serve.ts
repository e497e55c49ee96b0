/** `hundredweight serve [MODEL]`: the server, until it is told to end. */
import type { Command } from "commander";
import { endingSignals } from "../../process/signals.js";
import { type RunningServer, startServer } from "../../server/index.js";
import { namedModel } from "../../store/model-word.js";
import { loadOptions } from "../options/model-options.js";
import { pastOptions } from "../options/past-options.js";
import { measureUnknown, probeOnFirstUse } from "../options/probe-first.js";
import { addServeOptions, configOf, type ServeFlags } from "../options/serve-options.js";
import { tell } from "../terminal/output.js";
import { Progress } from "../terminal/progress.js";

export function register(program: Command): void {
  const command = program
    .command("serve")
    .description("Serve a model to OpenAI, Anthropic, Ollama and llama-server clients and as a web page.")
    .argument("[model]", "a path or a name as `list` shows it; none = the bundled demonstration model");
  addServeOptions(command).action((model: string | undefined, flags: ServeFlags) => serve(model, flags));
}

async function serve(model: string | undefined, flags: ServeFlags): Promise<void> {
  const { path: modelPath, name } = namedModel(model);
  const config = { ...configOf(flags), ...(name !== undefined && { modelName: { path: modelPath, name } }) };
  // The page shows plans of all models of a folder: better that they rest on what was measured.
  if (flags.models !== undefined) await measureUnknown(modelPath, flags);
  else await probeOnFirstUse(modelPath, flags);
  const loading = new Progress("loading", { bytes: true });
  const log = (line: string): void => {
    loading.end();
    tell(line);
  };
  const server = await startServer({
    ownsProcess: true,
    modelPath,
    config,
    engine: {
      ...loadOptions(flags),
      ...pastOptions(flags),
      sequences: flags.parallel ?? 4,
      ...(flags.kvTokens !== undefined && { kvTokens: flags.kvTokens }),
    },
    log,
  });
  const ended = endOnSignal(server, log);
  log(`listening on ${server.url}, loading ${modelPath}`);
  const shown = setInterval(() => {
    const { loadedBytes, totalBytes } = server.context.model.state;
    if (totalBytes > 0) loading.update(loadedBytes, totalBytes);
  }, 200).unref();
  const failed = server.loaded
    .finally(() => clearInterval(shown))
    .then(
      () => {
        const { info } = server.context.model;
        const { id } = server.context.model;
        log(`ready: ${id}, context ${info?.contextTokens} tokens; clients of OpenAI use ${server.url}/v1`);
        log(`Open ${server.url}/`);
        return undefined;
      },
      (error: unknown) => error,
    );
  const failure = await Promise.race([ended.then(() => undefined), failed]);
  if (failure !== undefined) {
    await server.stop(0);
    throw failure;
  }
  await ended;
}

/** The first signal drains, the second ends at once. */
function endOnSignal(server: RunningServer, log: (line: string) => void): Promise<void> {
  return new Promise((resolve) => {
    let told = false;
    const onSignal = (): void => {
      if (told) {
        process.stderr.write("error[CANCELLED]: stopped by the caller\n");
        process.exit(1);
      }
      told = true;
      const { gate } = server.context;
      if (gate.count > 0) log(`ending: ${gate.count} answers are finished first; again ends at once`);
      void server.stop().finally(() => {
        for (const signal of endingSignals) process.off(signal, onSignal);
        resolve();
      });
    };
    for (const signal of endingSignals) process.on(signal, onSignal);
  });
}
