/**
 * `hundredweight batch IN.jsonl OUT.jsonl`: OpenAI batch lines in and out, many at once on one pass over the weights.
 */
import type { Command } from "commander";
import { type BatchInput, type BatchTotals, OpenBatch } from "../../batch/job-queue.js";
import { Journal } from "../../batch/journal.js";
import { usualMaxTokens } from "../../batch/line-answer.js";
import { mergeAnswers } from "../../batch/merge.js";
import { standardOutput } from "../../batch/output.js";
import { inputPlace, outputPlace, type Place, refuseSameFile, standard } from "../../batch/places.js";
import { parseShard, partLines, type Shard } from "../../batch/shard.js";
import { readAll, type Survey } from "../../batch/survey.js";
import { HundredweightError } from "../../errors.js";
import { modelFile } from "../../store/model-word.js";
import { answerByFleet, checkFleetFlags, type FleetFlags } from "../batch/fleet-batch.js";
import { openInput } from "../batch/input.js";
import { LocalQueue } from "../batch/local-queue.js";
import { addModelOptions } from "../options/model-options.js";
import { parseInteger } from "../options/options.js";
import { noPrefixStore } from "../options/past-options.js";
import { noProbe, probeOnFirstUse } from "../options/probe-first.js";
import { addWhenFullOptions } from "../options/when-full-option.js";
import { withInterrupt } from "../terminal/interrupt.js";
import { printJson, tell } from "../terminal/output.js";

interface BatchFlags extends FleetFlags {
  model?: string;
  probe?: boolean;
  shard?: Shard;
  merge?: string[];
  reproducible?: boolean;
}

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
    .option(
      "--shard <i/n>",
      "answer the part of machine I of N, counted from 0; every machine has an output",
      parseShard,
    )
    .option("--merge <files...>", "answer nothing: write what these outputs hold, in the order of the input, to <out>")
    .option(
      "--queue [url]",
      "give the lines to machines that run `work`: redis://user:password@host:port/database, rediss:// with TLS; " +
        "default HUNDREDWEIGHT_QUEUE",
    )
    .option("--priority <n>", "before other batches of the queue: 1 first, 9 last (default 5)", (t) =>
      parseInteger(t, "--priority", 1, 9),
    )
    .option("--cancel", "take back what the queue has of this batch; answers that are there are kept")
    .option(
      "--reproducible",
      "leave out times and random names, and sort: the same model writes the same bytes anywhere",
    )
    .option(...noPrefixStore)
    .option(...noProbe);
  addModelOptions(addWhenFullOptions(command)).action((input: string, output: string, flags: BatchFlags) =>
    batch(input, output, flags),
  );
}

async function batch(input: string, output: string, flags: BatchFlags): Promise<void> {
  if (output === standard && flags.json === true)
    throw new HundredweightError(
      "OPTION_INVALID",
      "--json and the answers both want standard output; name an output file",
    );
  if (output === standard && (flags.merge !== undefined || flags.reproducible === true))
    throw new HundredweightError("OPTION_INVALID", "what is sorted goes to a file; name an output file");
  checkFleetFlags(flags, flags.shard);
  // What is read is looked at before what is written is touched.
  const [from, to] = [inputPlace(input), outputPlace(output)];
  refuseSameFile(from, to);
  const path = flags.merge === undefined ? modelFile(flags.model) : "";
  await withInterrupt(async (signal) => {
    const asked = await openInput(from, signal);
    try {
      const survey = await readAll(asked, flags.maxTokens ?? usualMaxTokens, signal);
      if (flags.merge !== undefined) await merge(survey, flags.merge, to, flags);
      else await answer(asked, survey, path, to, flags, signal);
    } finally {
      asked.close();
    }
  });
}

async function answer(
  input: BatchInput,
  { index, cut, lastLine, digest }: Survey,
  path: string,
  to: Place,
  flags: BatchFlags,
  signal: AbortSignal,
): Promise<void> {
  const { shard } = flags;
  const shards = shard === undefined ? undefined : partLines(cut, shard.count, lastLine);
  const isOurs = (line: number): boolean => shards === undefined || shards[line] === shard?.index;
  const journal = to.path === undefined ? undefined : await Journal.open(to, index);
  const answers = journal ?? standardOutput;
  let ended = false;
  const began = performance.now();
  try {
    const all = count(lastLine, (line) => index.has(line) && isOurs(line));
    const left = count(lastLine, (line) => index.has(line) && isOurs(line) && !index.isDone(line));
    const open = new OpenBatch({
      input,
      index,
      answers,
      signal,
      isOurs,
      left,
      reproducible: flags.reproducible === true,
    });
    if (flags.queue !== undefined && (left > 0 || flags.cancel))
      await answerByFleet(open, { cut, digest, path, to }, flags);
    else if (left > 0) {
      await probeOnFirstUse(path, flags);
      await new LocalQueue(path, flags).answerAll(open);
    }
    report({ lines: all, resumed: all - left, ...open.totals, seconds: (performance.now() - began) / 1000 }, flags);
    if (open.totals.failed + (journal?.failed ?? 0) > 0) process.exitCode = 1;
    ended = !signal.aborted && open.totals.done === left;
  } finally {
    await answers.close();
  }
  if (ended && flags.reproducible === true) await mergeAnswers(index, lastLine, [], fileAt(to));
}

function count(lastLine: number, matches: (line: number) => boolean): number {
  let found = 0;
  for (let line = 1; line <= lastLine; line++) if (matches(line)) found++;
  return found;
}

/** The output as it is now. @throws FILE_IO */
function fileAt({ path }: Place): Place & { readonly path: string } {
  const found = outputPlace(path!);
  return { ...found, path: path! };
}

async function merge(
  { index, lastLine }: Survey,
  files: readonly string[],
  to: Place,
  flags: BatchFlags,
): Promise<void> {
  const sources = files.map(inputPlace);
  const pipe = sources.find(({ found }) => found?.isFile() !== true);
  if (pipe !== undefined)
    throw new HundredweightError("OPTION_INVALID", `--merge: ${pipe.name} is no file; files of answers are merged`);
  const result = await mergeAnswers(index, lastLine, sources, fileAt(to));
  const missing = index.lines - result.done;
  if (flags.json) printJson({ lines: index.lines, ...result, missing });
  else {
    const { done, failed, doubled } = result;
    tell(
      `${done} of ${index.lines} lines answered${failed > 0 ? `, ${failed} of them with errors` : ""}` +
        `${doubled > 0 ? `, ${doubled} were there twice` : ""}` +
        `${missing > 0 ? `; ${missing} are missing, \`batch\` with the same two files answers them` : ""}`,
    );
  }
  if (missing > 0 || result.failed > 0) process.exitCode = 1;
}

function report(result: BatchTotals & { lines: number; resumed: number; seconds: number }, flags: BatchFlags): void {
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
