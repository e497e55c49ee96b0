/**
 * A server under thousands of mixed requests: valid, wrong, aborted, oversized, hostile, unread, no HTTP at all. Says
 * what became of every kind, how fast /health was meanwhile, and what memory the server holds before and after.
 */
import { fork } from "node:child_process";
import { connect } from "node:net";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { exited } from "../support/wait.js";
import * as shapes from "./shapes.js";
import { OtherDialects } from "./soak-dialects.js";
import { halfRequest, hostileText, LeftOpen, slowReader, unreadRequest } from "./soak-hostile.js";
import { anonymousBytes, childrenOf, type MemoryUse } from "./soak-memory.js";

export interface SoakOptions {
  readonly modelPath: string;
  readonly dataFolder: string;
  readonly requests: number;
  /** Before the memory is first looked at. */
  readonly warmup: number;
  readonly concurrency: number;
  /** `played`: no model computes; what the server itself costs. */
  readonly engine: "real" | "played";
  readonly seed: number;
  /**
   * Without a request before the memory is looked at, after the warm-up as at the end. The server collects its garbage
   * 8 and 14 s after a burst; so after 15 s nothing is done for it. When less, it is told to collect twice.
   */
  readonly restMs: number;
}

export interface SoakReport {
  /** Answers of each kind, and how often they came. */
  readonly outcomes: Readonly<Record<string, Readonly<Record<string, number>>>>;
  /** Valid requests that were not answered as they should. */
  readonly faults: readonly string[];
  readonly healthMs: { readonly count: number; readonly p50: number; readonly p99: number; readonly max: number };
  readonly before: MemoryUse;
  readonly after: MemoryUse;
  /** Anonymous memory of the engine's process, weights and KV included; 0 when it is played. */
  readonly engineBefore: number;
  readonly engineAfter: number;
  /** Highest that was seen while requests ran, every quarter of a second; 0 where the system does not say. */
  readonly maxAnonymous: number;
  readonly seconds: number;
  /** 99th percentile of the delay of the server's event loop: what is not the machine's business of others. */
  readonly loopMs: number;
  /** Collections of garbage by the server while requests ran: each holds its loop. Shortest first. */
  readonly pausesMs: readonly number[];
}

type Kind = keyof typeof weights;

const weights = {
  chat: 30,
  stream: 22,
  completion: 10,
  embedding: 6,
  tokenize: 6,
  otherApi: 36,
  otherWrong: 6,
  otherAborted: 5,
  otherRead: 5,
  wrongField: 5,
  brokenJson: 4,
  deep: 2,
  oversized: 2,
  tooLong: 2,
  aborted: 6,
  abortedStream: 4,
  noHttp: 1,
  // 5 % of all.
  hostile: 8,
  slowReader: 4,
  neverReads: 2,
  halfOpen: 3,
};

const ownCollectionsMs = 15_000;

export async function soak(options: SoakOptions): Promise<SoakReport> {
  const child = fork(
    fileURLToPath(new URL("./soak-server.js", import.meta.url)),
    [options.modelPath, options.dataFolder, options.engine],
    { execArgv: ["--expose-gc"], stdio: ["ignore", "inherit", "inherit", "ipc"] },
  );
  let died: string | undefined;
  child.on("exit", (code, signal) => {
    died ??= `the server ended: ${code ?? signal}`;
  });
  const message = <T>(): Promise<T> =>
    new Promise((resolve, reject) => {
      child.once("message", (m) => resolve(m as T));
      child.once("exit", () => reject(new Error(died)));
    });
  const { url } = await message<{ url: string }>();
  const pausesMs: number[] = [];
  const memory = async (): Promise<MemoryUse> => {
    await new Promise((resolve) => setTimeout(resolve, options.restMs));
    for (;;) {
      const answer = message<{ memory: MemoryUse; open: number; pauses: number[] }>();
      child.send(options.restMs < ownCollectionsMs ? "collected memory" : "memory");
      const { memory, open, pauses } = await answer;
      pausesMs.push(...pauses);
      if (open === 0) return memory;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  };
  const engineMemory = (): number => childrenOf(child.pid).reduce((sum, pid) => sum + (anonymousBytes(pid) ?? 0), 0);
  const run = new Run(url, options);
  try {
    await run.many(options.warmup);
    const before = await memory();
    pausesMs.length = 0;
    const engineBefore = engineMemory();
    const probe = new Worker(healthProbe, { eval: true, workerData: url });
    await loopDelay(url);
    const began = performance.now();
    let maxAnonymous = 0;
    const looking = setInterval(() => {
      maxAnonymous = Math.max(maxAnonymous, anonymousBytes(child.pid) ?? 0);
    }, 250);
    await run.many(options.requests);
    clearInterval(looking);
    const seconds = (performance.now() - began) / 1000;
    const loopMs = await loopDelay(url);
    const times = await new Promise<number[]>((resolve, reject) => {
      probe.once("message", resolve);
      probe.once("error", reject);
      probe.postMessage("end");
    });
    const after = await memory();
    const engineAfter = engineMemory();
    if (died !== undefined) throw new Error(died);
    const at = (share: number): number => times[Math.min(times.length - 1, Math.floor(share * times.length))]!;
    const healthMs = { count: times.length, p50: at(0.5), p99: at(0.99), max: times.at(-1)! };
    const { outcomes, faults } = run;
    pausesMs.sort((a, b) => a - b);
    const memories = { before, after, engineBefore, engineAfter, maxAnonymous };
    return { outcomes, faults, healthMs, ...memories, seconds, loopMs, pausesMs };
  } finally {
    if (died === undefined) {
      child.send("stop");
      await exited(child);
    }
  }
}

/** @returns the status, and of a failure what it says */
function outcomeOf({ status }: Response, body: unknown): string {
  if (status === 200) return "200";
  return `${status} ${JSON.stringify((body as { readonly error?: unknown }).error ?? body).slice(0, 200)}`;
}

/** Since it was asked last. */
async function loopDelay(url: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  return 1000 * Number(/^hundredweight_event_loop_delay_p99_seconds (\S+)$/m.exec(text)?.[1]);
}

/** A thread of its own: the requests of this process must not delay its clock. */
const healthProbe = `
const { parentPort, workerData } = require("node:worker_threads");
const { Agent, get } = require("node:http");
const agent = new Agent({ keepAlive: true, maxSockets: 1 });
const times = [];
let ending = false;
const round = (began = performance.now()) => {
  if (ending) { agent.destroy(); parentPort.postMessage(times.sort((a, b) => a - b)); return; }
  const request = get(workerData + "/health", { agent }, (answer) => {
    answer.resume();
    answer.on("end", () => { times.push(performance.now() - began); setTimeout(() => round(), 10); });
  });
  request.on("error", (error) => {
    // A connection that was kept for longer than the server keeps one is asked for again, on the same clock.
    if (request.reusedSocket && error.code === "ECONNRESET") return round(began);
    throw error;
  });
};
parentPort.once("message", () => { ending = true; });
round();
`;

class Run {
  readonly outcomes: Record<string, Record<string, number>> = {};
  readonly faults: string[] = [];
  private readonly url: string;
  private readonly options: SoakOptions;
  private state: number;
  private readonly unread = new LeftOpen(16);
  private readonly silent = new LeftOpen(64);
  private readonly others: OtherDialects;

  constructor(url: string, options: SoakOptions) {
    this.url = url;
    this.options = options;
    this.state = options.seed;
    this.others = new OtherDialects(
      (path, body, signal) => this.post(path, body, signal),
      (below) => this.random(below),
    );
  }

  async many(count: number): Promise<void> {
    let left = count;
    const worker = async (): Promise<void> => {
      while (left-- > 0) await this.one();
    };
    await Promise.all(Array.from({ length: this.options.concurrency }, worker));
    this.unread.end();
    this.silent.end();
  }

  private random(below: number): number {
    this.state = (Math.imul(this.state, 1664525) + 1013904223) >>> 0;
    return Math.floor((this.state / 2 ** 32) * below);
  }

  private draw(): Kind {
    const total = Object.values(weights).reduce((sum, w) => sum + w, 0);
    let at = this.random(total);
    for (const [kind, weight] of Object.entries(weights)) {
      at -= weight;
      if (at < 0) return kind as Kind;
    }
    return "chat";
  }

  private async one(): Promise<void> {
    const kind = this.draw();
    let outcome: string;
    try {
      outcome = await this[kind]();
    } catch (error) {
      const { name, message, cause } = error as Error & { cause?: { code?: string } };
      outcome = `${name}: ${cause?.code ?? message.slice(0, 200)}`;
    }
    this.outcomes[kind] ??= {};
    const counts = this.outcomes[kind];
    counts[outcome] = (counts[outcome] ?? 0) + 1;
    const wanted: Partial<Record<Kind, string>> = {
      chat: "200",
      stream: "200",
      completion: "200",
      embedding: "200",
      tokenize: "200",
      otherApi: "200",
      otherWrong: "400",
      otherRead: "answered",
      wrongField: "400",
      brokenJson: "400",
      deep: "400",
      tooLong: "400",
      hostile: "answered",
      slowReader: "200",
      neverReads: "left",
    };
    if (wanted[kind] !== undefined && outcome !== wanted[kind]) this.faults.push(`${kind}: ${outcome}`);
  }

  private post(path: string, body: unknown, signal?: AbortSignal): Promise<Response> {
    return fetch(this.url + path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: typeof body === "string" || body instanceof Uint8Array ? (body as string) : JSON.stringify(body),
      ...(signal !== undefined && { signal }),
    });
  }

  private text(): string {
    const words = [..."king queen cubits and said the lord of hosts".split(" "), "\u00e9t\u00e9", "\u{1f600}"];
    return Array.from({ length: 1 + this.random(40) }, () => words[this.random(words.length)]).join(" ");
  }

  private conversation(stream: boolean): object {
    return {
      messages: [{ role: "user", content: this.text() }],
      max_tokens: 1 + this.random(8),
      seed: this.random(1000),
      stream,
      ...(this.random(4) === 0 && { logprobs: true, top_logprobs: this.random(5) }),
      ...(this.random(6) === 0 && { n: 2 }),
      ...(this.random(4) === 0 && { stop: ["zzz", "and"] }),
    };
  }

  private async chat(): Promise<string> {
    const answer = await this.post("/v1/chat/completions", this.conversation(false));
    const body = await answer.json();
    if (answer.status === 200) shapes.chatCompletion.parse(body);
    return outcomeOf(answer, body);
  }

  private async stream(): Promise<string> {
    const answer = await this.post("/v1/chat/completions", this.conversation(true));
    const given = await answer.text();
    if (answer.status !== 200) return outcomeOf(answer, JSON.parse(given));
    const events = given.split("\n\n").filter((event) => event.startsWith("data: "));
    if (events.pop() !== "data: [DONE]") return "no end";
    const finishes = events.flatMap((event) => {
      const chunk = shapes.chatChunk.parse(JSON.parse(event.slice(6)));
      return chunk.choices.flatMap((choice) => choice.finish_reason ?? []);
    });
    return finishes.length > 0 ? "200" : "no finish reason";
  }

  private async completion(): Promise<string> {
    const prompt = this.random(2) === 0 ? "In the beginning" : [this.random(2000), this.random(2000)];
    const scored = this.random(3) === 0 ? { echo: true, logprobs: 1 } : {};
    const answer = await this.post("/v1/completions", { prompt, max_tokens: this.random(6), ...scored });
    const body = await answer.json();
    if (answer.status === 200) shapes.completion.parse(body);
    return outcomeOf(answer, body);
  }

  private async embedding(): Promise<string> {
    const input = Array.from({ length: 1 + this.random(4) }, (_, i) => `the king ${i}`);
    const answer = await this.post("/v1/embeddings", { input });
    const body = await answer.json();
    if (answer.status === 200 && (body as { data?: unknown[] }).data?.length !== input.length) return "too few vectors";
    return outcomeOf(answer, body);
  }

  private async tokenize(): Promise<string> {
    const content = "and it came to pass ".repeat(1 + this.random(50));
    const tokens = (await (await this.post("/tokenize", { content })).json()) as { tokens: number[] };
    const answer = await this.post("/detokenize", { tokens: tokens.tokens });
    return ((await answer.json()) as { content: string }).content === content ? String(answer.status) : "another text";
  }

  private otherApi(): Promise<string> {
    return this.others.valid(this.text());
  }

  private otherWrong(): Promise<string> {
    return this.others.wrong();
  }

  private otherAborted(): Promise<string> {
    return this.others.aborted(this.text());
  }

  private otherRead(): Promise<string> {
    return this.others.read((path) => fetch(this.url + path));
  }

  private async wrongField(): Promise<string> {
    const wrong = [
      { messages: [] },
      { messages: "no" },
      { temperature: "hot" },
      { n: -1 },
      { tools: [{}] },
      { stop: [[]] },
    ];
    const body = { ...this.conversation(false), ...wrong[this.random(wrong.length)] };
    return this.status(this.post("/v1/chat/completions", body));
  }

  private brokenJson(): Promise<string> {
    const broken: (string | Uint8Array)[] = [
      "",
      "{",
      "[1]",
      "nul",
      '{"a":1}}',
      new Uint8Array([123, 34, 255, 34, 58, 49, 125]),
    ];
    return this.status(this.post("/v1/chat/completions", broken[this.random(broken.length)]));
  }

  private deep(): Promise<string> {
    const depth = 100 + this.random(100_000);
    return this.status(this.post("/v1/chat/completions", `{"messages":${"[".repeat(depth)}${"]".repeat(depth)}}`));
  }

  private async oversized(): Promise<string> {
    return this.status(this.post("/v1/chat/completions", { messages: "x".repeat(2 ** 20 + this.random(2 ** 20)) }));
  }

  private tooLong(): Promise<string> {
    return this.status(this.post("/v1/completions", { prompt: "word ".repeat(4000) }));
  }

  private async aborted(): Promise<string> {
    const controller = new AbortController();
    setTimeout(() => controller.abort(), this.random(30));
    const body = { ...this.conversation(false), max_tokens: 400, ignore_eos: true };
    const answer = await this.post("/v1/chat/completions", body, controller.signal);
    await answer.text();
    return String(answer.status);
  }

  private async abortedStream(): Promise<string> {
    const controller = new AbortController();
    const body = { ...this.conversation(true), max_tokens: 400, ignore_eos: true };
    const answer = await this.post("/v1/chat/completions", body, controller.signal);
    const reader = answer.body!.getReader();
    for (let reads = this.random(4); reads > 0; reads--) await reader.read();
    controller.abort();
    return "left";
  }

  private hostile(): Promise<string> {
    return hostileText(
      (path, body) => this.post(path, body),
      (below) => this.random(below),
    );
  }

  private slowReader(): Promise<string> {
    return slowReader((path, body) => this.post(path, body));
  }

  private neverReads(): Promise<string> {
    return this.unread.open(this.url, unreadRequest());
  }

  private halfOpen(): Promise<string> {
    return this.silent.open(this.url, halfRequest());
  }

  private noHttp(): Promise<string> {
    const { hostname, port } = new URL(this.url);
    return new Promise((resolve) => {
      const socket = connect(Number(port), hostname, () => {
        const bytes = Uint8Array.from({ length: 1 + this.random(400) }, () => this.random(256));
        socket.end(bytes);
      });
      socket.on("data", () => {});
      socket.on("error", () => {});
      socket.on("close", () => resolve("closed"));
      setTimeout(() => socket.destroy(), 2000).unref();
    });
  }

  private async status(request: Promise<Response>): Promise<string> {
    const answer = await request;
    if (answer.status >= 400) shapes.failure.parse(await answer.json());
    else await answer.text();
    return String(answer.status);
  }
}
