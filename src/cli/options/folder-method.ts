/** The options of `quantize --method`: which form a folder's matrices get. */
import type { Command } from "commander";
import { openMoments } from "../../compress/moments.js";
import { type FolderQuantization, int8Kinds } from "../../convert/index.js";
import { HundredweightError } from "../../errors.js";
import { parseChoice, parseInteger, parseNumber } from "./options.js";

export const folderMethods = ["gptq", "awq", "int8", "nf4", "fp4"] as const;
export type FolderMethodName = (typeof folderMethods)[number];

export interface FolderFlags {
  readonly method?: FolderMethodName;
  readonly bits?: number;
  readonly groupSize?: number;
  readonly descAct?: boolean;
  readonly sym?: boolean;
  readonly per?: (typeof int8Kinds)[number];
  readonly damp?: number;
  readonly doubleQuant?: boolean;
  readonly moments?: string;
  readonly threads?: number;
}

export function withFolderOptions(command: Command): Command {
  return command
    .option("--method <name>", `instead of a type: a Hugging Face folder, ${folderMethods.join(", ")}`, (t) =>
      parseChoice(t, "--method", folderMethods),
    )
    .option("--bits <n>", "with --method gptq: 2, 3, 4 or 8 (default 4)", (t) => parseInteger(t, "--bits", 2, 8))
    .option("--group-size <n>", "with --method: columns that share a scale, -1 for all of a row (default 128)", (t) =>
      parseInteger(t, "--group-size", -1, 65536),
    )
    .option("--desc-act", "with --method gptq: groups of columns that matter alike, with an index")
    .option("--sym", "with --method: zero is the middle of the codes (default, but for awq)")
    .option("--no-sym", "with --method: each group has a code of its own for zero")
    .option("--per <what>", "with --method int8: what has a scale, row being LLM.int8() (default row)", (t) =>
      parseChoice(t, "--per", int8Kinds),
    )
    .option(
      "--damp <f>",
      "with --method gptq: means that are added to the diagonal of the moments (default 0.01)",
      (t) => parseNumber(t, "--damp", 1e-6, 10),
    )
    .option("--double-quant", "with --method nf4 or fp4: scales are quantized as well");
}

/** @throws OPTION_INVALID, what opening moments throws */
export function folderQuantization(flags: FolderFlags): FolderQuantization {
  const threads = flags.threads !== undefined && { threads: flags.threads };
  switch (flags.method) {
    case "nf4":
    case "fp4":
      refuse(flags, ["bits", "groupSize", "descAct", "damp", "moments", "sym", "per"]);
      return { codes: flags.method, double: flags.doubleQuant === true };
    case "int8":
      refuse(flags, ["bits", "descAct", "damp", "moments", "doubleQuant"]);
      if (flags.per !== "group") refuse(flags, ["groupSize"]);
      if ((flags.per ?? "row") === "row") refuse(flags, ["sym"]);
      return {
        method: "int8",
        per: flags.per ?? "row",
        group: groupOf(flags),
        symmetric: flags.sym ?? true,
        ...threads,
      };
    case "awq": {
      refuse(flags, ["descAct", "damp", "doubleQuant", "per"]);
      if ((flags.bits ?? 4) !== 4)
        throw new HundredweightError("OPTION_INVALID", `--bits ${flags.bits}: AWQ's form has 4`);
      if (flags.moments === undefined)
        throw new HundredweightError(
          "OPTION_INVALID",
          "--method awq needs --moments, as `calibrate` writes them: they say which columns matter",
        );
      const moments = openMoments(flags.moments);
      return { method: "awq", group: groupOf(flags), symmetric: flags.sym ?? false, moments, ...threads };
    }
    default:
      return gptq(flags);
  }
}

function groupOf({ groupSize = 128 }: FolderFlags): number {
  if (groupSize !== -1 && (groupSize < 32 || groupSize % 32 !== 0))
    throw new HundredweightError("OPTION_INVALID", `--group-size ${groupSize}: a multiple of 32, or -1`);
  return Math.max(0, groupSize);
}

function gptq(flags: FolderFlags): FolderQuantization {
  refuse(flags, ["doubleQuant", "per"]);
  const { bits = 4 } = flags;
  if (bits !== 2 && bits !== 3 && bits !== 4 && bits !== 8)
    throw new HundredweightError("OPTION_INVALID", `--bits ${bits}: GPTQ has 2, 3, 4 and 8`);
  if (flags.descAct && flags.moments === undefined)
    throw new HundredweightError("OPTION_INVALID", "--desc-act needs --moments: they say which columns matter");
  return {
    method: "gptq",
    bits,
    group: groupOf(flags),
    symmetric: flags.sym ?? true,
    descAct: flags.descAct === true,
    damp: flags.damp ?? 0.01,
    ...(flags.moments !== undefined && { moments: openMoments(flags.moments) }),
    ...(flags.threads !== undefined && { threads: flags.threads }),
  };
}

/** An option that a method does not know would be ignored silently. */
function refuse(flags: FolderFlags, names: readonly (keyof FolderFlags)[]): void {
  const given = names.find((name) => flags[name] !== undefined);
  if (given === undefined) return;
  const option = given.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  throw new HundredweightError("OPTION_INVALID", `--${option} says nothing of --method ${flags.method}`);
}
