/**
 * The server's side of the text worker. Templates are programs from a stranger's file and may never end, so each request
 * has a deadline: a worker that misses it is terminated and started again, and only that request fails. One request is
 * with the worker at a time, so the clock of a request measures nothing but itself.
 */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { fromWire } from "../../engine/wire.js";
import { HundredweightError } from "../../errors.js";
import { HttpError } from "../http-error.js";
import type { FromText, TextInfo, TextRequest, TextResults, ToText } from "./protocol.js";

export interface TextService {
  readonly info: TextInfo;
  /** Times the worker had to be started again. */
  readonly restarts: number;
  /** @throws TEMPLATE_*, OPTION_INVALID; HttpError 500 `text_timeout` */
  perform<Q extends TextRequest>(request: Q): Promise<TextResults[Q["kind"]]>;
  close(): Promise<void>;
}

/** Reading a large vocabulary from a slow disk. */
const openTimeoutMs = 120_000;
/** A template can make strings without end; the worker dies of that, not the server. */
const heapMb = 256;
/** Three of them are held; more would only make collections rarer. */
const youngMb = 4;
const mostWaiting = 1024;
/** Characters of texts that wait: they are held by this process. */
const mostWaitingLength = 32 * 2 ** 20;

interface Item {
  readonly message: ToText;
  readonly timeoutMs: number;
  readonly resolve: (message: FromText) => void;
  readonly reject: (error: Error) => void;
}

export async function openTextService(path: string, timeoutMs: number): Promise<TextService> {
  const client = new TextClient(path, timeoutMs);
  try {
    await client.open();
    return client;
  } catch (error) {
    await client.close();
    throw error;
  }
}

class TextClient implements TextService {
  private readonly path: string;
  private readonly timeoutMs: number;
  private readonly queue: Item[] = [];
  private worker: Worker | undefined;
  private current: { readonly item: Item; readonly timer: NodeJS.Timeout } | undefined;
  private opened: TextInfo | undefined;
  private starts = 0;
  private waitingLength = 0;
  private closed = false;

  constructor(path: string, timeoutMs: number) {
    this.path = path;
    this.timeoutMs = timeoutMs;
  }

  get info(): TextInfo {
    return this.opened!;
  }

  get restarts(): number {
    return Math.max(0, this.starts - 1);
  }

  async open(): Promise<void> {
    const message = await this.enqueue({ type: "open", path: this.path }, openTimeoutMs, true);
    if (message.type === "opened") this.opened = message.info;
  }

  async perform<Q extends TextRequest>(request: Q): Promise<TextResults[Q["kind"]]> {
    const length = lengthOf(request);
    if (
      this.queue.length >= mostWaiting ||
      (this.waitingLength > 0 && this.waitingLength + length > mostWaitingLength)
    ) {
      throw new HttpError(429, "too many texts wait to be tokenized", {
        type: "rate_limit_error",
        code: "queue_full",
        headers: { "retry-after": "5" },
      });
    }
    this.waitingLength += length;
    try {
      const message = await this.enqueue({ type: "do", request }, this.timeoutMs);
      return (message as Extract<FromText, { type: "done" }>).result as TextResults[Q["kind"]];
    } finally {
      this.waitingLength -= length;
    }
  }

  async close(): Promise<void> {
    this.closed = true;
    const error = new HundredweightError("ENGINE_CLOSED", "the model is closed");
    this.settle(error);
    for (const item of this.queue.splice(0)) item.reject(error);
    await this.worker?.terminate();
    this.worker = undefined;
  }

  private enqueue(message: ToText, timeoutMs: number, first = false): Promise<FromText> {
    return new Promise((resolve, reject) => {
      if (this.closed) {
        reject(new HundredweightError("ENGINE_CLOSED", "the model is closed"));
        return;
      }
      const item = { message, timeoutMs, resolve, reject };
      if (first) this.queue.unshift(item);
      else this.queue.push(item);
      this.next();
    });
  }

  private next(): void {
    if (this.current !== undefined || this.closed || this.queue.length === 0) return;
    if (this.worker === undefined) this.start();
    const item = this.queue.shift()!;
    const timer = setTimeout(() => this.giveUp(item), item.timeoutMs);
    timer.unref();
    this.current = { item, timer };
    this.worker!.ref();
    this.worker!.postMessage(item.message);
  }

  private start(): void {
    const worker = spawn();
    this.worker = worker;
    const reopens = this.starts++ > 0;
    worker.on("message", (message: FromText) => {
      if (this.worker !== worker) return;
      this.settle(message.type === "failed" ? fromWire(message.error) : message);
      this.next();
    });
    const died = (why: string): void => {
      if (this.worker !== worker) return;
      this.worker = undefined;
      this.settle(new HttpError(500, `the text worker ended: ${why}`, { code: "text_worker_ended" }));
      this.next();
    };
    worker.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "ERR_WORKER_OUT_OF_MEMORY" || this.worker !== worker) return died(error.message);
      const message = `${whose(this.current?.item)} of the model needed more than ${heapMb} MB for this request`;
      this.worker = undefined;
      this.settle(new HttpError(500, message, { code: "text_memory" }));
      this.next();
    });
    worker.on("exit", (code) => died(`code ${code}`));
    if (reopens) {
      const refuse = (error: Error): void => {
        // The file is gone or changed: nothing that waits can be answered.
        for (const item of this.queue.splice(0)) item.reject(error);
      };
      const message: ToText = { type: "open", path: this.path };
      this.queue.unshift({ message, timeoutMs: openTimeoutMs, resolve: () => {}, reject: refuse });
    }
  }

  private giveUp(item: Item): void {
    if (this.current?.item !== item) return;
    const worker = this.worker;
    this.worker = undefined;
    void worker?.terminate();
    const message = `${whose(item)} of the model did not end within ${item.timeoutMs / 1000} s`;
    this.settle(new HttpError(500, message, { code: "text_timeout" }));
    this.next();
  }

  private settle(outcome: FromText | Error): void {
    const { current } = this;
    if (current === undefined) return;
    this.current = undefined;
    clearTimeout(current.timer);
    this.worker?.unref();
    if (outcome instanceof Error) current.item.reject(outcome);
    else current.item.resolve(outcome);
  }
}

function whose(item: Item | undefined): string {
  const what = item?.message.type === "do" ? item.message.request.kind : "open";
  return what === "encodeChat" || what === "render" ? "the chat template" : "the tokenizer";
}

function lengthOf(request: TextRequest): number {
  if ("text" in request) return request.text.length;
  if ("tokens" in request) return request.tokens.length;
  let length = 0;
  for (const { content } of request.chat.messages) {
    if (typeof content === "string") length += content.length;
    else for (const part of content ?? []) length += part.text?.length ?? 0;
  }
  return length;
}

function spawn(): Worker {
  const limits = { resourceLimits: { maxOldGenerationSizeMb: heapMb, maxYoungGenerationSizeMb: youngMb } };
  const built = new URL("./worker.js", import.meta.url);
  if (existsSync(fileURLToPath(built))) return new Worker(built, limits);
  // TypeScript sources run directly (tests): the loader that runs them here is asked to run them there too.
  const source = new URL("./worker.ts", import.meta.url).href;
  const program = `import("tsx/esm/api").then((m) => m.tsImport(${JSON.stringify(source)}, ${JSON.stringify(source)}))`;
  return new Worker(program, { ...limits, eval: true });
}
