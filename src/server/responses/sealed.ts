/**
 * Texts that clients keep unread and send back (`encrypted_content`): thinking, for those who let nothing be stored,
 * and summaries of conversations. They are no secret from whoever asked.
 */

const thinkingMark = "thinking1.";
const summaryMark = "summary1.";

/** Stands before a summary that comes back: the model has to know what it reads. */
export const summaryHeading = "Summary of the conversation so far, in which you took part:\n\n";

export function seal(thinking: string): string {
  return sealed(thinkingMark, thinking);
}

/** @returns undefined for what is from elsewhere */
export function unseal(text: unknown): string | undefined {
  return opened(thinkingMark, text);
}

export function sealSummary(summary: string): string {
  return sealed(summaryMark, summary);
}

/** @returns undefined for what is from elsewhere */
export function openSummary(text: unknown): string | undefined {
  return opened(summaryMark, text);
}

function sealed(mark: string, text: string): string {
  return mark + Buffer.from(text, "utf8").toString("base64url");
}

function opened(mark: string, text: unknown): string | undefined {
  if (typeof text !== "string" || !text.startsWith(mark)) return undefined;
  return Buffer.from(text.slice(mark.length), "base64url").toString("utf8");
}
