/**
 * Finds out what a chat template can do, by rendering samples: templates raise errors for what they do not know, drop
 * it in silence, or print it as Python would. Each question is asked once for each template.
 */
import { type CallSample, cutCall } from "./dialects/derive.js";
import type { ChatMessage } from "./messages.js";

/** Renders messages as the template is; undefined when it refuses them. */
export type TryRender = (messages: readonly ChatMessage[], tools?: readonly unknown[]) => string | undefined;

const sample = {
  system: "hundredweightsystem",
  user: "hundredweightuser",
  answer: "hundredweightanswer",
  tool: "hundredweight_tool",
  key: "hundredweight_key",
  value: "hundredweightvalue",
  result: "hundredweightresult",
} as const;

const user: ChatMessage = { role: "user", content: sample.user };
const answer: ChatMessage = { role: "assistant", content: sample.answer };

const tool = {
  type: "function",
  function: {
    name: sample.tool,
    description: "A sample.",
    parameters: {
      type: "object",
      properties: { [sample.key]: { type: "string", description: "A sample." } },
      required: [sample.key],
    },
  },
};

function calling(args: unknown, id = "abcdefgh1"): ChatMessage {
  const call = { id, type: "function", function: { name: sample.tool, arguments: args } };
  return { role: "assistant", content: "", tool_calls: [call] };
}

const asObject = calling({ [sample.key]: sample.value });
const asText = calling(`{"${sample.key}": "${sample.value}"}`);
const result: ChatMessage = { role: "tool", name: sample.tool, tool_call_id: "abcdefgh1", content: sample.result };

export class Abilities {
  private readonly render: TryRender;
  private readonly known = new Map<string, unknown>();

  constructor(render: TryRender) {
    this.render = render;
  }

  /** A system message at the beginning reaches the model. */
  get system(): boolean {
    return this.once("system", () => this.shows([{ role: "system", content: sample.system }, user], [sample.system]));
  }

  /** So does one in the middle. */
  get laterSystem(): boolean {
    const later: ChatMessage = { role: "system", content: sample.system };
    return this.once("laterSystem", () => this.shows([user, answer, later, user], [sample.system]));
  }

  /** The template tells the model which tools there are. */
  get tools(): boolean {
    return this.once("tools", () => this.shows([user], [sample.tool, sample.key], [tool]));
  }

  /**
   * How arguments of calls in the history are wanted: as an object or as the JSON text that clients send; undefined
   * when the template does not write calls.
   */
  get calls(): "object" | "text" | undefined {
    return this.once("calls", () => {
      const object = this.try([user, asObject, result, user]) ?? this.try([user, asObject]);
      if (object !== undefined && isWritten(object) && !printedAsPython(object)) return "object";
      const text = this.try([user, asText, result, user]) ?? this.try([user, asText]);
      if (text !== undefined && isWritten(text) && !text.includes('\\"')) return "text";
      return object !== undefined && isWritten(object) ? "object" : undefined;
    });
  }

  /** Results of tools reach the model. */
  get results(): boolean {
    const call = this.calls === "text" ? asText : asObject;
    return this.once("results", () => this.shows([user, call, result], [sample.result], [tool]));
  }

  /** A turn with a call as the template writes it; undefined when it does not. */
  get callSample(): CallSample | undefined {
    return this.once("callSample", () => {
      if (this.calls === undefined) return undefined;
      const call = this.calls === "text" ? asText : asObject;
      const withCall = this.try([user, call, result, user]) ?? this.try([user, call]);
      const withText = this.try([user, answer, user]);
      if (withCall === undefined || withText === undefined) return undefined;
      const cut = cutCall(withCall, withText, sample.answer, sample.user);
      return cut === undefined ? undefined : { call: cut, name: sample.tool, key: sample.key, value: sample.value };
    });
  }

  private try(messages: readonly ChatMessage[]): string | undefined {
    return this.render(messages, [tool]);
  }

  private shows(messages: readonly ChatMessage[], texts: readonly string[], tools?: readonly unknown[]): boolean {
    const rendered = this.render(messages, tools);
    return rendered !== undefined && texts.every((text) => rendered.includes(text));
  }

  private once<T>(name: string, find: () => T): T {
    if (!this.known.has(name)) this.known.set(name, find());
    return this.known.get(name) as T;
  }
}

/** Behind the tools' description, where the conversation stands. */
function isWritten(text: string): boolean {
  const from = text.lastIndexOf(sample.user, text.lastIndexOf(sample.value));
  const talk = text.slice(Math.max(0, from));
  return talk.includes(sample.tool) && talk.includes(sample.value);
}

function printedAsPython(text: string): boolean {
  return text.includes(`'${sample.key}': '${sample.value}'`);
}
