/**
 * Works batches off, one after the other, in places that no other answer wants. A batch's journal holds each line when
 * its answer is known; a server that was killed goes on behind it, and no line is answered twice. When all are there
 * the journal is parted into the two files that clients know: answers, and lines that failed.
 */
import { closeSync, fsyncSync, openSync, rmSync, writeSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { Journal } from "../../batch/journal.js";
import { answerLine, defaultsOf, faultOf, type LineAnswer, type Routes } from "../../batch/line-answer.js";
import { LineIndex } from "../../batch/line-index.js";
import { type Line, readLines } from "../../batch/lines.js";
import { encodeLine, idOf, isFailure, maxAnswerBytes, type OutputLine } from "../../batch/output.js";
import { outputPlace } from "../../batch/places.js";
import { type BadLine, type BatchRequest, maxLineBytes, readRequest } from "../../batch/request.js";
import { asHundredweightError, HundredweightError } from "../../errors.js";
import { keyOf } from "../http/security.js";
import type { ServerContext } from "../service/context.js";
import { type BatchRecord, type BatchStatus, isUnfinished } from "./batch-record.js";
import type { FileStore } from "./file-store.js";
import type { Records } from "./records.js";

export interface RunnerOptions {
  readonly records: Records<BatchRecord>;
  readonly files: FileStore;
  readonly routes: Routes;
  readonly context: ServerContext;
  /** Bytes that a batch's answers may take. */
  readonly maxOutputBytes: number;
  readonly maxLines: number;
}

const pollMs = 50;
const retryMs = 1000;
const writtenMs = 1000;
const lineFeed = Buffer.from("\n");

/** A batch that cannot be worked off whatever happens. */
class Unusable extends Error {
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

export class BatchRunner {
  private readonly o: RunnerOptions;
  private readonly ender = new AbortController();
  /** The batch that is worked off. */
  private current: { readonly record: BatchRecord; readonly canceller: AbortController } | undefined;
  private working: Promise<void> | undefined;
  /** Those that another process works on, or that failed for a reason that may pass. */
  private readonly passed = new Set<string>();

  constructor(options: RunnerOptions) {
    this.o = options;
    const { context } = options;
    context.draining.addEventListener("abort", () => this.ender.abort(), { once: true });
    context.model.onChange(({ phase }) => {
      if (phase !== "ready") return;
      this.passed.clear();
      this.kick();
    });
    if (context.model.state.phase === "ready") this.kick();
  }

  /** As it is now. */
  get(id: string): BatchRecord | undefined {
    return this.current?.record.id === id ? this.current.record : this.o.records.get(id);
  }

  list(): BatchRecord[] {
    return this.o.records.list().map((record) => this.get(record.id) ?? record);
  }

  /** There may be something to do. */
  kick(): void {
    if (this.working !== undefined || this.ender.signal.aborted) return;
    this.working = this.workAll().finally(() => {
      this.working = undefined;
    });
  }

  cancel(record: BatchRecord): void {
    this.enter(record, "cancelling");
    if (this.current?.record.id === record.id) this.current.canceller.abort();
    else this.kick();
  }

  /** Resolves when nothing is written any more. */
  async end(): Promise<void> {
    this.ender.abort();
    await this.working;
  }

  private async workAll(): Promise<void> {
    for (;;) {
      const waiting = this.o.records.list().filter((one) => isUnfinished(one) && !this.passed.has(one.id));
      const [record] = waiting.sort((a, b) => a.createdAt - b.createdAt || (a.id < b.id ? -1 : 1));
      if (record === undefined || this.ender.signal.aborted) return;
      this.current = { record, canceller: new AbortController() };
      if (record.status === "cancelling") this.current.canceller.abort();
      try {
        await this.work(record, this.current.canceller.signal);
      } catch (error) {
        if (error instanceof Unusable) {
          record.errors = [{ code: error.code, message: error.message }];
          rmSync(this.o.records.pathOf(record.id, ".journal"), { force: true });
          this.enter(record, "failed");
        } else {
          this.passed.add(record.id);
          if (!this.ender.signal.aborted)
            this.o.context.log(`batch ${record.id} rests: ${asHundredweightError(error).message}`);
        }
      } finally {
        this.current = undefined;
      }
    }
  }

  private async work(record: BatchRecord, cancelled: AbortSignal): Promise<void> {
    const { files, records } = this.o;
    const input = files.get(record.inputFileId, record.owner);
    if (input === undefined) throw new Unusable("file_not_found", "the input file is gone");
    const journalPath = records.pathOf(record.id, ".journal");
    const fd = openSync(files.pathOf(input), "r");
    try {
      const index = await this.survey(record, fd);
      const journal = await Journal.open(outputPlace(journalPath), index);
      try {
        record.counts = { total: index.lines, completed: index.done - journal.failed, failed: journal.failed };
        if (record.status === "validating") this.enter(record, "in_progress");
        if (record.status !== "finalizing") await this.answerAll(record, fd, index, journal, cancelled);
      } finally {
        await journal.close();
      }
    } finally {
      closeSync(fd);
    }
    if (this.ender.signal.aborted) return;
    if (record.status === "in_progress") this.enter(record, "finalizing");
    await this.part(record, journalPath);
    this.enter(record, record.status === "cancelling" ? "cancelled" : "completed");
    rmSync(journalPath, { force: true });
  }

  private async survey({ endpoint }: BatchRecord, fd: number): Promise<LineIndex> {
    const index = new LineIndex();
    for await (const line of readLines(fd, "the input", maxLineBytes)) {
      const { request, hash } = readLine(line, endpoint);
      index.add(line.number, request.customId, hash, undefined);
      if (index.lines > this.o.maxLines)
        throw new Unusable("too_many_lines", `the input has more than ${this.o.maxLines} lines`);
    }
    if (index.lines === 0) throw new Unusable("empty_file", "the input has no lines");
    return index;
  }

  private async answerAll(
    record: BatchRecord,
    fd: number,
    index: LineIndex,
    journal: Journal,
    cancelled: AbortSignal,
  ): Promise<void> {
    const { context, maxOutputBytes } = this.o;
    const stopped = AbortSignal.any([cancelled, this.ender.signal]);
    const cut = AbortSignal.any([cancelled, context.ending]);
    const headers = this.headersOf(record);
    const running = new Set<Promise<void>>();
    let bytes = 0;
    let fault: unknown;
    let writtenAt = performance.now();
    const step = async (line: Line): Promise<void> => {
      const { request, hash } = readLine(line, record.endpoint);
      const told = { id: idOf(line.number), custom_id: request.customId, request_hash: hash.toString("hex") };
      const said =
        faultOf(line.number, request, index) ?? (await this.ask(request as BatchRequest, line.number, headers, cut));
      // What was cut short is no answer.
      if (cut.aborted || fault !== undefined) return;
      const { bytes: written, failed } = encodeLine({ ...told, ...said });
      journal.append(written);
      bytes += written.length;
      record.counts[failed ? "failed" : "completed"]++;
      if (bytes > maxOutputBytes) throw new Unusable("storage_full", `answers take more than ${maxOutputBytes} bytes`);
      if (performance.now() - writtenAt < writtenMs) return;
      writtenAt = performance.now();
      this.o.records.put(record);
    };
    for await (const line of readLines(fd, "the input", maxLineBytes)) {
      if (!index.has(line.number) || index.isDone(line.number)) continue;
      while (!stopped.aborted && fault === undefined && running.size >= this.places(running.size))
        await Promise.race([sleep(pollMs), ...running]);
      if (stopped.aborted || fault !== undefined) break;
      const job = step(line).catch((error: unknown) => {
        fault ??= error;
      });
      running.add(job);
      void job.finally(() => running.delete(job));
    }
    await Promise.all(running);
    if (fault !== undefined && !stopped.aborted) throw fault;
  }

  /** Lines that may run at once: others come first. */
  private places(own: number): number {
    const { gate, model } = this.o.context;
    const others = gate.count - own;
    return Math.max(0, (model.engineOptions.sequences ?? 1) - Math.max(0, others));
  }

  /** @throws OPTION_INVALID for a batch whose key is none of the server's: nobody could have its answers */
  private headersOf({ owner }: BatchRecord): Record<string, string> {
    const { config } = this.o.context;
    if (config.apiKeys.length === 0) return {};
    const key = keyOf(owner, config);
    if (key === undefined) throw new HundredweightError("OPTION_INVALID", "its key is no longer one of the server's");
    return { authorization: `Bearer ${key}` };
  }

  private async ask(
    request: BatchRequest,
    line: number,
    headers: Record<string, string>,
    signal: AbortSignal,
  ): Promise<LineAnswer> {
    for (;;) {
      const said = await answerLine(this.o.routes, request, defaultsOf(request, line, {}), { signal, headers });
      // Others were faster.
      if (said.response?.status_code !== 429) return said;
      await sleep(retryMs, undefined, { signal });
    }
  }

  /** Made anew by who was killed meanwhile: the names are fixed before. */
  private async part(record: BatchRecord, journalPath: string): Promise<void> {
    const { files, records } = this.o;
    const { completed, failed } = record.counts;
    if (completed > 0) record.outputFileId ??= files.newId();
    if (failed > 0) record.errorFileId ??= files.newId();
    records.put(record);
    const parts = [
      { id: record.outputFileId, path: records.pathOf(record.id, ".output"), purpose: "batch_output" },
      { id: record.errorFileId, path: records.pathOf(record.id, ".errors"), purpose: "batch_output" },
    ];
    const fds = [journalPath, ...parts.map(({ path }) => path)].map((path, i) =>
      openSync(path, i === 0 ? "r" : "w", 0o600),
    );
    const [journal, answers, errors] = fds as [number, number, number];
    try {
      for await (const { bytes } of readLines(journal, "the journal", maxAnswerBytes)) {
        const line = JSON.parse(bytes!.toString("utf8")) as OutputLine;
        const whole = Buffer.concat([bytes!, lineFeed]);
        for (let at = 0; at < whole.length; ) at += writeSync(isFailure(line) ? errors : answers, whole, at);
      }
      for (const fd of [answers, errors]) fsyncSync(fd);
    } finally {
      for (const fd of fds) closeSync(fd);
    }
    for (const { id, path, purpose } of parts) {
      const filename = `${record.id}_${path.endsWith(".errors") ? "error" : "output"}.jsonl`;
      if (id === undefined) rmSync(path, { force: true });
      else files.adopt(id, path, { owner: record.owner, filename, purpose });
    }
  }

  private enter(record: BatchRecord, status: BatchStatus): void {
    record.status = status;
    if (status !== "validating") record.times = { ...record.times, [status]: Math.floor(Date.now() / 1000) };
    this.o.records.put(record);
  }
}

/** A line that asks by another route than its batch is no request of it. */
function readLine(line: Line, endpoint: string): { request: BatchRequest | BadLine; hash: Buffer } {
  const { request, hash } = readRequest(line);
  if (!("url" in request) || request.url === endpoint) return { request, hash };
  return { request: { customId: request.customId, fault: `url: ${endpoint} is expected` }, hash };
}
