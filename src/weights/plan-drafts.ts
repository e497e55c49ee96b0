/** Predicts what guesses of the next tokens gain: passes of few rows, and seconds a token for kinds of text. */
import type { MachineProfile } from "./machine.js";
import type { PlanModel } from "./plan-model.js";
import { expertShare, rowTimes } from "./plan-predict.js";
import type { Plan } from "./plan-types.js";

/** Rows of a pass that are told: the newest token and guesses behind it. */
const toldRows = [1, 2, 4, 8, 16, 32] as const;

/** Unpacking weights once for few rows costs as much arithmetic as this many (decision 0004: 3 to 8). */
const unpackRows = 5;

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

export interface DraftPrediction {
  readonly passes: readonly PassOfRows[];
  readonly texts: readonly DraftedText[];
}

/** Predicts passes of few rows, and tokens with the guesses that pay. */
export function predictDrafts(model: PlanModel, machine: MachineProfile, plan: Plan): DraftPrediction {
  const secondsOf = passSeconds(model, machine, plan);
  const most = Math.min(toldRows.at(-1)!, plan.maxRows);
  return {
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

/** The seconds of a pass of so many rows; of one row what the plan predicts for a token. */
function passSeconds(model: PlanModel, machine: MachineProfile, plan: Plan): (rows: number) => number {
  const { prediction, pinned, ring, slotClasses } = plan;
  const pinnedBytes = model.trunk.reduce((sum, m, i) => sum + pinned[i]! * m.slices.bytes, 0);
  const timesOf = rowTimes(
    {
      ...{ model, machine, ring, slotClasses },
      expertsResident: plan.strategy === "resident",
      trunkStreamedBytes: model.trunkBytes - pinnedBytes,
    },
    prediction.passBytes,
    unpackRows,
  );
  const one = timesOf(1);
  const { topK, passLayers } = model;
  const missedShare = passLayers.length === 0 ? 0 : 1 - topK / passLayers[0]!.experts;
  const expertBytes = passLayers.reduce((sum, { experts, bytesPerExpert }) => sum + experts * bytesPerExpert, 0);
  return (rows) => {
    if (rows === 1) return prediction.secondsPerToken;
    const { work, disk } = timesOf(rows);
    // Experts that the first row does not choose are read as well, from the disk or from memory.
    const more = expertBytes * (missedShare - missedShare ** rows);
    const memory = more / (expertShare * machine.memoryReadBytesPerSecond);
    return Math.max(prediction.secondsPerToken + (disk - one.disk), prediction.computeSeconds + memory, work);
  };
}
