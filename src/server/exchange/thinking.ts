/** Puts what a request wishes of thinking into the words of templates, engine and constraints. */
import type { GenerateRequest } from "../../link/protocol.js";
import type { EncodedChat } from "../../text/index.js";
import type { ThinkingWish } from "./exchange.js";

/** Variables of the template. */
export function thinkingVariables({ enabled, effort }: ThinkingWish): Readonly<Record<string, unknown>> {
  const switched = effort === "none" ? false : enabled;
  return {
    ...(effort !== undefined && { reasoning_effort: effort }),
    ...(switched !== undefined && { enable_thinking: switched }),
  };
}

/** Where the engine ends the thinking. */
export function limitOf(
  { budget }: ThinkingWish,
  thinking: EncodedChat["thinking"],
  { thinks: opened }: EncodedChat["reply"],
): GenerateRequest["thinking"] {
  return budget === undefined || budget < 0 ? undefined : { ...thinking, budget, opened };
}

/** Whether thinking may come before an answer in a form: where the prompt begins it, or the template knows some. */
export function mayThink(
  template: string | undefined,
  { open }: EncodedChat["thinking"],
  { thinks: opened }: EncodedChat["reply"],
): boolean {
  return opened || open.some((mark) => template?.includes(mark));
}
