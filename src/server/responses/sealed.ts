/**
 * Thinking in a text that clients keep unread and send back (`encrypted_content`): those who let nothing be stored
 * have it no other way. It is no secret from whoever asked.
 */

const mark = "thinking1.";

export function seal(thinking: string): string {
  return mark + Buffer.from(thinking, "utf8").toString("base64url");
}

/** @returns undefined for what is from elsewhere */
export function unseal(sealed: unknown): string | undefined {
  if (typeof sealed !== "string" || !sealed.startsWith(mark)) return undefined;
  return Buffer.from(sealed.slice(mark.length), "base64url").toString("utf8");
}
