/** Tells people about the parts of a constraint that are not enforced. */
import type { LeftOut } from "./grammar/rule-book.js";

/** A warning that names the parts that are not enforced. */
export function leftOutText(leftOut: readonly LeftOut[]): string {
  const shown = leftOut.slice(0, 10).map(({ keyword, path }) => `${keyword} at ${path}`);
  return `not enforced but checked afterwards: ${shown.join(", ")}${leftOut.length > 10 ? " ..." : ""}`;
}
