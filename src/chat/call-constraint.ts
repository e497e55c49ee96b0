/** Makes the constraint of an answer in which tools may be called, or have to be. */
import type { Constraint } from "../sampling/constraint/source.js";
import type { ReplyStart } from "./conversation.js";
import { holdsAllCalls, shapeOfCalls } from "./dialects/shape.js";
import { startsOfCalls } from "./dialects/starts.js";
import type { ToolShape } from "./dialects/types.js";

export interface AskedCalls {
  readonly tools: readonly ToolShape[];
  /** The answer is a call: of any tool, or of the one with this name. */
  readonly mustCall?: true | string | undefined;
  /** One call and no more. */
  readonly single: boolean;
}

/**
 * Calls have the form of the dialect and arguments that their schemas allow; what stands before them is free.
 * @param marks around thinking
 * @returns undefined where nothing can be called
 */
export function constraintOfCalls(
  { dialect, begun, thinks }: ReplyStart,
  marks: { readonly open: readonly string[]; readonly close: readonly string[] },
  { tools, mustCall, single }: AskedCalls,
): Constraint | undefined {
  const wanted = typeof mustCall === "string" ? tools.filter(({ name }) => name === mustCall) : tools;
  const [form] = dialect.forms;
  if (form === undefined || wanted.length === 0) return undefined;
  const { open, close } = marks;
  if (mustCall !== undefined) {
    const shape = shapeOfCalls(dialect, wanted, { single });
    const thinking = thinks && { thinking: { opened: true, open, close } };
    return shape && { kind: "shape", shape, begun, ...thinking };
  }
  // Without marks around all calls each of them is looked for by itself.
  const shape = shapeOfCalls(dialect, wanted, { single: single || !holdsAllCalls(form) });
  // What is thought in messages with headers is no place for a header.
  const thinking = dialect.messages === undefined && { thinking: { opened: thinks, open, close } };
  const starts = startsOfCalls(dialect, wanted);
  return shape && { kind: "shape", shape, starts, once: single, ...(begun !== "" && { begun }), ...thinking };
}
