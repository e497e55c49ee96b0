/** Results that would replace what is read. */
import { existsSync, realpathSync } from "node:fs";
import { HundredweightError } from "../../errors.js";
import type { Checkpoint } from "../../formats/types.js";

/** @throws OPTION_INVALID where `to` is one of the model's files */
export function refuseSelf({ files }: Pick<Checkpoint, "files">, to: string): void {
  if (!existsSync(to) || !files.some(({ path }) => realpathSync(path) === realpathSync(to))) return;
  throw new HundredweightError("OPTION_INVALID", `${to}: is the model that is read; write another file`);
}
