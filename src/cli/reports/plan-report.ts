/** A plan as `plan` prints it: a table for people, one document for programs. */
import { chatTemplates } from "../../chat/template-source.js";
import { earlierAnswerBytes } from "../../engine/drafts/earlier-answers.js";
import { planOptions } from "../../engine/resources.js";
import type { Checkpoint } from "../../formats/types.js";
import type { Plan, Planner } from "../../weights/plan.js";
import { type DraftedText, type DraftPrediction, predictDrafts } from "../../weights/plan-drafts.js";
import { textProcessBytes } from "../../weights/plan-fixed.js";
import type { Residency } from "../../weights/residency.js";
import { type Colour, coloured } from "../terminal/colour.js";
import { formatBytes, standardOutput } from "../terminal/output.js";
import { printable } from "../terminal/printable.js";
import { duration } from "../terminal/progress.js";
import { type Cell, type TableOptions, table } from "../terminal/table.js";
import { wrap } from "../terminal/wrap.js";
import { strategyColours } from "./strategy-colours.js";

/** Where each rate comes from: given, measured on a day, or guessed. */
export interface RateSources {
  readonly disk: string;
  readonly memory: string;
  readonly gemm: string;
}

export const guessed = "guessed, not measured";

export function planDocument(
  plan: Plan | undefined,
  budgetBytes: number,
  minimumBudgetBytes: number,
  advice: readonly string[],
  drafts?: DraftPrediction,
) {
  if (plan === undefined) return { fits: false, budgetBytes, minimumBudgetBytes, advice };
  const { bytes, prediction } = plan;
  return {
    fits: true,
    strategy: plan.strategy,
    budgetBytes,
    totalBytes: plan.totalBytes,
    pinnedBytes: bytes.pinned,
    adapterBytes: bytes.adapters,
    expertSlotBytes: bytes.expertSlots,
    ringBytes: bytes.ring,
    kvBytes: bytes.kv,
    kvColdBytes: plan.kvColdBytes,
    activationBytes: bytes.activations,
    tokenizerBytes: bytes.tokenizer,
    constraintBytes: bytes.constraints,
    pastBufferBytes: bytes.pasts,
    runtimeBytes: bytes.runtime,
    contextTokens: plan.contextTokens,
    kvType: plan.kvType,
    maxRows: plan.maxRows,
    chunkRows: prediction.chunkRows,
    passBytes: prediction.passBytes,
    streamedBytesPerPass: prediction.streamedBytesPerPass,
    tiles: plan.program.length,
    expertHitRate: prediction.expertHitRate,
    predictedSecondsPerToken: prediction.secondsPerToken,
    predictedFirstPassSeconds: prediction.firstPassSeconds,
    predictedComputeSeconds: prediction.computeSeconds,
    predictedPrefillTokensPerSecond: prediction.prefillTokensPerSecond,
    ...(drafts !== undefined && { predictedDrafts: { ...drafts, earlierAnswerBytes } }),
    minimumBudgetBytes,
    notes: plan.notes,
    advice,
  };
}

const unmeasured =
  "times rest on guessed rates and may be wrong several times over; `hundredweight doctor --probe` measures";

const strategies = {
  resident: "everything in memory",
  streamed: "part of the weights in memory, the rest streamed at every pass",
  experts: "trunk in memory, experts in slots, missing ones read when they are chosen",
} as const;

/** Says what --io auto chooses, and why. */
const ways = {
  mmap: "the file is mapped: small, or in the page cache already",
  direct: "past the page cache, into huge pages of our own",
  buffered: "through the page cache, which is dropped again; faster on this disk, or direct reads are refused",
} as const;

export function planTable(
  checkpoint: Checkpoint,
  { machine, model }: Planner,
  plan: Plan,
  io: Residency["io"],
  minimum: number,
  advice: readonly string[],
  sources: RateSources,
  shape: TableOptions = standardOutput(),
): string {
  const { bytes, prediction: p } = plan;
  const rows: Cell[][] = [];
  const row = (name: string, value: string, remark = "", colour: Colour = "bold") =>
    rows.push([{ text: name, colour }, value, { text: remark, colour: "dim" }]);
  const seconds = (s: number) => (s < 1 ? `${(1000 * s).toFixed(0)} ms` : `${s.toFixed(1)} s`);
  const gbs = (rate: number) => `${(rate / 1e9).toFixed(1)} GB/s`;
  row("reads", io, ways[io]);
  row("budget", formatBytes(plan.budgetBytes), `works from ${formatBytes(minimum)}`);
  row("  pinned", formatBytes(bytes.pinned), "", "green");
  if (bytes.adapters > 0) row("  adapters", formatBytes(bytes.adapters), "", "green");
  for (const c of plan.slotClasses)
    row(
      "  expert slots",
      formatBytes(c.slots * c.slotBytes),
      `${c.slots} of ${c.experts}, ${formatBytes(c.slotBytes)} each`,
      "green",
    );
  if (bytes.ring > 0)
    row("  ring", formatBytes(bytes.ring), `${plan.ring.slots} tiles of ${formatBytes(plan.ring.slotBytes)}`, "orange");
  const cold = plan.kvColdBytes === 0 ? "" : `, and ${formatBytes(plan.kvColdBytes)} on the disk`;
  row("  KV cache", formatBytes(bytes.kv), `${plan.contextTokens} tokens, ${plan.kvType}${cold}`);
  row("  activations", formatBytes(bytes.activations), `passes of up to ${plan.maxRows} rows`);
  row("  tokenizer", formatBytes(bytes.tokenizer));
  row("  constraints", formatBytes(bytes.constraints), "for answers held to a schema or a grammar");
  if (bytes.pasts > 0) row("  pasts", formatBytes(bytes.pasts), "buffers between the KV cache and the disk");
  const texts = textProcessBytes(model.description.config.vocab);
  row(
    "  runtime",
    formatBytes(bytes.runtime),
    `${formatBytes(earlierAnswerBytes)} of it for earlier answers that guess` +
      (countsTexts(checkpoint) ? `, ${formatBytes(texts)} for a process of templates and texts` : ""),
  );
  row("  left", formatBytes(plan.budgetBytes - plan.totalBytes));
  rows.push([]);
  row("used per token", formatBytes(p.passBytes));
  if (p.streamedBytesPerPass > 0)
    row(
      "  from disk",
      formatBytes(p.streamedBytesPerPass),
      plan.slotClasses.length === 0 ? "" : `${Math.round(100 * p.expertHitRate)} % of experts found in slots`,
      "orange",
    );
  row(
    "decode",
    `${seconds(p.secondsPerToken)}`,
    `a token (compute alone ${seconds(p.computeSeconds)}, first ${seconds(p.firstPassSeconds)})`,
  );
  if (p.settledAfterSeconds > 0)
    row(
      "  from cold",
      `${seconds(p.coldSecondsPerToken)}`,
      `a token; slots fill by themselves within ${seconds(p.settledAfterSeconds)} of a disk that does nothing else`,
    );
  if (model.description.program.outputs.logits !== undefined) {
    const { passes, texts, blocks } = predictDrafts(model, machine, plan);
    if (blocks !== undefined)
      row(
        "  blocks guess",
        seconds(blocks.secondsPerGuess),
        `a guess; ${formatBytes(blocks.bytes)} of weights in memory`,
      );
    for (const kind of texts) row(`  ${textNames[kind.text]}`, seconds(kind.secondsPerToken), draftRemark(kind));
    const told = passes.slice(2).map((pass) => `${pass.rows}: ${seconds(pass.seconds)}`);
    if (passes[1] !== undefined) row("  a pass of 2", seconds(passes[1].seconds), `rows; ${told.join(", ")}`);
  }
  row("prefill", `${p.prefillTokensPerSecond.toFixed(1)} /s`, `in chunks of ${p.chunkRows} tokens`);
  row("disk", gbs(machine.diskReadBytesPerSecond), sources.disk);
  row("memory", gbs(machine.memoryReadBytesPerSecond), `${sources.memory}, ${machine.threads} threads`);
  row("products", `${(machine.gemmOpsPerSecond / 1e9).toFixed(0)} GOP/s`, sources.gemm);
  const counts = [sources.memory, sources.gemm, ...(p.streamedBytesPerPass > 0 ? [sources.disk] : [])];
  const { edge, colours = false } = shape;
  const heading = `${checkpoint.path}: ${formatBytes(checkpoint.tensorBytes)} of weights; `;
  const held = strategies[plan.strategy];
  const first = wrap(printable(heading + held), edge);
  // The end of the sentence in its colour, where it lies on one line.
  const [before, after] = first.endsWith(held) ? [first.slice(0, -held.length), held] : [first, ""];
  const lines = [before + coloured(strategyColours[plan.strategy], after, colours), ""];
  lines.push(table([{ least: 16 }, { align: "right", least: 12 }, { wrap: true }], rows, shape).trimEnd());
  const say = (label: string, text: string, colour: Colour) => {
    const wrapped = wrap(`${label}: ${printable(text)}`, edge, { hanging: 2 });
    lines.push(coloured(colour, `${label}:`, colours) + wrapped.slice(label.length + 1));
  };
  if (counts.includes(guessed)) say("note", unmeasured, "dim");
  for (const note of plan.notes) say("note", note, "dim");
  for (const line of advice) say("advice", line, "cyan");
  lines.push(wrap(answerTime(p.secondsPerToken), edge));
  return `${lines.join("\n")}\n`;
}

const textNames = { edit: "a file edited", talk: "a talk", code: "new code" } as const;

/** Says what drafts would do; without them every kind of text takes as long. */
function draftRemark({ odds, rows, tokensPerPass }: DraftedText): string {
  const right = `${Math.round(100 * odds)} % of drafts right: `;
  return right + (rows === 1 ? "none pays" : `${tokensPerPass.toFixed(1)} tokens in ${rows} rows`);
}

/** Tokens of an answer that people can imagine: a page. */
const usualAnswer = 300;

/** Says what the rate means to who waits for it. */
export function answerTime(secondsPerToken: number): string {
  const rate = 1 / secondsPerToken;
  const digits = rate < 10 ? 1 : 0;
  const said = rate < 0.1 ? `a token in ${duration(1000 * secondsPerToken)}` : `${rate.toFixed(digits)} tokens/s`;
  const takes = duration(1000 * Math.max(1, usualAnswer * secondsPerToken));
  return `about ${said}: a ${usualAnswer}-token answer takes ${takes}`;
}

/** Whether a process for texts runs beside the engine of `run` and `chat`. */
export function countsTexts({ metadata }: Checkpoint): boolean {
  const { textProcess = false } = planOptions({ textProcess: "templates" }, chatTemplates(metadata).get("default"));
  return textProcess;
}
