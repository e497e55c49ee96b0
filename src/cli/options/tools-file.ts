/** The file of `--tools`. */
import { HundredweightError } from "../../errors.js";
import { readTextSync } from "../../regular-file.js";

/** @throws OPTION_INVALID, FILE_IO */
export function readTools(path: string): unknown[] {
  const text = readTextSync(path);
  try {
    const tools: unknown = JSON.parse(text);
    if (Array.isArray(tools)) return tools;
  } catch {
    // Said below.
  }
  throw new HundredweightError("OPTION_INVALID", `--tools: ${path} holds no JSON list`);
}
