/** Options of `serve` and what they become in the server's configuration. */
import type { Command } from "commander";
import { asHundredweightError, HundredweightError } from "../../errors.js";
import { readTextSync } from "../../regular-file.js";
import type { NumericSetting, SamplerName } from "../../sampling/settings.js";
import { defaultConfig, type ServerConfig } from "../../server/index.js";
import { llamaTemplate } from "./llama-templates.js";
import { addModelOptions, type ModelFlags } from "./model-options.js";
import { parseBytes, parseChoice, parseInteger, parseNumber } from "./options.js";
import { noPrefixStore, type PastFlags } from "./past-options.js";
import { noProbe } from "./probe-first.js";
import { addSamplingDefaults, samplingDefaults } from "./sampling-options.js";
import { addWhenFullOptions } from "./when-full-option.js";

export interface ServeFlags extends ModelFlags, PastFlags, Partial<Record<NumericSetting, number>> {
  host?: string;
  port?: number;
  alias?: string;
  tags?: string;
  parallel?: number;
  kvTokens?: number;
  models?: string | true;
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
  slots?: boolean;
  page?: boolean;
  maxTokens?: number;
  infillTokens?: number;
  spmInfill?: boolean;
  chatTemplate?: string;
  chatTemplateFile?: string;
  chatTemplateKwargs?: Readonly<Record<string, unknown>>;
  reasoning?: "on" | "off" | "auto";
  reasoningEffort?: string;
  reasoningFormat?: "auto" | "deepseek" | "none";
  reasoningBudget?: number;
  pooling?: "none" | "mean" | "cls" | "last" | "rank";
  embdNormalize?: number;
  verboseAnswers?: boolean;
  samplers?: SamplerName[];
}

const most = 2 ** 31 - 1;
const several = (text: string, all: string[] = []): string[] => [...all, text];
const seconds = (name: string) => (text: string) => parseNumber(text, name, 0, 1e6);

export function addServeOptions(command: Command): Command {
  command
    .option("--host <address>", `address to listen on (default ${defaultConfig.host}; others need --api-key)`)
    .option("--port <n>", `port (default ${defaultConfig.port}, 0 = any free one)`, (t) =>
      parseInteger(t, "--port", 0, 65535),
    )
    .option("--parallel <n>", "answers made at the same time (default 4)", (t) =>
      parseInteger(t, "--parallel", 1, 1024),
    )
    .option("--kv-tokens <n>", "tokens that all answers hold together (default: what the plan finds)", (t) =>
      parseInteger(t, "--kv-tokens", 1, 2 ** 30),
    )
    .option("--alias <names>", "name of the model in answers, or several with commas (default: its file)")
    .option("--tags <words>", "what the list of models says of it, with commas")
    .option("--models [folder]", "models that can be switched to: of a folder, without one all on this computer")
    .option("--data <folder>", "where the page keeps conversations")
    .option("--api-key <key>", "key that clients must send (repeatable; or env HUNDREDWEIGHT_API_KEY)", several)
    .option("--api-key-file <file>", "file of keys, one a line")
    .option("--allow-host <name>", "name under which clients may reach the server (repeatable)", several)
    .option(
      "--cors <origin>",
      "origin whose pages may use the server; localhost = any of this machine, * = any (repeatable)",
      several,
    )
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
    .option("--no-slots", "do not tell at /slots what is being answered")
    .option("--no-page", "do not serve the page")
    .option(...noPrefixStore)
    .option(...noProbe);
  addAnswerOptions(command);
  addSamplingDefaults(command);
  return addModelOptions(addWhenFullOptions(command)).addHelpText(
    "after",
    "\nThe names of llama-server's options work as well (-m -c -np -ngl -fa ...): see docs/clients.md.",
  );
}

/** Adds what holds for requests that say nothing of it. */
function addAnswerOptions(command: Command): void {
  command
    .option("-n, --max-tokens <n>", "most tokens of an answer, where a request does not say (-1 = no limit)", (t) =>
      parseInteger(t, "--max-tokens", -1, most),
    )
    .option("--infill-tokens <n>", `tokens /infill reads around the gap (default ${defaultConfig.infillTokens})`, (t) =>
      parseInteger(t, "--infill-tokens", 4, 2 ** 27),
    )
    .option("--spm-infill", "/infill gives the model what follows the gap before what precedes it")
    .option("--chat-template <text>", "a chat template in place of the file's: Jinja, or chatml, llama3, ...")
    .option("--chat-template-file <file>", "... the template in this file")
    .option("--chat-template-kwargs <json>", "variables of the template, where a request gives none", jsonObject)
    .option("--reasoning <mode>", "whether templates are asked for thinking: on, off, auto (default)", (t) =>
      parseChoice(t, "--reasoning", ["on", "off", "auto"]),
    )
    .option("--reasoning-effort <level>", "the level templates are asked for, where a request says none")
    .option("--reasoning-format <name>", "auto, deepseek (thinking in its own field), none (in the content)", (t) =>
      parseChoice(t, "--reasoning-format", ["auto", "deepseek", "none"]),
    )
    .option("--reasoning-budget <n>", "most tokens of thinking, where a request does not say (-1 = no limit)", (t) =>
      parseInteger(t, "--reasoning-budget", -1, most),
    )
    .option("--pooling <kind>", "how tokens become one vector: none, mean, cls, last, rank", (t) =>
      parseChoice(t, "--pooling", ["none", "mean", "cls", "last", "rank"]),
    )
    .option("--embd-normalize <p>", "norm of vectors, where a request does not say (default 2, -1 = none)", (t) =>
      parseNumber(t, "--embd-normalize", -1, 1000),
    )
    .option("--verbose-answers", "answers hold what was made of their request, as llama-server's --verbose does");
}

export function configOf(flags: ServeFlags): Partial<ServerConfig> {
  if ((flags.tlsCert === undefined) !== (flags.tlsKey === undefined)) {
    throw new HundredweightError("OPTION_INVALID", "--tls-cert and --tls-key belong together");
  }
  return {
    apiKeys: keysOf(flags, process.env.HUNDREDWEIGHT_API_KEY),
    ...(flags.host !== undefined && { host: flags.host }),
    ...(flags.port !== undefined && { port: flags.port }),
    ...(flags.alias !== undefined && aliasesOf(flags.alias)),
    ...(flags.tags !== undefined && { tags: words(flags.tags) }),
    ...(flags.models === true && { computerModels: true }),
    ...(typeof flags.models === "string" && { modelsFolder: flags.models }),
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
    ...(flags.slots === false && { slots: false }),
    ...(flags.page === false && { page: false }),
    ...(flags.infillTokens !== undefined && { infillTokens: flags.infillTokens }),
    ...(flags.spmInfill !== undefined && { spmInfill: flags.spmInfill }),
    ...(flags.verboseAnswers !== undefined && { verboseAnswers: flags.verboseAnswers }),
    answers: answersOf(flags),
  };
}

/** @throws OPTION_INVALID for two templates, or a name that is none */
function answersOf(flags: ServeFlags): ServerConfig["answers"] {
  if (flags.chatTemplate !== undefined && flags.chatTemplateFile !== undefined) {
    throw new HundredweightError("OPTION_INVALID", "--chat-template, --chat-template-file: one of them");
  }
  const chatTemplate =
    flags.chatTemplateFile === undefined
      ? flags.chatTemplate && llamaTemplate(flags.chatTemplate)
      : read(flags.chatTemplateFile, "--chat-template-file");
  const { reasoning } = flags;
  const variables = {
    ...(reasoning !== undefined && reasoning !== "auto" && { enable_thinking: reasoning === "on" }),
    ...(flags.reasoningEffort !== undefined && { reasoning_effort: flags.reasoningEffort }),
    ...flags.chatTemplateKwargs,
  };
  const { pooling } = flags;
  return {
    sampling: samplingDefaults(flags),
    variables,
    ...(flags.maxTokens !== undefined && { maxTokens: flags.maxTokens }),
    ...(chatTemplate !== undefined && { chatTemplate }),
    ...(flags.reasoningFormat !== undefined && { reasoningFormat: flags.reasoningFormat }),
    ...(flags.reasoningBudget !== undefined && { reasoningBudget: flags.reasoningBudget }),
    ...(pooling !== undefined && pooling !== "rank" && { pooling }),
    ...(flags.embdNormalize !== undefined && { normalize: flags.embdNormalize }),
  };
}

function words(text: string): string[] {
  const found = text.split(",").map((word) => word.trim());
  return [...new Set(found.filter((word) => word !== ""))].sort();
}

/** Takes the first of several names by the alphabet, as llama-server does. */
function aliasesOf(text: string): Partial<ServerConfig> {
  const aliases = words(text);
  const [alias] = aliases;
  if (alias === undefined) throw new HundredweightError("OPTION_INVALID", "--alias: an empty name");
  return { alias, aliases };
}

function jsonObject(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch {}
  throw new HundredweightError("OPTION_INVALID", `--chat-template-kwargs: '${text.slice(0, 100)}' is no JSON object`);
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
