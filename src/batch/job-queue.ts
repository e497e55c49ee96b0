/**
 * A batch that is open, and who answers its lines: this process (the journal is all the queue there is), or machines
 * behind a queue. The journal says in both cases what is done, so that a queue may lose or repeat what it likes.
 */
import { HundredweightError } from "../errors.js";
import { faultOf, type LineAnswer } from "./line-answer.js";
import type { LineIndex } from "./line-index.js";
import type { Line } from "./lines.js";
import { type BatchOutput, encodeLine, idOf } from "./output.js";
import { withoutTheMoment } from "./reproducible.js";
import { type BadLine, type BatchRequest, readRequest } from "./request.js";

/** Answers what is left of a batch. */
export interface JobQueue {
  /** @throws what ends the batch: it can be gone on with when the cause is gone */
  answerAll(batch: OpenBatch): Promise<void>;
}

export interface BatchInput {
  readonly name: string;
  /** From the first, as often as wanted. @throws FILE_IO */
  lines(): AsyncGenerator<Line>;
  /** A line again, by where it lies. @throws FILE_IO */
  lineAt(number: number, start: number, bytes: number): Line;
  close(): void;
}

export interface BatchTotals {
  done: number;
  failed: number;
  promptTokens: number;
  generatedTokens: number;
}

export interface OpenBatchOptions {
  readonly input: BatchInput;
  readonly index: LineIndex;
  readonly answers: BatchOutput;
  readonly signal: AbortSignal;
  /** Whether a line is answered here; another shard may have it. */
  readonly isOurs: (line: number) => boolean;
  /** Lines of ours that are not answered. */
  readonly left: number;
  readonly reproducible: boolean;
}

/** A line that is to be asked, as it was written. */
export interface AskedLine {
  readonly number: number;
  readonly request: BatchRequest | BadLine;
  readonly hash: Buffer;
  readonly line: Line;
}

export class OpenBatch {
  readonly totals: BatchTotals = { done: 0, failed: 0, promptTokens: 0, generatedTokens: 0 };
  readonly input: BatchInput;
  readonly index: LineIndex;
  readonly signal: AbortSignal;
  readonly left: number;
  readonly #options: OpenBatchOptions;

  constructor(options: OpenBatchOptions) {
    this.#options = options;
    this.input = options.input;
    this.index = options.index;
    this.signal = options.signal;
    this.left = options.left;
  }

  isLeft(number: number): boolean {
    return this.index.has(number) && !this.index.isDone(number) && this.#options.isOurs(number);
  }

  /** @throws FILE_IO when it is not what the index was made of */
  asked(line: Line): AskedLine {
    const { request, hash } = readRequest(line);
    if (!this.index.hasHash(line.number, hash))
      throw new HundredweightError("FILE_IO", `${this.input.name}: line ${line.number} changed while it was in use`);
    return { number: line.number, request, hash, line };
  }

  /** The answer of a line that cannot be sent. */
  faultOf({ number, request }: AskedLine): LineAnswer | undefined {
    return faultOf(number, request, this.index);
  }

  /** Writes an answer; a line that has one already keeps it. @throws FILE_IO */
  async deliver({ number, request, hash }: Omit<AskedLine, "line">, said: LineAnswer): Promise<void> {
    if (this.index.isDone(number)) return;
    const request_hash = hash.toString("hex");
    const kept = this.#options.reproducible ? withoutTheMoment(said, `${request_hash}_${number}`) : said;
    const told = { id: idOf(number), custom_id: request.customId };
    const { bytes, failed } = encodeLine({ ...told, ...kept, request_hash });
    // Before anything is waited for: nobody else is to write it meanwhile.
    this.index.markDone(number);
    await this.#options.answers.append(bytes);
    this.#count(said, failed);
  }

  /** Makes durable what was delivered. @throws FILE_IO */
  async flush(): Promise<void> {
    await this.#options.answers.flush();
  }

  #count({ response }: LineAnswer, failed: boolean): void {
    const { totals } = this;
    totals.done++;
    if (failed) totals.failed++;
    const usage = (response?.body as { usage?: { prompt_tokens?: number; completion_tokens?: number } } | undefined)
      ?.usage;
    totals.promptTokens += usage?.prompt_tokens ?? 0;
    totals.generatedTokens += usage?.completion_tokens ?? 0;
  }
}
