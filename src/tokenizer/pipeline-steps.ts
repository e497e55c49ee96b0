/** Steps of tokenizer.json as JSON, and what is said of those that are not known. */
import { HundredweightError } from "../errors.js";
import { isObject } from "../json-object.js";

export type Step = Readonly<Record<string, unknown>>;

/** The steps of a sequence, those of nested ones in their place. */
export function flattened(step: Step | null, list: string, depth = 0): Step[] {
  if (step === null) return [];
  if (step.type !== "Sequence") return [step];
  const inner = step[list];
  if (!Array.isArray(inner) || depth > 8) throw unsupported("a sequence", "without steps");
  return inner.filter(isObject).flatMap((each) => flattened(each, list, depth + 1));
}

export function unsupported(what: string, which: unknown): HundredweightError {
  const shown = String(typeof which === "object" ? JSON.stringify(which) : which).slice(0, 100);
  return new HundredweightError("TOKENIZER_UNSUPPORTED", `tokenizer.json: ${what} '${shown}' is not supported`);
}
