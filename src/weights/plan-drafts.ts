/** Predicts what guesses of the next tokens gain: passes of few rows, and seconds a token for kinds of text. */
import type { MachineProfile } from "./machine.js";
import { type PlanModel, sumBytes } from "./plan-model.js";
import { expertShare, kernelShare, rowTimes, unhiddenRead } from "./plan-predict.js";
import type { Plan } from "./plan-types.js";
import { PromptCompute } from "./plan-work.js";

/** Rows of a pass that are told: the newest token and guesses behind it. */
const toldRows = [1, 2, 4, 8, 16, 32] as const;

export interface PassOfRows {
  readonly rows: number;
  readonly seconds: number;
}

/** A kind of text, by how likely a guess is right where those before it are. */
export interface DraftedText {
  readonly text: "edit" | "talk" | "code";
  readonly odds: number;
  /** Rows with which a token takes least time; 1: no guesses. */
  readonly rows: number;
  readonly tokensPerPass: number;
  readonly secondsPerToken: number;
}

/**
 * Odds of look-ups that gave what was counted with Qwen2.5-Coder-1.5B, greedy, at 4, 8 and 16 guesses: a file edited
 * and given back 4.5, 7.9 and 12.5 tokens a pass, an explanation 1.38, 1.42 and 1.44, new code 1.24, 1.26 and 1.26.
 */
const texts = [
  { text: "edit", odds: 0.97 },
  { text: "talk", odds: 0.29 },
  { text: "code", odds: 0.2 },
] as const;

/** Blocks of the file that guess, as far as the plan binds them. */
export interface PlannedBlocks {
  readonly blocks: number;
  /** Their weights in memory, without experts, which are in slots. */
  readonly bytes: number;
  /** A guess, its logits included. */
  readonly secondsPerGuess: number;
}

export interface DraftPrediction {
  /** Absent: the file has none, or they are not worth their memory. */
  readonly blocks?: PlannedBlocks;
  readonly passes: readonly PassOfRows[];
  readonly texts: readonly DraftedText[];
}

/** Predicts passes of few rows, and tokens with the guesses that pay. */
export function predictDrafts(model: PlanModel, machine: MachineProfile, plan: Plan): DraftPrediction {
  const secondsOf = passSeconds(model, machine, plan);
  const most = Math.min(toldRows.at(-1)!, plan.maxRows);
  const blocks = plannedBlocks(model, machine);
  return {
    ...(blocks !== undefined && { blocks }),
    passes: toldRows.filter((rows) => rows <= most).map((rows) => ({ rows, seconds: secondsOf(rows) })),
    texts: texts.map((kind) => ({ ...kind, ...bestOf(kind.odds, most, secondsOf) })),
  };
}

/** Fewer rows are taken if they are slower by less than this: figures are a little wrong. */
const asGood = 1.04;

/** The fewest rows that are about as good as the best. */
function bestOf(odds: number, most: number, secondsOf: (rows: number) => number) {
  let [expected, all] = [0, 1];
  const choices = Array.from({ length: most }, (_, guesses) => {
    expected += all;
    all *= odds;
    return { rows: 1 + guesses, tokensPerPass: expected, secondsPerToken: secondsOf(1 + guesses) / expected };
  });
  const least = Math.min(...choices.map(({ secondsPerToken }) => secondsPerToken));
  return choices.find(({ secondsPerToken }) => secondsPerToken <= asGood * least)!;
}

function plannedBlocks(model: PlanModel, machine: MachineProfile): PlannedBlocks | undefined {
  const { programs, beside, trunk, expertLayers, passLayers, topK } = model;
  if (programs.length === 0) return undefined;
  const experts = expertLayers
    .filter((layer) => !passLayers.includes(layer))
    .reduce((sum, layer) => sum + Math.min(topK, layer.experts) * layer.bytesPerExpert, 0);
  const bytes = sumBytes(beside);
  // A guess goes through one of them, and through the head.
  const head = sumBytes(trunk.filter(({ role }) => role === "head"));
  const memory = machine.memoryReadBytesPerSecond;
  const seconds = (bytes / programs.length + head) / (kernelShare * memory);
  const secondsPerGuess = seconds + experts / programs.length / (expertShare * memory);
  return { blocks: programs.length, bytes, secondsPerGuess };
}

/** The seconds of a pass of so many rows; of one row what the plan predicts for a token. */
function passSeconds(model: PlanModel, machine: MachineProfile, plan: Plan): (rows: number) => number {
  const { prediction, pinned, ring, slotClasses } = plan;
  const pinnedBytes = model.trunk.reduce((sum, m, i) => sum + pinned[i]! * m.slices.bytes, 0);
  const diskOf = (rows: number): number =>
    rowTimes(
      {
        ...{ model, machine, ring, slotClasses },
        expertsResident: plan.strategy === "resident",
        trunkStreamedBytes: model.trunkBytes - pinnedBytes,
      },
      prediction.passBytes,
      0,
    )(rows).disk;
  const compute = new PromptCompute(model.description, machine);
  const oneExpertBytes = compute.expertUse(1).bytes;
  return (rows) => {
    if (rows === 1) return prediction.secondsPerToken;
    // Experts that the first row does not choose are read as well, from the disk or from memory.
    const experts = compute.expertUse(rows);
    const more = (experts.bytes - oneExpertBytes) / (expertShare * machine.memoryReadBytesPerSecond);
    const memory = prediction.computeSeconds + more;
    const products = compute.answerSeconds(rows) + experts.seconds + rows * compute.valueSeconds;
    // Few rows may as well be that many passes of one.
    const work = Math.min(rows * prediction.computeSeconds, products + unhiddenRead * memory);
    return Math.max(prediction.secondsPerToken + (diskOf(rows) - diskOf(1)), memory, work);
  };
}
