/** `hundredweight serve [MODEL]`: the server, until it is told to end. */
import type { Command } from "commander";
import { asHundredweightError, HundredweightError } from "../../errors.js";
import { readTextSync } from "../../regular-file.js";
import { defaultConfig, type RunningServer, type ServerConfig, startServer } from "../../server/index.js";
import { modelFile } from "../../store/model-word.js";
import { addModelOptions, loadOptions, type ModelFlags } from "../options/model-options.js";
import { parseBytes, parseInteger, parseNumber } from "../options/options.js";
import { measureUnknown, noProbe, probeOnFirstUse } from "../options/probe-first.js";
import { tell } from "../terminal/output.js";

interface ServeFlags extends ModelFlags {
  host?: string;
  port?: number;
  alias?: string;
  parallel?: number;
  models?: string;
  data?: string;
  apiKey?: string[];
  apiKeyFile?: string;
  allowHost?: string[];
  cors?: string[];
  tlsCert?: string;
  tlsKey?: string;
  maxAnswers?: number;
  maxBody?: number;
  requestTimeout?: number;
  drainTimeout?: number;
  keepThinking?: boolean;
  logRequests?: boolean;
  probe?: boolean;
}

export function register(program: Command): void {
  const several = (text: string, all: string[] = []): string[] => [...all, text];
  const seconds = (name: string) => (text: string) => parseNumber(text, name, 0, 1e6);
  const command = program
    .command("serve")
    .description("Serve a model to OpenAI clients and as a web page.")
    .argument("[model]", "a GGUF file; none = the bundled demonstration model")
    .option("--host <address>", `address to listen on (default ${defaultConfig.host}; others need --api-key)`)
    .option("--port <n>", `port (default ${defaultConfig.port}, 0 = any free one)`, (t) =>
      parseInteger(t, "--port", 0, 65535),
    )
    .option("--parallel <n>", "answers made at the same time (default 4)", (t) =>
      parseInteger(t, "--parallel", 1, 1024),
    )
    .option("--alias <name>", "name of the model in answers (default: its file)")
    .option("--models <folder>", "folder whose models the page can switch to")
    .option("--data <folder>", "where the page keeps conversations")
    .option("--api-key <key>", "key that clients must send (repeatable; or env HUNDREDWEIGHT_API_KEY)", several)
    .option("--api-key-file <file>", "file of keys, one a line")
    .option("--allow-host <name>", "name under which clients may reach the server (repeatable)", several)
    .option("--cors <origin>", "origin whose pages may use the server, * = any (repeatable)", several)
    .option("--tls-cert <file>", "certificate, PEM")
    .option("--tls-key <file>", "its key, PEM")
    .option("--max-answers <n>", `answers made or waiting (default ${defaultConfig.maxAnswers})`, (t) =>
      parseInteger(t, "--max-answers", 1, 100_000),
    )
    .option("--max-body <size>", "largest request (default 4MiB)", (t) => parseBytes(t, "--max-body"))
    .option("--request-timeout <s>", "longest an answer may take (default 0 = for ever)", seconds("--request-timeout"))
    .option("--drain-timeout <s>", "how long answers may go on after SIGTERM (default 30)", seconds("--drain-timeout"))
    .option("--keep-thinking", "what was thought stays in prompts though the template takes it out of old turns")
    .option("--log-requests", "a line per request on stderr")
    .option(...noProbe);
  addModelOptions(command).action((model: string | undefined, flags: ServeFlags) => serve(model, flags));
}

async function serve(model: string | undefined, flags: ServeFlags): Promise<void> {
  const modelPath = modelFile(model);
  const config = configOf(flags);
  // The page shows plans of all models of a folder: better that they rest on what was measured.
  if (flags.models !== undefined) await measureUnknown(modelPath, flags);
  else await probeOnFirstUse(modelPath, flags);
  const log = (line: string): void => {
    tell(line);
  };
  const server = await startServer({
    modelPath,
    config,
    engine: { ...loadOptions(flags), sequences: flags.parallel ?? 4 },
    log,
  });
  const ended = endOnSignal(server, log);
  log(`listening on ${server.url}, loading ${modelPath}`);
  const failed = server.loaded.then(
    () => {
      const { info } = server.context.model;
      log(
        `ready: ${server.context.model.id}, context ${info?.contextTokens} tokens; ` +
          `OpenAI clients use ${server.url}/v1, the page is ${server.url}/`,
      );
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
        process.off("SIGINT", onSignal);
        process.off("SIGTERM", onSignal);
        resolve();
      });
    };
    process.on("SIGINT", onSignal);
    process.on("SIGTERM", onSignal);
  });
}

function configOf(flags: ServeFlags): Partial<ServerConfig> {
  if ((flags.tlsCert === undefined) !== (flags.tlsKey === undefined)) {
    throw new HundredweightError("OPTION_INVALID", "--tls-cert and --tls-key belong together");
  }
  return {
    apiKeys: keysOf(flags, process.env.HUNDREDWEIGHT_API_KEY),
    ...(flags.host !== undefined && { host: flags.host }),
    ...(flags.port !== undefined && { port: flags.port }),
    ...(flags.alias !== undefined && { alias: flags.alias }),
    ...(flags.models !== undefined && { modelsFolder: flags.models }),
    ...(flags.data !== undefined && { dataFolder: flags.data }),
    ...(flags.allowHost !== undefined && { allowHosts: flags.allowHost }),
    ...(flags.cors !== undefined && { corsOrigins: flags.cors }),
    ...(flags.tlsCert !== undefined && {
      tls: { cert: read(flags.tlsCert, "--tls-cert"), key: read(flags.tlsKey!, "--tls-key") },
    }),
    ...(flags.maxAnswers !== undefined && { maxAnswers: flags.maxAnswers }),
    ...(flags.maxBody !== undefined && { maxBodyBytes: flags.maxBody }),
    ...(flags.requestTimeout !== undefined && { answerTimeoutMs: flags.requestTimeout * 1000 }),
    ...(flags.drainTimeout !== undefined && { drainTimeoutMs: flags.drainTimeout * 1000 }),
    ...(flags.keepThinking !== undefined && { keepThinking: flags.keepThinking }),
    ...(flags.logRequests !== undefined && { logRequests: flags.logRequests }),
  };
}

/**
 * Reads the keys. Naming a place of keys means that one is asked for: an empty one is a script's mistake, never an open
 * door.
 * @throws OPTION_INVALID
 */
function keysOf({ apiKey = [], apiKeyFile }: ServeFlags, fromEnv: string | undefined): string[] {
  const keys = apiKey.map((key) => key.trim());
  if (keys.includes("")) throw emptyKey("--api-key is empty");
  if (apiKeyFile !== undefined) {
    const fromFile = read(apiKeyFile, "--api-key-file").split(/\r?\n/);
    const found = fromFile.map((key) => key.trim()).filter((key) => key !== "");
    if (found.length === 0) throw emptyKey(`--api-key-file: ${apiKeyFile} holds no key`);
    keys.push(...found);
  }
  if (fromEnv !== undefined) {
    if (fromEnv.trim() === "") throw emptyKey("HUNDREDWEIGHT_API_KEY is empty");
    keys.push(fromEnv.trim());
  }
  return keys;
}

function emptyKey(what: string): HundredweightError {
  return new HundredweightError("OPTION_INVALID", `${what}; give a key, or leave it out to serve without one`);
}

/** @throws FILE_NOT_FOUND, FILE_NOT_REGULAR, FILE_IO, each naming the option */
function read(path: string, option: string): string {
  try {
    return readTextSync(path);
  } catch (error) {
    const { code, message, details } = asHundredweightError(error);
    throw new HundredweightError(code, `${option}: ${message}`, details, { cause: error });
  }
}
