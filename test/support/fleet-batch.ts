/** A batch in memory, and engines that only wait, crash or recite: a fleet without models. */
import { setTimeout as sleep } from "node:timers/promises";
import { type BatchInput, OpenBatch } from "../../src/batch/job-queue.js";
import type { LineAnswer } from "../../src/batch/line-answer.js";
import type { Line } from "../../src/batch/lines.js";
import type { BatchRequest } from "../../src/batch/request.js";
import { readAll, type Survey } from "../../src/batch/survey.js";
import type { LineEngine } from "../../src/fleet/bundle-worker.js";
import { parseQueueUrl } from "../../src/fleet/queue-url.js";
import { connectQueue, type QueueConnection } from "../../src/fleet/redis.js";
import { FleetQueue } from "../../src/fleet/submit.js";
import type { ModelMark } from "../../src/fleet/wire.js";
import { FleetWorker, type FleetWorkerOptions } from "../../src/fleet/work.js";

export const testMark: ModelMark = {
  model: "test",
  files: "f00",
  adapters: "none",
  kv: "f16",
  full: "stop",
  version: "0",
};

export const textLine = (id: string, prompt: string, maxTokens = 10): string =>
  JSON.stringify({
    custom_id: id,
    method: "POST",
    url: "/v1/completions",
    body: { prompt, max_tokens: maxTokens },
  });

/** An input that lies in memory. */
export function inputOf(lines: readonly string[]): BatchInput {
  let end = 0;
  const held = lines.map((text, i): Line => {
    const bytes = Buffer.from(text);
    const start = end;
    end += bytes.length + 1;
    return { number: i + 1, bytes, start, end, ended: true };
  });
  return {
    name: "test",
    async *lines() {
      yield* held;
    },
    lineAt: (number) => held[number - 1]!,
    close: () => {},
  };
}

export interface TestBatch {
  readonly batch: OpenBatch;
  readonly survey: Survey;
  /** Lines of the output. */
  readonly written: string[];
}

export async function testBatch(
  lines: readonly string[],
  signal: AbortSignal = new AbortController().signal,
): Promise<TestBatch> {
  const input = inputOf(lines);
  const survey = await readAll(input, 1024, signal);
  const written: string[] = [];
  const answers = { append: (line: Buffer) => void written.push(line.toString()), flush: done, close: done };
  const { index } = survey;
  const batch = new OpenBatch({
    ...{ input, index, answers, signal, isOurs: () => true },
    ...{ left: index.lines, reproducible: false },
  });
  return { batch, survey, written };
}

const done = (): Promise<void> => Promise.resolve();

const connections: QueueConnection[] = [];

/** A test that fails leaves some. */
export const closeConnections = (): void => {
  for (const connection of connections) connection.close();
};

async function connected(url: string, note: (text: string) => void): Promise<QueueConnection> {
  const connection = await connectQueue(parseQueueUrl(url), { note });
  connections.push(connection);
  return connection;
}

export interface TestFleet {
  readonly connection: QueueConnection;
  readonly queue: FleetQueue;
  readonly notes: string[];
}

export async function submitTo(
  url: string,
  { survey }: TestBatch,
  more: {
    readonly id?: string;
    readonly priority?: number;
    readonly cancel?: boolean;
    readonly mark?: ModelMark;
    readonly windowBytes?: number;
  } = {},
): Promise<TestFleet> {
  const notes: string[] = [];
  const note = (text: string): void => void notes.push(text);
  const connection = await connected(url, note);
  const { id = `test${Math.random()}`, priority = 5, mark = testMark, cancel = false, windowBytes } = more;
  const queue = new FleetQueue({
    connection,
    run: { id, mark, contextTokens: 64, typicalTokens: 16, longestTokens: 32, priority, host: "submitter" },
    settings: { seed: 0, maxTokens: 10 },
    cut: survey.cut,
    note,
    cancel,
    ...(windowBytes !== undefined && { windowBytes }),
  });
  return { connection, queue, notes };
}

/** Says what it was asked, after a while. */
export class WaitingEngine implements LineEngine {
  tokens = 0;
  readonly lanes: number;
  readonly #msPerToken: number;
  readonly #before: (request: BatchRequest) => void;
  #free: number;
  readonly #waiting: (() => void)[] = [];

  /** @param before may throw: the engine ends then */
  constructor(lanes: number, msPerToken: number, before: (request: BatchRequest) => void = () => {}) {
    this.lanes = lanes;
    this.#free = lanes;
    this.#msPerToken = msPerToken;
    this.#before = before;
  }

  async answer(request: BatchRequest, _defaults: unknown, signal: AbortSignal): Promise<LineAnswer> {
    if (this.#free === 0) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#free--;
    try {
      this.#before(request);
      const tokens = Number(request.body.max_tokens);
      await sleep(tokens * this.#msPerToken, undefined, { signal });
      this.tokens += tokens;
      const body = { choices: [{ text: request.body.prompt }], usage: { prompt_tokens: 1, completion_tokens: tokens } };
      return { response: { status_code: 200, request_id: "r", body }, error: null };
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free++;
      else next();
    }
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

export interface TestWorker {
  readonly notes: string[];
  /** The result of `work`, or its error. */
  readonly ended: Promise<unknown>;
  stop(): void;
}

export async function workerOn(
  url: string,
  open: () => LineEngine,
  more: Partial<FleetWorkerOptions> = {},
): Promise<TestWorker> {
  const notes: string[] = [];
  const note = (text: string): void => void notes.push(text);
  const connection = await connected(url, note);
  const [stopping, ending] = [new AbortController(), new AbortController()];
  const worker = new FleetWorker({
    ...{ connection, mark: testMark, open: async () => open(), leaseMs: 3000, drainMs: 1000, note },
    ...more,
  });
  const ended = worker
    .work(stopping.signal, ending.signal)
    .catch((error: unknown) => error)
    .finally(() => connection.close());
  return { notes, ended, stop: () => stopping.abort() };
}
