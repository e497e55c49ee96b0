/** `--when-full`, `--keep`, `--discard`: what becomes of an answer that has filled its context. */
import type { Command } from "commander";
import { type FullWay, fullWays, type WhenFull } from "../../engine/when-full.js";
import { HundredweightError } from "../../errors.js";
import type { RolledEvent } from "../../link/protocol.js";
import { note } from "../terminal/output.js";
import { parseChoice, parseInteger } from "./options.js";

export interface WhenFullFlags {
  whenFull?: FullWay;
  contextShift?: boolean;
  keep?: number;
  discard?: number;
}

const most = 2 ** 27;

export function addWhenFullOptions(command: Command): Command {
  return command
    .option("--when-full <how>", "the answer ends (stop, default), goes on by a shift, or by a reread", (t) =>
      parseChoice(t, "--when-full", fullWays),
    )
    .option("--keep <tokens>", "... of a full context these first tokens stay; -1: the prompt", (t) =>
      parseInteger(t, "--keep", -1, most),
    )
    .option("--discard <tokens>", "... and so many behind them go (default: half of the others)", (t) =>
      parseInteger(t, "--discard", 0, most),
    )
    .option("--context-shift", "the same as --when-full shift");
}

/** @throws OPTION_INVALID */
export function whenFullOption({ whenFull, contextShift, keep, discard }: WhenFullFlags): WhenFull | undefined {
  const how = whenFull ?? (contextShift === true ? "shift" : undefined);
  if (contextShift === true && how !== "shift")
    throw new HundredweightError("OPTION_INVALID", `--context-shift and --when-full ${how}: one of them`);
  // In llama.cpp's words `--keep` may stand alone, and means nothing then.
  if (how === undefined) return undefined;
  return { how, ...(keep !== undefined && { keep }), ...(discard !== undefined && { discard }) };
}

/** Says on stderr that an answer went on. */
export function tellRolled({ how, keep, discard, leftOut }: RolledEvent): void {
  const done = how === "shift" ? "the others moved" : "the others were read again";
  note(`the context was full: ${discard} tokens behind the first ${keep} were left out, ${done} (${leftOut} in all)`);
}
