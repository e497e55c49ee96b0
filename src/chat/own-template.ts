/**
 * The one chat template we write ourselves, in synthetic models. It is known, so it needs no engine for templates and
 * no place where it can do no harm.
 */
import { HundredweightError } from "../errors.js";
import { type ChatMessage, checkRoles, type Segment } from "./messages.js";

export const ownTemplate =
  "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}<|end|>{% endfor %}" +
  "{% if add_generation_prompt %}<|assistant|>{% endif %}";

/**
 * Renders a conversation as the template above does, with exactly what a user wrote marked.
 * @throws TEMPLATE_INVALID
 */
export function renderOwn(messages: readonly ChatMessage[], addGenerationPrompt = true): Segment[] {
  checkRoles(messages);
  const segments: Segment[] = [];
  let before = "";
  for (const { role, content } of messages) {
    segments.push({ text: `${before}<|${role}|>`, user: false });
    const text = typeof content === "string" ? content : (content ?? []).map(textOf).join("");
    if (text !== "") segments.push({ text, user: true });
    before = "<|end|>";
  }
  segments.push({ text: `${before}${addGenerationPrompt ? "<|assistant|>" : ""}`, user: false });
  return segments.filter(({ text }) => text !== "");
}

function textOf(part: { readonly type: string; readonly text?: string }): string {
  if (typeof part.text === "string") return part.text;
  throw new HundredweightError(
    "TEMPLATE_INVALID",
    `the chat template of this model reads text only, a message has a part of type '${part.type}'`,
  );
}
