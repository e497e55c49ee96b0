/** `hundredweight run [MODEL] [PROMPT]`: generate once. */
import type { Command } from "commander";
import { HundredweightError } from "../../errors.js";
import type { Generation, GenerationResult } from "../../library/generation.js";
import type { ChatOptions, Model } from "../../library/model.js";
import type { DraftCount, DraftCounts, LedgerEntry, ResidencyInfo } from "../../link/protocol.js";
import { mark } from "../../process/marks.js";
import { runTarget } from "../../store/model-word.js";
import { ChatSession } from "../chat/chat-session.js";
import { addModelOptions, loadOptions, type ModelFlags } from "../options/model-options.js";
import { parseInteger } from "../options/options.js";
import { noPrefixStore, type PastFlags, pastOptions } from "../options/past-options.js";
import { noProbe, probeOnFirstUse } from "../options/probe-first.js";
import { addSamplingOptions, generateOptions, type SamplingFlags } from "../options/sampling-options.js";
import { SessionFile, sessionOption } from "../options/session-file.js";
import { readTools } from "../options/tools-file.js";
import { addWhenFullOptions, tellRolled, whenFullOption } from "../options/when-full-option.js";
import { type MemoryDocument, memoryBefore, memoryDocument } from "../reports/memory-report.js";
import {
  addProfileOption,
  finishProfile,
  type ProfileFlags,
  profileOptions,
  profileTable,
} from "../reports/profile-report.js";
import { withInterrupt } from "../terminal/interrupt.js";
import { loadShown } from "../terminal/loading.js";
import { formatBytes, note, printJson, warn } from "../terminal/output.js";
import { Progress } from "../terminal/progress.js";
import { PromptInput } from "../terminal/prompt-input.js";
import { ReplyPrinter } from "../terminal/reply-printer.js";

export interface RunFlags extends ModelFlags, SamplingFlags, ProfileFlags, PastFlags {
  raw?: boolean;
  session?: string;
  stdin?: boolean;
  system?: string;
  tools?: unknown[];
  continue?: string;
  thinking?: boolean;
  reasoningBudget?: number;
  check?: boolean;
  probe?: boolean;
}

export function register(program: Command): void {
  const command = program
    .command("run")
    .description("Generate text. The chat template of the file is applied when it has one, unless --raw.")
    .argument("[model]", "a GGUF file; none = the bundled demonstration model")
    .argument("[prompt]", "the prompt; text piped in comes before it, and alone is the prompt")
    .option("--raw", "continue the prompt as it is, without chat template")
    .option(...sessionOption)
    .option("--stdin", "wait for standard input however long it takes, also beside a prompt")
    .option("--system <text>", "system message for the chat template")
    .option("--tools <file>", "tools the model may call: a JSON list as OpenAI's API has it", readTools)
    .option("--continue <text>", "the answer begins with this text and goes on")
    .option("--no-thinking", "ask the template for an answer without thinking (enable_thinking)")
    .option("--reasoning-budget <n>", "most tokens of thinking, which is then ended (default: no limit)", (t) =>
      parseInteger(t, "--reasoning-budget", 0),
    )
    .option("--check", "look at every number and name the first that is not finite: layer, verb, tensor (slow)")
    .option(...noPrefixStore)
    .option(...noProbe);
  addProfileOption(addModelOptions(addWhenFullOptions(addSamplingOptions(command)))).action(
    (model: string | undefined, prompt: string | undefined, flags: RunFlags) => run(model, prompt, flags),
  );
}

async function run(model: string | undefined, prompt: string | undefined, flags: RunFlags): Promise<void> {
  if (flags.session !== undefined && (whenFullOption(flags)?.how ?? "stop") !== "stop")
    throw new HundredweightError(
      "OPTION_INVALID",
      "--session and --when-full: an answer that outgrew its context is no session, which begins with its first token",
    );
  const target = runTarget(model, prompt);
  if (target.note !== undefined) note(target.note);
  const argument = target.prompt === "-" ? undefined : target.prompt;
  const input = new PromptInput({ argument, wait: flags.stdin === true || target.prompt === "-" });
  await withInterrupt(async (signal) => {
    // Whoever types sees the question before the model is loaded; what is piped in arrives meanwhile.
    const typed = process.stdin.isTTY ? await input.text(signal) : undefined;
    await probeOnFirstUse(target.path, flags);
    const before = memoryBefore();
    const began = performance.now();
    mark("run: options read, probe looked up");
    const opened = await loadShown(
      target.path,
      {
        ...loadOptions(flags),
        ...pastOptions(flags),
        ...profileOptions(flags),
        ...(flags.check && { check: true }),
        ...(flags.raw !== true && { text: "process" }),
        signal,
      },
      flags.progress,
    );
    const loadMs = performance.now() - began;
    mark("run: model open");
    try {
      warnAboutContext(opened);
      const result = await answer(opened, typed ?? (await input.text(signal)), flags, signal);
      const memory = memoryDocument(
        before,
        await opened.memory(),
        opened.info.weightBytes,
        opened.info.residency.budgetBytes,
      );
      const profile = await finishProfile(opened, flags, flags.threads);
      if (flags.json) printJson({ ...runDocument(result, loadMs, memory), ...(profile !== undefined && { profile }) });
      else {
        footer(result, opened.info.residency, flags.progress);
        if (profile !== undefined) process.stderr.write(profileTable(profile));
      }
    } finally {
      await opened.close();
    }
  }).finally(() => input.close());
}

async function answer(model: Model, text: string, flags: RunFlags, signal: AbortSignal): Promise<GenerationResult> {
  const progress = new Progress("prompt", { forced: flags.progress });
  const options = {
    ...generateOptions(flags),
    signal,
    onRolled: tellRolled,
    onProgress: (done: number, total: number) => progress.update(done, total),
  };
  let generation: Generation;
  let session: SessionFile | ChatSession | undefined;
  if (flags.raw || model.info.chatTemplate === undefined) {
    for (const name of ["system", "tools", "continue"] as const) {
      if (flags[name] === undefined) continue;
      throw new HundredweightError("OPTION_INVALID", `--${name} needs a chat template, and none is applied`);
    }
    if (flags.session === undefined) generation = model.generate(text, options);
    else {
      const kept = new SessionFile(model, flags.session);
      session = kept;
      generation = await kept.generate(text, options);
    }
  } else {
    const chat: ChatOptions = {
      ...options,
      ...(flags.tools !== undefined && { tools: flags.tools }),
      ...(flags.reasoningBudget !== undefined && { reasoningBudget: flags.reasoningBudget }),
      ...(flags.thinking === false && { variables: { enable_thinking: false } }),
    };
    const system = flags.system === undefined ? [] : [{ role: "system" as const, content: flags.system }];
    const begun = flags.continue === undefined ? [] : [{ role: "assistant" as const, content: flags.continue }];
    if (flags.session === undefined)
      generation = model.chat([...system, { role: "user", content: text }, ...begun], chat);
    else {
      if (flags.continue !== undefined)
        throw new HundredweightError("OPTION_INVALID", "--continue: with --session an empty prompt goes on");
      const kept = new ChatSession(model, flags.session);
      session = kept;
      generation = await kept.generate(text, flags.system, chat);
    }
  }
  const printer = new ReplyPrinter();
  try {
    for await (const event of generation.parts()) {
      progress.end();
      if (flags.json !== true) printer.print(event);
    }
  } finally {
    progress.end();
    printer.end();
  }
  const result = await generation.result();
  await session?.save(result);
  return result;
}

/** The JSON of DESIGN section 6. */
export function runDocument(result: GenerationResult, loadMs: number, memory: MemoryDocument): Record<string, unknown> {
  return {
    text: result.text,
    ...(result.reasoning !== "" && { reasoning: result.reasoning }),
    ...(result.toolCalls.length > 0 && { toolCalls: result.toolCalls }),
    ...(result.warnings.length > 0 && { warnings: result.warnings }),
    promptTokens: result.promptTokens,
    tokens: result.tokens,
    finishReason: result.finishReason,
    timings: { loadMs, ...result.timings },
    ...(result.drafts !== undefined && { drafts: result.drafts }),
    memory,
    ledger: result.ledger,
  };
}

export function footer(result: GenerationResult, { strategy, io }: ResidencyInfo, forced = false): void {
  if (!forced && process.stderr.isTTY !== true) return;
  const { prefillTps, decodeTps } = result.timings;
  process.stderr.write(
    `[prompt ${result.promptTokens.length} tokens, ${prefillTps.toFixed(1)}/s; ` +
      `answer ${result.tokens.length} tokens, ${decodeTps.toFixed(1)}/s; ${result.finishReason}; seed ` +
      `${result.seed}; weights ${strategy}, ${io}]\n` +
      draftLine(result.drafts) +
      streamingLine(result.ledger),
  );
}

const guessers: { readonly [source in keyof DraftCounts]-?: string } = {
  forced: "by the constraint",
  prediction: "predicted",
  lookup: "from the text",
  earlier: "from earlier answers",
  model: "by the small model",
  mtp: "by blocks of the file",
};

/** The guesses that were evaluated, by their source; empty when there were none. */
export function draftLine(drafts: DraftCounts = {}): string {
  const told = (Object.entries(drafts) as [keyof DraftCounts, DraftCount][]).map(
    ([source, { tried, right }]) => `${right} of ${tried} right ${guessers[source]}`,
  );
  return told.length === 0 ? "" : `[drafts: ${told.join(", ")}]\n`;
}

/** The cost of streamed weights for a pass of the answer; empty when nothing came from the disk. */
export function streamingLine(ledger: readonly LedgerEntry[]): string {
  const single = ledger.filter((entry) => entry.rows === 1);
  const passes = single.length > 0 ? single : ledger;
  const mean = (value: (entry: LedgerEntry) => number): number =>
    passes.reduce((sum, entry) => sum + value(entry), 0) / Math.max(1, passes.length);
  const diskBytes = mean((e) => e.diskBytes);
  if (diskBytes === 0) return "";
  const [stallMs, computeMs] = [mean((e) => e.stallMs), mean((e) => e.computeMs)];
  const [hits, misses] = [mean((e) => e.expertHits), mean((e) => e.expertMisses)];
  const experts = hits + misses === 0 ? "" : `, experts found ${((100 * hits) / (hits + misses)).toFixed(0)} %`;
  const rate = diskBytes / 1e6 / Math.max(1e-9, stallMs + computeMs);
  return (
    `[per pass: ${formatBytes(diskBytes)} from disk at ${rate.toFixed(2)} GB/s, ` +
    `${formatBytes(mean((e) => e.pinnedBytes))} ` +
    `from memory, compute ${computeMs.toFixed(0)} ms, waiting ${stallMs.toFixed(0)} ms${experts}]\n`
  );
}

export function warnAboutContext(model: Model): void {
  const { contextTokens, trainedContextTokens } = model.info;
  if (trainedContextTokens > 0 && contextTokens > trainedContextTokens) {
    warn(`--ctx ${contextTokens} is more than the ${trainedContextTokens} tokens the model was trained for`);
  }
}
