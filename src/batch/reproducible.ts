/**
 * Answers without what depends on the moment and the machine: names follow from the line and what it asks, and times
 * and counts of what was kept from before are left out. The same model then writes the same bytes anywhere.
 */
import { isObject } from "../json-object.js";
import type { LineAnswer } from "./line-answer.js";

/** @param name of the line and what it asks: one for each line of an input */
export function withoutTheMoment({ response, error }: LineAnswer, name: string): LineAnswer {
  if (response === null) return { response, error };
  return { response: { ...response, request_id: `req_${name}`, body: bodyWithout(response.body, name) }, error };
}

function bodyWithout(body: unknown, name: string): unknown {
  if (!isObject(body)) return body;
  const { timings, system_fingerprint, ...rest } = body;
  return {
    ...rest,
    ...(typeof rest.id === "string" && { id: rest.id.replace(/-.*$/, `-${name}`) }),
    ...("created" in rest && { created: 0 }),
    ...(isObject(rest.usage) && { usage: usageWithout(rest.usage) }),
    ...(Array.isArray(rest.choices) && {
      choices: rest.choices.map((choice: unknown, i) => choiceWithout(choice, `${name}_${i}`)),
    }),
  };
}

/** How much of a prompt was there depends on what was asked before. */
function usageWithout({ prompt_tokens_details, ...usage }: Readonly<Record<string, unknown>>): unknown {
  return usage;
}

/** Calls have names made by dice. */
function choiceWithout(choice: unknown, name: string): unknown {
  if (!isObject(choice) || !isObject(choice.message) || !Array.isArray(choice.message.tool_calls)) return choice;
  const calls = choice.message.tool_calls.map((call: unknown, i) =>
    isObject(call) ? { ...call, id: `call_${name}_${i}` } : call,
  );
  return { ...choice, message: { ...choice.message, tool_calls: calls } };
}
