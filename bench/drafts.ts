/**
 * The gain of guessing tokens ahead on a real model: kinds of prompts without and with drafts, in turn, greedy. The
 * tokens have to be equal. Prints tokens a pass, how many guesses were right, and the ratio of the speeds.
 *
 *   node dist/bench/drafts.js MODEL.gguf [--memory 30%] [--draft auto] [-r 1] [-n 200] [--kinds edit,chat]
 *       [--draft-model SMALL.gguf] [--apart] [--earlier] [--least 0.97] [--json FILE]
 *
 * --memory: a size, or a share of the file that has to stream. Pairs are taken in alternating order; of several the
 * 95 % interval of the ratio is told. --least: exit code 1 where it begins below. --apart: answers without drafts come
 * from a second engine that was opened without, so that what blocks of the file cost beside their guesses counts, and
 * no prompt begins like another: times are of prompts and answers together. --earlier: the answers of one kind are of
 * the same owner, so all but the first are guessed from the ones before; else each answer has an owner of its own.
 */
import { statSync } from "node:fs";
import { parseBytes } from "../src/cli/options/options.js";
import { median } from "../src/cli/reports/statistics.js";
import type { DraftMode } from "../src/engine/drafts/drafter.js";
import { load, type Model } from "../src/library/model.js";
import { draftPrompts } from "./support/draft-prompts.js";
import { ratioInterval } from "./support/pairs.js";
import { commaList, readArguments, saveJson } from "./support/program.js";

const { values, path } = readArguments("drafts MODEL.gguf [--memory 30%] [--draft auto] [-r 1] [-n 200]", {
  memory: { type: "string" },
  draft: { type: "string", default: "auto" },
  "draft-model": { type: "string" },
  apart: { type: "boolean", default: false },
  earlier: { type: "boolean", default: false },
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

interface Answer {
  readonly tokens: readonly number[];
  readonly tps: number;
  /** Tokens of a pass. */
  readonly perPass: number;
  readonly tried: number;
  readonly right: number;
}

const open = (guesses: boolean): Promise<Model> =>
  load(path, {
    contextTokens: 4096,
    ...(guesses && values["draft-model"] !== undefined && { draftModel: values["draft-model"] }),
    ...(!guesses && { drafts: "off" as const }),
    ...(memory !== undefined && { memoryBytes: memory }),
    ...(weights !== undefined && { weightsMemoryBytes: weights, io: "direct" as const }),
  });

const model = await open(true);
const without = values.apart ? await open(false) : model;

let asked = 0;
async function answer(kind: string, mode: DraftMode, turn = 0): Promise<Answer> {
  const content = values.apart ? `${turn}. ${draftPrompts[kind]!}` : draftPrompts[kind]!;
  const messages = [{ role: "user" as const, content }];
  const from = mode === "off" ? without : model;
  const began = performance.now();
  const made = from.chat(messages, {
    ...{ temperature: 0, maxTokens: Number(values.tokens), drafts: mode },
    scope: values.earlier ? kind : `answer ${++asked}`,
  });
  const { tokens, timings, ledger, promptTokens } = await made.result();
  const passes = ledger.filter(({ position }) => position >= promptTokens.length);
  const sum = (of: (pass: (typeof passes)[number]) => number): number =>
    passes.reduce((all, pass) => all + of(pass), 0);
  const [tried, right] = [sum((pass) => pass.drafts), sum((pass) => pass.acceptedDrafts)];
  const seconds = (performance.now() - began) / 1000;
  const tps = values.apart ? tokens.length / seconds : timings.decodeTps;
  return { tokens, tps, perPass: (passes.length + right) / passes.length, tried, right };
}

const results: object[] = [];
try {
  // What is touched for the first time costs more.
  await answer("chat", "off");
  if (values.apart) await answer("chat", drafts);
  for (const kind of commaList(values.kinds)) {
    const [plain, guessed]: [Answer[], Answer[]] = [[], []];
    for (let i = 0; i < Number(values.repetitions); i++) {
      const guessesFirst = i % 2 === 1;
      if (guessesFirst) guessed.push(await answer(kind, drafts, i));
      plain.push(await answer(kind, "off", i));
      if (!guessesFirst) guessed.push(await answer(kind, drafts, i));
    }
    const same = guessed.every(({ tokens }, i) => tokens.join() === plain[i]!.tokens.join());
    const ratios = guessed.map(({ tps }, i) => tps / plain[i]!.tps);
    const of = (answers: readonly Answer[], what: (one: Answer) => number): number => median(answers.map(what));
    const result = {
      kind,
      tokens: plain[0]!.tokens.length,
      same,
      plainTps: of(plain, ({ tps }) => tps),
      draftedTps: of(guessed, ({ tps }) => tps),
      ratio: median(ratios),
      ...(ratios.length > 4 && { interval: ratioInterval(ratios) }),
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
    if (result.interval !== undefined) {
      const { low, high } = result.interval;
      console.log(
        `         95 % interval of the ratio ${low.toFixed(3)} to ${high.toFixed(3)}, ${ratios.length} pairs`,
      );
      if (values.least !== undefined && low < Number(values.least)) process.exitCode = 1;
    }
    if (!same) process.exitCode = 1;
  }
} finally {
  await model.close();
  if (values.apart) await without.close();
}
saveJson(values.json, {
  model: path,
  memory: values.memory,
  drafts: values.draft,
  draftModel: values["draft-model"],
  results,
});
