/**
 * The gain of guessing tokens ahead on a real model: kinds of prompts without and with drafts, in turn, greedy. The
 * tokens have to be equal. Prints tokens a pass, how many guesses were right, and the ratio of the speeds.
 *
 *   node dist/bench/drafts.js MODEL.gguf [--memory 30%] [--draft auto] [-r 1] [-n 200] [--kinds edit,chat]
 *       [--draft-model SMALL.gguf] [--apart] [--earlier] [--processes] [--temperature 0] [--least 0.97] [--json FILE]
 *
 * --memory: a size, or a share of the file that has to stream. Pairs are taken in alternating order; of several the
 * 95 % interval of the ratio is told, by the clock and by processor time. --least: exit code 1 where it begins below.
 * --apart: answers without drafts come from a second engine that was opened without, so that what blocks of the file
 * cost beside their guesses counts, and no prompt begins like another: times are of prompts and answers together.
 * --earlier: the answers of one kind are of the same owner, so all but the first are guessed from the ones before; else
 * each answer has an owner of its own. --processes: each answer comes from a process of its own, warmed up by another
 * prompt, as engines of one process have memory of different speed; without drafts it is opened without. Then --least
 * is about processor time, which other work on the machine changes less than the clock.
 */
import { statSync } from "node:fs";
import { parseBytes } from "../src/cli/options/options.js";
import { median } from "../src/cli/reports/statistics.js";
import type { DraftMode } from "../src/engine/drafts/drafter.js";
import { type LoadOptions, load } from "../src/library/model.js";
import { type AskedAnswer, type DraftAnswer, draftAnswer, draftAnswerApart } from "./support/draft-answer.js";
import { draftPrompts } from "./support/draft-prompts.js";
import { ratioInterval } from "./support/pairs.js";
import { commaList, readArguments, saveJson } from "./support/program.js";

const { values, path } = readArguments("drafts MODEL.gguf [--memory 30%] [--draft auto] [-r 1] [-n 200]", {
  memory: { type: "string" },
  draft: { type: "string", default: "auto" },
  "draft-model": { type: "string" },
  apart: { type: "boolean", default: false },
  earlier: { type: "boolean", default: false },
  processes: { type: "boolean", default: false },
  temperature: { type: "string", default: "0" },
  repetitions: { type: "string", short: "r", default: "1" },
  tokens: { type: "string", short: "n", default: "200" },
  kinds: { type: "string", default: Object.keys(draftPrompts).join(",") },
  least: { type: "string" },
  json: { type: "string" },
});
const share = /^(\d+)%$/.exec(values.memory ?? "")?.[1];
const weights = share === undefined ? undefined : Math.round((statSync(path).size * Number(share)) / 100);
const memory = share === undefined && values.memory !== undefined ? parseBytes(values.memory, "--memory") : undefined;
const drafts: DraftMode = values.draft === "auto" ? "auto" : Number(values.draft);

const options = (guesses: boolean): LoadOptions => ({
  contextTokens: 4096,
  ...(guesses && values["draft-model"] !== undefined && { draftModel: values["draft-model"] }),
  ...(!guesses && { drafts: "off" as const }),
  ...(memory !== undefined && { memoryBytes: memory }),
  ...(weights !== undefined && { weightsMemoryBytes: weights, io: "direct" as const }),
});

const model = values.processes ? undefined : await load(path, options(true));
const without = values.apart && !values.processes ? await load(path, options(false)) : model;

let asked = 0;
function answer(kind: string, mode: DraftMode, turn = 0): Promise<DraftAnswer> {
  const content = values.apart ? `${turn}. ${draftPrompts[kind]!}` : draftPrompts[kind]!;
  const ask: AskedAnswer = {
    content,
    drafts: mode,
    maxTokens: Number(values.tokens),
    temperature: Number(values.temperature),
    scope: values.earlier ? kind : `answer ${++asked}`,
  };
  const from = mode === "off" ? without : model;
  if (from !== undefined) return draftAnswer(from, ask);
  // The prompt of another kind, of another owner.
  const other = draftPrompts[kind === "extract" ? "chat" : "extract"]!;
  const warm = { ...ask, content: other, scope: "before" };
  return draftAnswerApart({ path, options: options(mode !== "off"), warm, asked: ask });
}

const tpsOf = ({ decodeTps, wholeTps }: DraftAnswer): number => (values.apart ? wholeTps : decodeTps);

const results: object[] = [];
try {
  // What is touched for the first time costs more; a process of its own does so for itself.
  if (!values.processes) await answer("chat", "off");
  if (values.apart && !values.processes) await answer("chat", drafts);
  for (const kind of commaList(values.kinds)) {
    const [plain, guessed]: [DraftAnswer[], DraftAnswer[]] = [[], []];
    for (let i = 0; i < Number(values.repetitions); i++) {
      const guessesFirst = i % 2 === 1;
      if (guessesFirst) guessed.push(await answer(kind, drafts, i));
      plain.push(await answer(kind, "off", i));
      if (!guessesFirst) guessed.push(await answer(kind, drafts, i));
    }
    const same = guessed.every(({ tokens }, i) => tokens.join() === plain[i]!.tokens.join());
    const ratios = guessed.map((one, i) => tpsOf(one) / tpsOf(plain[i]!));
    const cpuRatios = guessed.map(({ cpuSeconds }, i) => plain[i]!.cpuSeconds / cpuSeconds);
    const of = (answers: readonly DraftAnswer[], what: (one: DraftAnswer) => number): number =>
      median(answers.map(what));
    const result = {
      kind,
      tokens: plain[0]!.tokens.length,
      same,
      plainTps: of(plain, tpsOf),
      draftedTps: of(guessed, tpsOf),
      ratio: median(ratios),
      ...(ratios.length > 4 && { interval: ratioInterval(ratios), cpuInterval: ratioInterval(cpuRatios) }),
      ratioMin: Math.min(...ratios),
      ratioMax: Math.max(...ratios),
      tokensPerPass: of(guessed, ({ perPass }) => perPass),
      acceptance: of(guessed, ({ tried, right }) => (tried === 0 ? 0 : right / tried)),
    };
    results.push(result);
    console.log(
      `${kind.padEnd(8)} ${result.tokens} tokens, ${same ? "equal" : "DIFFERENT"}: ${result.plainTps.toFixed(2)} -> ` +
        `${result.draftedTps.toFixed(2)} tok/s, ${result.ratio.toFixed(2)} (${result.ratioMin.toFixed(2)}-` +
        `${result.ratioMax.toFixed(2)}); ${result.tokensPerPass.toFixed(2)} tokens a pass, ` +
        `${(100 * result.acceptance).toFixed(0)} % of the guesses right`,
    );
    for (const [of, interval] of [
      ["the speed", result.interval],
      ["processor time", result.cpuInterval],
    ] as const) {
      if (interval === undefined) continue;
      const { median: middle, low, high } = interval;
      console.log(
        `         ${of}: ${middle.toFixed(3)}, 95 % interval ${low.toFixed(3)} to ${high.toFixed(3)}, ` +
          `${ratios.length} pairs`,
      );
    }
    // Beside other work the clock says little.
    const shown = values.processes ? result.cpuInterval : result.interval;
    if (values.least !== undefined && shown !== undefined && shown.low < Number(values.least)) process.exitCode = 1;
    if (!same) process.exitCode = 1;
  }
} finally {
  await model?.close();
  if (without !== model) await without?.close();
}
saveJson(values.json, {
  model: path,
  memory: values.memory,
  drafts: values.draft,
  draftModel: values["draft-model"],
  results,
});
