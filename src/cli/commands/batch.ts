/** `hundredweight batch IN.jsonl OUT.jsonl`: OpenAI batch lines in and out, many at once on one pass over the weights. */
import { once, setMaxListeners } from "node:events";
import type { Command } from "commander";
import { HundredweightError } from "../../errors.js";
import { type OfflineServer, openOffline } from "../../server/index.js";
import { idOf, Journal, type OutputLine } from "../batch/journal.js";
import { type BatchRequest, estimateTokens, type Line, parseLine, readLines } from "../batch/lines.js";
import { type BatchNeeds, batchShape } from "../batch/shape.js";
import { withInterrupt } from "../interrupt.js";
import { addModelOptions, bundledModel, loadOptions, type ModelFlags } from "../model-options.js";
import { parseInteger } from "../options.js";
import { printJson } from "../output.js";
import { noProbe, probeOnFirstUse } from "../probe-first.js";
import { Progress } from "../progress.js";

interface BatchFlags extends ModelFlags {
  model?: string;
  parallel?: number;
  maxTokens?: number;
  seed?: number;
  probe?: boolean;
}

/** Lines given to the engine beyond those it works on, so that it never waits for one. */
const ahead = 8;
/** Answers to lines that do not say how long they may be: KV memory is reserved for all of it. */
const usualMaxTokens = 1024;
/** What ends the batch, not the line: it can be resumed when the cause is gone. */
const endsBatch = new Set([
  "engine_crashed",
  "model_closed",
  "model_failed",
  "cancelled",
  "model_changed",
  "server_ending",
]);

export function register(program: Command): void {
  const command = program
    .command("batch")
    .description("Answer a file of OpenAI batch lines, many at a time; goes on where it was interrupted.")
    .argument("<in>", "JSON lines: {custom_id, method, url, body}")
    .argument("<out>", "JSON lines: {id, custom_id, response, error}, in the order in which they are finished")
    .option("--model <file>", "a GGUF file; none = the bundled demonstration model")
    .option("--parallel <n>", "answers made at the same time (default: what the plan allows)", (t) =>
      parseInteger(t, "--parallel", 1, 1024),
    )
    .option("-n, --max-tokens <n>", `of lines that do not say (default ${usualMaxTokens})`, (t) =>
      parseInteger(t, "--max-tokens", 0),
    )
    .option("--seed <n>", "of lines without one: this plus the line's number (default 0)", (t) =>
      parseInteger(t, "--seed", 0),
    )
    .option(...noProbe);
  addModelOptions(command).action((input: string, output: string, flags: BatchFlags) => batch(input, output, flags));
}

async function batch(input: string, output: string, flags: BatchFlags): Promise<void> {
  const path = flags.model ?? bundledModel();
  await withInterrupt(async (signal) => {
    const journal = await Journal.open(output);
    try {
      const work = await survey(input, output, journal, flags.maxTokens ?? usualMaxTokens);
      const began = performance.now();
      const totals = { done: 0, failed: 0, promptTokens: 0, generatedTokens: 0 };
      if (work.left > 0) {
        await probeOnFirstUse(path, flags);
        await answerAll(input, path, journal, work, flags, signal, totals);
      }
      const resumed = journal.done.size;
      const seconds = (performance.now() - began) / 1000;
      if (flags.json) printJson({ lines: work.lines, resumed, ...totals, seconds });
      else
        process.stderr.write(
          `${totals.done} lines answered${totals.failed > 0 ? `, ${totals.failed} of them with errors` : ""}` +
            `${resumed > 0 ? `, ${resumed} were there` : ""}; ` +
            `${(totals.generatedTokens / Math.max(seconds, 1e-3)).toFixed(1)} tokens/s in ${seconds.toFixed(1)} s\n`,
        );
    } finally {
      await journal.close();
    }
  });
}

interface Work extends BatchNeeds {
  readonly lines: number;
  readonly left: number;
}

/** @throws OPTION_INVALID when the output belongs to another input */
async function survey(input: string, output: string, journal: Journal, maxTokens: number): Promise<Work> {
  let lines = 0;
  let left = 0;
  let seen = 0;
  const needs: number[] = [];
  for await (const line of readLines(input)) {
    lines++;
    const request = parseLine(line);
    const known = journal.done.get(line.number);
    if (known === undefined) {
      left++;
      if ("url" in request) needs.push(estimateTokens(request, maxTokens));
    } else {
      seen++;
      if (known !== request.customId)
        throw new HundredweightError(
          "OPTION_INVALID",
          `${output} belongs to another input: line ${line.number} was '${known}', now it is '${request.customId}'`,
        );
    }
  }
  if (seen < journal.done.size)
    throw new HundredweightError(
      "OPTION_INVALID",
      `${output} belongs to another input: it has more lines than ${input}`,
    );
  needs.sort((a, b) => a - b);
  const at = (share: number): number => needs[Math.min(needs.length - 1, Math.floor(share * needs.length))] ?? 1;
  return { lines, left, typicalTokens: at(0.9), longestTokens: at(1) };
}

interface Totals {
  done: number;
  failed: number;
  promptTokens: number;
  generatedTokens: number;
}

async function answerAll(
  input: string,
  path: string,
  journal: Journal,
  work: Work,
  flags: BatchFlags,
  signal: AbortSignal,
  totals: Totals,
): Promise<void> {
  const options = loadOptions(flags);
  const shape = await batchShape(path, options, work, flags.parallel);
  const sequences = Math.min(shape.sequences, work.left);
  const server = await openOffline({
    modelPath: path,
    engine: { ...options, ...shape, sequences },
    // Who writes a batch is not hurried, and asks for as much as he likes.
    config: { maxAnswers: 1e6, maxBodyBytes: 2 ** 26, textTimeoutMs: 60_000 },
  });
  const progress = new Progress("batch", flags.progress);
  const running = new Set<Promise<void>>();
  setMaxListeners(0, signal);
  const aborted = once(signal, "abort");
  let fault: unknown;
  const step = async (line: Line): Promise<void> => {
    const request = parseLine(line);
    const id = idOf(line.number);
    const out: OutputLine =
      "url" in request
        ? await answer(server, request, id, defaultsOf(request, flags, line.number), signal)
        : { id, custom_id: request.customId, response: null, error: { code: "invalid_line", message: request.fault } };
    if (fault !== undefined || signal.aborted) return;
    journal.append(out);
    count(totals, out);
    progress.update(totals.done, work.left, `${totals.generatedTokens} tokens`);
  };
  try {
    for await (const line of readLines(input)) {
      if (journal.done.has(line.number)) continue;
      while (running.size >= sequences + ahead && !signal.aborted) await Promise.race([...running, aborted]);
      if (fault !== undefined || signal.aborted) break;
      const job = step(line).catch((error: unknown) => {
        fault ??= error;
      });
      running.add(job);
      void job.finally(() => running.delete(job));
    }
    // What is interrupted may never be answered; closing the server ends it.
    await Promise.race([Promise.all(running), aborted]);
    if (fault !== undefined && !signal.aborted) throw fault;
  } finally {
    progress.end();
    await server.close();
  }
}

/** A line that is answered again has the same answer. */
function defaultsOf({ url, body }: BatchRequest, flags: BatchFlags, line: number): object {
  if (url === "/v1/embeddings") return {};
  const limited = (body.max_tokens ?? body.max_completion_tokens ?? null) !== null;
  return { seed: (flags.seed ?? 0) + line, ...(!limited && { max_tokens: flags.maxTokens ?? usualMaxTokens }) };
}

/** @throws what ends the batch */
async function answer(
  { app }: OfflineServer,
  { customId, url, body }: BatchRequest,
  id: string,
  defaults: object,
  signal: AbortSignal,
): Promise<OutputLine> {
  const response = await app.request(`http://127.0.0.1${url}`, {
    method: "POST",
    headers: { "content-type": "application/json", host: "127.0.0.1" },
    body: JSON.stringify({
      ...defaults,
      ...Object.fromEntries(Object.entries(body).filter(([, value]) => value !== null)),
    }),
    signal,
  });
  const said = JSON.parse(await response.text()) as { error?: { code?: string | null; message?: string } };
  const code = said.error?.code ?? "";
  if (endsBatch.has(code) || response.status === 503)
    throw new HundredweightError(
      code === "model_changed" ? "MODEL_CHANGED" : code === "cancelled" ? "CANCELLED" : "ENGINE_CRASHED",
      `${said.error?.message ?? "the engine ended"}; the same command goes on from here`,
    );
  // What fails after an answer has begun is told under status 200.
  const status_code = said.error !== undefined && response.status === 200 ? 500 : response.status;
  const request_id = response.headers.get("x-request-id") ?? "";
  return { id, custom_id: customId, response: { status_code, request_id, body: said }, error: null };
}

function count(totals: Totals, { response }: OutputLine): void {
  totals.done++;
  if (response === null || response.status_code >= 400) totals.failed++;
  const usage = (response?.body as { usage?: { prompt_tokens?: number; completion_tokens?: number } } | undefined)
    ?.usage;
  totals.promptTokens += usage?.prompt_tokens ?? 0;
  totals.generatedTokens += usage?.completion_tokens ?? 0;
}
