/** Message contents in the form a template reads: a string, or a list of parts. */
import { HundredweightError } from "../errors.js";
import type { ChatMessage, ContentPart } from "./messages.js";

interface Accepts {
  readonly strings: boolean;
  readonly parts: boolean;
}

const probeText = "hundredweightprobe";
const known = new Map<string, Accepts>();

/**
 * Converts contents the template cannot read. Which forms it reads is found by rendering a sample of each: a wrong form
 * raises an error, is dropped, or shows up as a printed list.
 * @throws TEMPLATE_INVALID when a part that is no text is given to a template that reads strings only
 */
export function fitContent(
  messages: readonly ChatMessage[],
  source: string,
  render: (messages: readonly ChatMessage[]) => string,
): readonly ChatMessage[] {
  return fitForms(fillAbsent(messages, render), source, render);
}

/**
 * Beside tool calls a message says nothing: `null`, or no content at all. Templates that tell that from the empty text
 * have it; for others, which join it to a text, fail on it or print "None", it is the empty text.
 */
function fillAbsent(
  messages: readonly ChatMessage[],
  render: (messages: readonly ChatMessage[]) => string,
): readonly ChatMessage[] {
  if (messages.every(hasContent)) return messages;
  const filled = messages.map((m) => (hasContent(m) ? m : { ...m, content: "" }));
  const rendered = (given: readonly ChatMessage[]): string | undefined => {
    try {
      return render(given);
    } catch {
      return undefined;
    }
  };
  const asGiven = rendered(messages.map((m) => (hasContent(m) ? m : { ...m, content: null })));
  if (asGiven === undefined) return filled;
  const empty = rendered(filled);
  const printed = (text: string): number => text.match(/None|null|undefined/g)?.length ?? 0;
  return empty !== undefined && (asGiven === empty || printed(asGiven) > printed(empty))
    ? filled
    : messages.map((m) => (hasContent(m) ? m : { ...m, content: null }));
}

function hasContent({ content }: ChatMessage): boolean {
  return content !== undefined && content !== null;
}

function fitForms(
  messages: readonly ChatMessage[],
  source: string,
  render: (messages: readonly ChatMessage[]) => string,
): readonly ChatMessage[] {
  if (!messages.some(hasContent)) return messages;
  let accepts = known.get(source);
  if (accepts === undefined) {
    if (known.size >= 8) known.clear();
    accepts = { strings: reads(probeText, render), parts: reads([{ type: "text", text: probeText }], render) };
    known.set(source, accepts);
  }
  const { strings, parts } = accepts;
  return messages.map((message) => {
    const { content } = message;
    if (Array.isArray(content) && !parts) return { ...message, content: joinParts(content) };
    if (typeof content === "string" && parts && !strings)
      return { ...message, content: [{ type: "text", text: content }] };
    return message;
  });
}

function reads(content: string | ContentPart[], render: (messages: readonly ChatMessage[]) => string): boolean {
  try {
    const text = render([{ role: "user", content }]);
    const at = text.indexOf(probeText);
    // A list that was printed instead of read has its keys before the text.
    return at >= 0 && !/["']text["']\s*:\s*["']$/.test(text.slice(0, at));
  } catch {
    return false;
  }
}

function joinParts(parts: readonly ContentPart[]): string {
  return parts
    .map((part) => {
      if (typeof part.text === "string") return part.text;
      throw new HundredweightError(
        "TEMPLATE_INVALID",
        `the chat template of this model reads text only, a message has a part of type '${part.type}'`,
      );
    })
    .join("");
}
