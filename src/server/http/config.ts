/**
 * The configuration of a server: addresses, keys, limits, patience. Times in milliseconds, sizes in bytes; 0 = no limit
 * where said.
 */
import { maxContainers, maxDepth } from "../../batch/request.js";
import type { SamplingSettings } from "../../sampling/settings.js";
import { usualUntaken } from "./untaken.js";

/** Settings of requests that say nothing of them. */
export interface RequestDefaults {
  /** In place of the file's recommendations. */
  readonly sampling: Partial<SamplingSettings>;
  /** -1 = until the context is full. Default: each route's own. */
  readonly maxTokens?: number;
  /** In place of the file's. */
  readonly chatTemplate?: string;
  /** Variables of the chat template. */
  readonly variables: Readonly<Record<string, unknown>>;
  readonly reasoningFormat?: "auto" | "deepseek" | "none";
  /** Most tokens of thinking; -1 = no limit. */
  readonly reasoningBudget?: number;
  readonly pooling?: "none" | "mean" | "cls" | "last";
  /** The norm of vectors that becomes 1. */
  readonly normalize?: number;
}

export interface ServerConfig {
  readonly host: string;
  /** 0 = any free one. */
  readonly port: number;
  /** Any of these opens every route; none = no key is asked for. */
  readonly apiKeys: readonly string[];
  /** Names accepted in the Host header beside localhost and literal addresses. */
  readonly allowHosts: readonly string[];
  /**
   * Origins (`https://example.org`, `localhost`, or `*`) whose pages may use the server. None = pages of the server
   * itself only.
   */
  readonly corsOrigins: readonly string[];
  readonly tls: { readonly cert: string; readonly key: string } | undefined;
  /** Name of the model in answers; default: the file's name. */
  readonly alias: string | undefined;
  /** All its names, and words about it, for the list of models. */
  readonly aliases: readonly string[];
  readonly tags: readonly string[];
  /** Folder whose models may be switched to. */
  readonly modelsFolder: string | undefined;
  /** All models of this computer may be switched to. */
  readonly computerModels: boolean;
  /** The name of the model that is served first, where its file's name tells nothing. */
  readonly modelName: { readonly path: string; readonly name: string } | undefined;
  /** Folder of what the page keeps. */
  readonly dataFolder: string | undefined;
  /** Keeps what was thought in prompts though the template takes it out when a user speaks next. */
  readonly keepThinking: boolean;

  readonly maxBodyBytes: number;
  /** One file that a client leaves, and all of them with what batches write. */
  readonly maxFileBytes: number;
  readonly maxStoredBytes: number;
  /** Large bodies that arrive or whose text waits, together; one alone may be larger. */
  readonly maxIntakeBytes: number;
  /** Objects and lists inside one another in a body. */
  readonly maxDepth: number;
  /** Objects and lists in a body. */
  readonly maxContainers: number;
  /** Answers being made or waiting; one more is refused with 429. */
  readonly maxAnswers: number;
  /** Answers one request may ask for: prompts x n. */
  readonly maxChoices: number;
  readonly maxConnections: number;
  /** Answers made and not taken yet, together. */
  readonly maxUntakenBytes: number;

  /** Until a request's headers, and all of it, must have come. */
  readonly headersTimeoutMs: number;
  readonly receiveTimeoutMs: number;
  /** Longest silence towards a waiting client. */
  readonly keepAliveMs: number;
  /** Longest an answer may take, from its arrival; 0 = for ever. */
  readonly answerTimeoutMs: number;
  /** Longest a client may leave its answer unread. */
  readonly stallTimeoutMs: number;
  /** How long running answers may go on after SIGTERM. */
  readonly drainTimeoutMs: number;
  /** Longest a template may render, or a text be tokenized. */
  readonly textTimeoutMs: number;
  /** A line per request on stderr; never what was asked or answered. */
  readonly logRequests: boolean;
  /** Whether `/slots` tells what is being answered. */
  readonly slots: boolean;
  /** Whether the page is served. */
  readonly page: boolean;
  /** Tokens before and behind the gap that `/infill` reads. */
  readonly infillTokens: number;
  /** `/infill` gives the model what follows the gap first. */
  readonly spmInfill: boolean;
  /** Every answer holds what was made of its request, as `verbose` in a request asks for. */
  readonly verboseAnswers: boolean;
  readonly answers: RequestDefaults;
}

export const defaultConfig: ServerConfig = {
  host: "127.0.0.1",
  port: 8471,
  apiKeys: [],
  allowHosts: [],
  corsOrigins: [],
  tls: undefined,
  alias: undefined,
  aliases: [],
  tags: [],
  modelsFolder: undefined,
  computerModels: false,
  modelName: undefined,
  dataFolder: undefined,
  keepThinking: false,
  maxBodyBytes: 4 * 2 ** 20,
  maxFileBytes: 200 * 2 ** 20,
  maxStoredBytes: 2 * 2 ** 30,
  maxIntakeBytes: 12 * 2 ** 20,
  maxDepth,
  maxContainers,
  maxAnswers: 64,
  maxChoices: 32,
  maxConnections: 1024,
  maxUntakenBytes: usualUntaken.mostBytes,
  headersTimeoutMs: 10_000,
  receiveTimeoutMs: 60_000,
  keepAliveMs: 10_000,
  answerTimeoutMs: 0,
  stallTimeoutMs: 600_000,
  drainTimeoutMs: 30_000,
  textTimeoutMs: 10_000,
  logRequests: false,
  slots: true,
  page: true,
  infillTokens: 2048,
  spmInfill: false,
  verboseAnswers: false,
  answers: { sampling: {}, variables: {} },
};
