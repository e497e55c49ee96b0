/** Makes what the model is given of a conversation. */
import { type CallBlock, splitCalls } from "../../chat/call-text.js";
import type { ChatMessage } from "../../chat/index.js";
import { splitThinking } from "../../chat/thinking-text.js";
import { branchTo, seenOf } from "./branch.js";
import type { Conversation } from "./wire.js";

/**
 * The branch that ends with `leaf`, from the first message that is not left out. Earlier thinking is not repeated to
 * the model: its makers train it without.
 */
export function messagesOf(conversation: Conversation, leaf: string | null): ChatMessage[] {
  const messages: ChatMessage[] = [];
  let called: readonly CallBlock[] = [];
  for (const { role, content } of seenOf(branchTo(conversation.messages, leaf), conversation.seenFrom)) {
    if (role === "assistant") {
      const said = saidOf(splitThinking(content).answer);
      called = said.calls;
      messages.push(said.message);
    } else if (called.length === 0) messages.push({ role, content });
    // What is written behind a call is its result.
    else for (const { id, name } of called) messages.push({ role: "tool", tool_call_id: id, name, content });
  }
  if (conversation.system !== "") messages.unshift({ role: "system", content: conversation.system });
  return messages;
}

function saidOf(answer: string): { readonly message: ChatMessage; readonly calls: readonly CallBlock[] } {
  const parts = splitCalls(answer);
  const calls = parts.flatMap((part) => ("call" in part && part.call.whole ? [part.call] : []));
  if (calls.length === 0) return { message: { role: "assistant", content: answer }, calls };
  const text = parts.flatMap((part) => ("text" in part ? [part.text] : [])).join("\n\n");
  const made = calls.map(({ id, name, arguments: json }) => ({
    id,
    type: "function",
    function: { name, arguments: json },
  }));
  return { message: { role: "assistant", content: text === "" ? null : text, tool_calls: made }, calls };
}
