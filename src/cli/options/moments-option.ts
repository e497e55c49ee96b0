/** Where the moments of a calibration lie, by the options of those who quantize. */
import { existsSync } from "node:fs";
import { type Moments, momentsPath, openMoments } from "../../compress/moments.js";
import { HundredweightError } from "../../errors.js";

export interface MomentsFlags {
  readonly imatrix?: string;
  readonly moments?: string;
  /** `stock`: none are taken; `best`: without any it is an error. */
  readonly quality?: string;
}

/** @throws OPTION_INVALID for `best` without any, what opening them throws */
export function momentsOf({ quality, moments, imatrix }: MomentsFlags): Moments | undefined {
  if (quality === "stock") return undefined;
  const beside = imatrix === undefined ? undefined : momentsPath(imatrix);
  const path = moments ?? (beside !== undefined && existsSync(beside) ? beside : undefined);
  if (path !== undefined) return openMoments(path);
  if (quality === undefined) return undefined;
  throw new HundredweightError(
    "OPTION_INVALID",
    "--quality best needs the moments of a calibration: calibrate MODEL TEXT -o model.imatrix.gguf, then " +
      "--imatrix model.imatrix.gguf",
  );
}
