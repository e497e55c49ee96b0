/** Makes the constraint of an answer: in which tools may be called, or have to be, and whose text may have a form. */
import type { Constraint, EitherWay } from "../sampling/constraint/source.js";
import type { Thinking } from "../sampling/constraint/thinking.js";
import type { ReplyStart } from "./conversation.js";
import { headerBegun, headerStyles } from "./dialects/headed.js";
import { holdsAllCalls, shapeOfCalls } from "./dialects/shape.js";
import { startsOfCalls, startsToBar } from "./dialects/starts.js";
import type { Dialect, ToolShape } from "./dialects/types.js";

export interface AskedCalls {
  readonly tools: readonly ToolShape[];
  /** Tools that the prompt tells of where none may be called. */
  readonly barred?: readonly ToolShape[] | undefined;
  /** The answer is a call: of any tool, or of the one with this name. */
  readonly mustCall?: true | string | undefined;
  /** One call and no more. */
  readonly single: boolean;
}

/** Marks around thinking. */
interface Marks {
  readonly open: readonly string[];
  readonly close: readonly string[];
}

/**
 * @param form of the text for the reader: the answer is then a text of it, or calls
 * @param thinks whether the model may think before; undefined: only where the prompt has begun it
 * @returns undefined where anything may come
 */
export function constraintOfAnswer(
  start: ReplyStart,
  marks: Marks,
  asked: AskedCalls,
  form?: Constraint,
  thinks = start.thinks,
): Constraint | undefined {
  const calls = constraintOfCalls(start, marks, asked);
  if (form === undefined || (asked.mustCall !== undefined && calls !== undefined)) return calls;
  const { dialect, begun } = start;
  const before = textBegun(dialect, begun);
  const shape = shapeOfCalls(dialect, asked.tools, asked);
  const thinking = thinks ? thinkingBefore(start, marks) : undefined;
  if (shape === undefined && before === "") return { ...form, ...(thinking !== undefined && { thinking }) };
  const { thinking: _, ...text } = form;
  const ways: EitherWay[] = [{ constraint: text, ...(before !== "" && { before }) }];
  if (shape !== undefined) ways.push({ constraint: { kind: "shape", shape } });
  return {
    kind: "either",
    of: ways,
    ...(begun !== "" && { begun }),
    ...(thinking !== undefined && { thinking }),
  };
}

/** The text before what is for the reader, with what the prompt holds of it. */
function textBegun({ messages, forms }: Dialect, begun: string): string {
  if (messages !== undefined) return begun === headerBegun ? `${begun}${headerStyles[messages].answer}` : begun;
  const { contentName } = forms[0] ?? {};
  return contentName === undefined || begun === "" ? begun : `${begun}${contentName}\n`;
}

/** The thinking that may come first: in messages with headers it is a message of its own. */
function thinkingBefore(
  { dialect: { messages }, begun, thinks }: ReplyStart,
  { open, close }: Marks,
): Thinking | undefined {
  if (messages === undefined) return { opened: thinks, open, close };
  const { thinking, ends } = headerStyles[messages];
  return begun === headerBegun ? { opened: false, open: [`${begun}${thinking}`], close: ends.slice(0, 1) } : undefined;
}

/**
 * Calls have the form of the dialect and arguments that their schemas allow; what stands before them is free.
 * @param marks around thinking
 * @returns undefined where nothing can be called
 */
function constraintOfCalls(
  { dialect, begun, thinks }: ReplyStart,
  { open, close }: Marks,
  { tools, barred = [], mustCall, single }: AskedCalls,
): Constraint | undefined {
  const wanted = typeof mustCall === "string" ? tools.filter(({ name }) => name === mustCall) : tools;
  const [form] = dialect.forms;
  if (form === undefined || (wanted.length === 0 && barred.length === 0)) return undefined;
  // What is thought in messages with headers is no place for a header.
  const thinking = dialect.messages === undefined && { thinking: { opened: thinks, open, close } };
  if (wanted.length === 0) {
    const nothing = { is: "text", text: "" } as const;
    return { kind: "shape", shape: nothing, starts: startsToBar(dialect, barred), never: true, ...thinking };
  }
  if (mustCall !== undefined) {
    const shape = shapeOfCalls(dialect, wanted, { single });
    const thought = thinks && { thinking: { opened: true, open, close } };
    return shape && { kind: "shape", shape, begun, ...thought };
  }
  // Without marks around all calls each of them is looked for by itself.
  const shape = shapeOfCalls(dialect, wanted, { single: single || !holdsAllCalls(form) });
  const starts = startsOfCalls(dialect, wanted);
  return shape && { kind: "shape", shape, starts, once: single, ...(begun !== "" && { begun }), ...thinking };
}
