/**
 * `hundredweight batch IN.jsonl OUT.jsonl`: OpenAI batch lines in and out, many at once on one pass over the weights.
 */
import { once, setMaxListeners } from "node:events";
import type { Command } from "commander";
import { Journal } from "../../batch/journal.js";
import { answerLine, defaultsOf, faultOf, type LineAnswer, usualMaxTokens } from "../../batch/line-answer.js";
import { LineIndex } from "../../batch/line-index.js";
import type { Line } from "../../batch/lines.js";
import { type BatchOutput, encodeLine, idOf, standardOutput } from "../../batch/output.js";
import { inputPlace, outputPlace, refuseSameFile, standard } from "../../batch/places.js";
import { type BatchRequest, estimateTokens, readRequest } from "../../batch/request.js";
import { HundredweightError } from "../../errors.js";
import { type OfflineServer, openOffline } from "../../server/index.js";
import { modelFile } from "../../store/model-word.js";
import { type BatchInput, openInput } from "../batch/input.js";
import { type BatchNeeds, batchShape } from "../batch/shape.js";
import { addModelOptions, loadOptions, type ModelFlags } from "../options/model-options.js";
import { parseInteger } from "../options/options.js";
import { noProbe, probeOnFirstUse } from "../options/probe-first.js";
import { withInterrupt } from "../terminal/interrupt.js";
import { whileLoading } from "../terminal/loading.js";
import { printJson, tell } from "../terminal/output.js";
import { TokenProgress, type TokensDone } from "../terminal/token-progress.js";

interface BatchFlags extends ModelFlags {
  model?: string;
  parallel?: number;
  maxTokens?: number;
  seed?: number;
  probe?: boolean;
}

/** Lines given to the engine beyond those it works on, so that it never waits for one. */
const ahead = 8;
export function register(program: Command): void {
  const command = program
    .command("batch")
    .description("Answer a file of OpenAI batch lines, many at a time; goes on where it was interrupted.")
    .argument(
      "<in>",
      "JSON lines: {custom_id, method, url, body}; a pipe is read to its end first, - is standard input",
    )
    .argument(
      "<out>",
      "JSON lines: {id, custom_id, response, error, request_hash}, in the order in which they are finished; " +
        "an output of the same input is gone on with, any other file is refused; - is standard output, " +
        "which is never gone on with",
    )
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
  const path = modelFile(flags.model);
  if (output === standard && flags.json === true)
    throw new HundredweightError(
      "OPTION_INVALID",
      "--json and the answers both want standard output; name an output file",
    );
  // What is read is looked at before what is written is touched.
  const [from, to] = [inputPlace(input), outputPlace(output)];
  refuseSameFile(from, to);
  await withInterrupt(async (signal) => {
    const asked = await openInput(from, signal);
    try {
      const index = await survey(asked, flags.maxTokens ?? usualMaxTokens, signal);
      const journal = to.path === undefined ? undefined : await Journal.open(to, index);
      const resumed = index.done;
      const answers = journal ?? standardOutput;
      try {
        const began = performance.now();
        const totals = { done: 0, failed: 0, promptTokens: 0, generatedTokens: 0 };
        if (index.lines > resumed) {
          await probeOnFirstUse(path, flags);
          await answerAll(asked, path, answers, index, flags, signal, totals);
        }
        report({ lines: index.lines, resumed, ...totals, seconds: (performance.now() - began) / 1000 }, flags);
        if (totals.failed + (journal?.failed ?? 0) > 0) process.exitCode = 1;
      } finally {
        await answers.close();
      }
    } finally {
      asked.close();
    }
  });
}

/** @throws OPTION_INVALID for more lines than can be kept track of */
async function survey(input: BatchInput, maxTokens: number, signal: AbortSignal): Promise<LineIndex> {
  const index = new LineIndex();
  for await (const line of input.lines()) {
    signal.throwIfAborted();
    const { request, hash } = readRequest(line);
    const tokens = "url" in request ? estimateTokens(request, maxTokens) : undefined;
    index.add(line.number, request.customId, hash, tokens);
  }
  return index;
}

function report(result: Totals & { lines: number; resumed: number; seconds: number }, flags: BatchFlags): void {
  if (flags.json) {
    printJson(result);
    return;
  }
  const { done, failed, resumed, generatedTokens, seconds } = result;
  tell(
    `${done} lines answered${failed > 0 ? `, ${failed} of them with errors` : ""}` +
      `${resumed > 0 ? `, ${resumed} were there` : ""}; ` +
      `${(generatedTokens / Math.max(seconds, 1e-3)).toFixed(1)} tokens/s in ${seconds.toFixed(1)} s`,
  );
}

interface Totals {
  done: number;
  failed: number;
  promptTokens: number;
  generatedTokens: number;
}

async function answerAll(
  input: BatchInput,
  path: string,
  answers: BatchOutput,
  index: LineIndex,
  flags: BatchFlags,
  signal: AbortSignal,
  totals: Totals,
): Promise<void> {
  const options = loadOptions(flags);
  const left = index.lines - index.done;
  const shape = await batchShape(path, options, needsOf(index), flags.parallel);
  const sequences = Math.min(shape.sequences, left);
  const server = await whileLoading(flags.progress, (onLoading) =>
    openOffline({
      modelPath: path,
      engine: { ...options, ...shape, sequences },
      // Who writes a batch is not hurried and asks for as much as he likes; how many lines run at once is bounded here.
      config: { maxAnswers: 1e6, maxBodyBytes: 2 ** 26, maxIntakeBytes: Infinity, textTimeoutMs: 60_000 },
      onLoading,
    }),
  );
  const progress = new TokenProgress("", () => tokensDone(server, totals, left), { forced: flags.progress });
  const running = new Set<Promise<void>>();
  setMaxListeners(0, signal);
  const aborted = once(signal, "abort");
  let fault: unknown;
  const step = async (line: Line): Promise<void> => {
    const { request, hash } = readRequest(line);
    if (!index.hasHash(line.number, hash))
      throw new HundredweightError("FILE_IO", `${input.name}: line ${line.number} changed while it was in use`);
    const told = { id: idOf(line.number), custom_id: request.customId };
    const wrong = faultOf(line.number, request, index);
    const said =
      wrong ??
      (await answerLine(server.app, request as BatchRequest, defaultsOf(request as BatchRequest, line.number, flags), {
        signal,
      }));
    if (fault !== undefined || signal.aborted) return;
    const { bytes, failed } = encodeLine({ ...told, ...said, request_hash: hash.toString("hex") });
    await answers.append(bytes);
    count(totals, said, failed);
  };
  try {
    for await (const line of input.lines()) {
      if (!index.has(line.number)) break; // the file has grown
      if (index.isDone(line.number)) continue;
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

/** Lines that are left take as many tokens as the mean of those that are done. */
function tokensDone({ context }: OfflineServer, { done, generatedTokens }: Totals, total: number): TokensDone {
  // Beyond what lines that are done have told, the engine counts what it makes for the others.
  const tokens = Math.max(generatedTokens, context.status.latest?.generatedTokens ?? 0);
  const expected = done === 0 ? undefined : (generatedTokens / done) * total;
  return { done, total, tokens, ...(expected !== undefined && { tokensLeft: Math.max(0, expected - tokens) }) };
}

function needsOf(index: LineIndex): BatchNeeds {
  const needs = index.tokensLeft();
  const at = (share: number): number => needs[Math.min(needs.length - 1, Math.floor(share * needs.length))] ?? 1;
  return { typicalTokens: at(0.9), longestTokens: at(1) };
}

function count(totals: Totals, { response }: LineAnswer, failed: boolean): void {
  totals.done++;
  if (failed) totals.failed++;
  const usage = (response?.body as { usage?: { prompt_tokens?: number; completion_tokens?: number } } | undefined)
    ?.usage;
  totals.promptTokens += usage?.prompt_tokens ?? 0;
  totals.generatedTokens += usage?.completion_tokens ?? 0;
}
