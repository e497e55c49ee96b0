/**
 * The prompt of `run`: the argument, what is piped in before it, or what is typed when a terminal is there and nothing
 * was said. Ollama joins them so: piped text first, then the argument, a space between.
 */
import { fstatSync } from "node:fs";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { HundredweightError } from "../../errors.js";
import { interruptSelf } from "../../process/signals.js";
import { MessageLines } from "./message-lines.js";
import { note as tellNote, warn } from "./output.js";
import { PasteFilter, pasteOff, pasteOn } from "./paste.js";

/** No prompt can be longer. */
const mostBytes = 8 * 2 ** 20;
/**
 * How long a first byte is waited for beside an argument. Whoever starts this program from another often leaves it a
 * pipe or socket that nobody writes to or closes; a shell's pipe has a writer, which may need a moment.
 */
const patienceMs = { pipe: 3000, socket: 500 };
/** Without an argument there is nothing else to do than to wait: it is said. */
const sayAfterMs = 2000;

type Source = "terminal" | "file" | "pipe" | "socket" | "other";

export interface PromptOptions {
  readonly argument: string | undefined;
  /** Wait for standard input however long it takes, also beside an argument. */
  readonly wait?: boolean;
  readonly input?: Readable & { readonly isTTY?: boolean };
  readonly source?: Source;
  readonly patience?: typeof patienceMs;
}

/** Reads ahead while the model is loaded; `text()` says when the prompt is needed. */
export class PromptInput {
  private readonly options: PromptOptions;
  private readonly source: Source;
  private readonly chunks: Buffer[] = [];
  private readonly began = performance.now();
  private bytes = 0;
  private stream: Readable | undefined;
  private failure: HundredweightError | undefined;
  private readonly first: Promise<void>;
  private readonly ended: Promise<void>;
  private stop: () => void = () => {};

  constructor(options: PromptOptions) {
    this.options = options;
    this.source = options.source ?? sourceOf();
    let begin = (): void => {};
    this.first = new Promise((resolve) => {
      begin = resolve;
    });
    this.ended = new Promise((resolve) => {
      this.stop = () => {
        begin();
        resolve();
      };
    });
    // A device beside an argument, like the null device of a cron job: nothing is expected of it.
    if (this.source === "terminal" || (this.source === "other" && !this.waits)) return;
    this.stream = options.input ?? process.stdin;
    this.stream.on("data", (chunk: Buffer | string) => {
      this.take(Buffer.from(chunk));
      begin();
    });
    this.stream.on("end", this.stop);
    this.stream.on("close", this.stop);
    this.stream.on("error", (error: Error) => {
      this.failure = new HundredweightError("FILE_IO", `standard input: ${error.message}`, {}, { cause: error });
      this.stop();
    });
  }

  private get waits(): boolean {
    return this.options.argument === undefined || this.options.wait === true;
  }

  /** @throws OPTION_INVALID without a prompt, or with too long a one; FILE_IO; CANCELLED */
  async text(signal?: AbortSignal): Promise<string> {
    const { argument } = this.options;
    if (this.source === "terminal") return argument ?? (await ask(signal));
    const piped = await this.piped(signal);
    if (piped.trim() === "") {
      if (argument !== undefined) return argument;
      throw new HundredweightError("OPTION_INVALID", "no prompt: give one as an argument, or pipe a text in");
    }
    return argument === undefined ? piped : `${piped} ${argument}`;
  }

  /** No more is read; the process can end. */
  close(): void {
    this.stream?.destroy();
    this.stop();
  }

  private async piped(signal?: AbortSignal): Promise<string> {
    if (this.stream === undefined) return "";
    const onAbort = (): void => this.close();
    signal?.addEventListener("abort", onAbort, { once: true });
    const note = setTimeout(() => {
      if (this.bytes === 0 && this.waits) tellNote("waiting for the prompt on standard input");
    }, this.left(sayAfterMs));
    try {
      const patience = this.source === "socket" ? "socket" : "pipe";
      if (!this.waits && !(await this.within(this.left((this.options.patience ?? patienceMs)[patience])))) {
        this.close();
        if (this.source === "pipe")
          warn("standard input is open but nobody wrote to it: only the argument is the prompt (--stdin waits for it)");
        return "";
      }
      await this.ended;
      if (signal?.aborted) throw new HundredweightError("CANCELLED", "stopped by the caller");
      if (this.failure !== undefined) throw this.failure;
      // Lines as a model was taught them, whatever system wrote the text.
      return Buffer.concat(this.chunks).toString("utf8").replaceAll("\r\n", "\n");
    } finally {
      clearTimeout(note);
      signal?.removeEventListener("abort", onAbort);
    }
  }

  private left(ms: number): number {
    return Math.max(0, this.began + ms - performance.now());
  }

  private async within(ms: number): Promise<boolean> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<boolean>((resolve) => {
      timer = setTimeout(() => resolve(false), ms);
    });
    const came = await Promise.race([this.first.then(() => true), late]);
    clearTimeout(timer);
    return came;
  }

  private take(chunk: Buffer): void {
    this.bytes += chunk.length;
    if (this.bytes <= mostBytes) {
      this.chunks.push(chunk);
      return;
    }
    this.failure ??= new HundredweightError(
      "OPTION_INVALID",
      "standard input: more than 8 MiB, the longest prompt there is",
    );
    this.close();
  }
}

function sourceOf(): Source {
  if (process.stdin.isTTY) return "terminal";
  try {
    const stat = fstatSync(0);
    // Node denies on Windows that anything is a pipe; the mode says so there, too.
    if ((stat.mode & 0o170000) === 0o010000) return "pipe";
    if (stat.isSocket()) return "socket";
    return stat.isFile() || stat.isDirectory() ? "file" : "other";
  } catch {
    return "other";
  }
}

/** At a terminal; the question goes to standard error, the answer may go to a file. */
async function ask(signal?: AbortSignal): Promise<string> {
  const filter = new PasteFilter(process.stdin);
  process.stdin.pipe(filter);
  process.stderr.write(pasteOn);
  const lines = createInterface({ input: filter, output: process.stderr, terminal: true });
  const message = new MessageLines();
  const onAbort = (): void => lines.close();
  signal?.addEventListener("abort", onAbort, { once: true });
  // In raw mode Ctrl-C is a key.
  lines.on("SIGINT", interruptSelf);
  try {
    lines.setPrompt("prompt> ");
    lines.prompt();
    for await (const line of lines) {
      const text = message.push(filter.restore(line));
      if (text !== undefined && text.trim() !== "") return text;
      lines.setPrompt(message.open ? "... " : "prompt> ");
      lines.prompt();
    }
    if (signal?.aborted) throw new HundredweightError("CANCELLED", "stopped by the caller");
    process.stderr.write("\n");
    const rest = message.end();
    if (rest !== undefined && rest.trim() !== "") return rest;
    throw new HundredweightError("OPTION_INVALID", "no prompt");
  } finally {
    signal?.removeEventListener("abort", onAbort);
    lines.close();
    process.stderr.write(pasteOff);
    process.stdin.unpipe(filter);
    process.stdin.pause();
    process.stdin.unref();
  }
}
