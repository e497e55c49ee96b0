/** A conversation as Markdown, and as a page to print: the branch that is shown. */
import { splitThinking } from "../../../src/chat/thinking-text.js";
import { branchTo } from "../../../src/server/ui/branch.js";
import type { Conversation } from "../../../src/server/ui/wire.js";
import { loadMarkdown } from "./markdown-view.js";

export function markdownOf({ title, system, messages, leaf }: Conversation): string {
  const parts = [`# ${title}`];
  if (system !== "") parts.push(`> ${system.replaceAll("\n", "\n> ")}`);
  for (const { role, content, model } of branchTo(messages, leaf)) {
    parts.push(role === "user" ? "## You" : `## ${model ?? "Answer"}`);
    parts.push(role === "user" ? content.trim() : splitThinking(content).answer.trim());
  }
  return `${parts.filter((part) => part !== "").join("\n\n")}\n`;
}

/** Prints beside the page itself: its whole conversation, without what surrounds it. */
export async function printConversation(conversation: Conversation): Promise<void> {
  const { blocksOf } = await loadMarkdown();
  const sheet = document.createElement("div");
  sheet.className = "sheet prose";
  for (const { html } of blocksOf(markdownOf(conversation))) {
    const block = document.createElement("div");
    block.className = "block";
    // Sanitized, see markdown.ts.
    block.innerHTML = html as string;
    sheet.append(block);
  }
  document.body.append(sheet);
  document.body.dataset.printing = "true";
  try {
    print();
  } finally {
    delete document.body.dataset.printing;
    sheet.remove();
  }
}
