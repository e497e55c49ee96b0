/** Writes a reply as one text, thinking between tags, whatever marks the model uses: what the page keeps and shows. */
import type { ReplyEvent } from "./reply.js";
import { closing, opening } from "./thinking-text.js";

export class ReplyText {
  private thinking = false;

  /** @returns what the events add to the text */
  of(events: readonly ReplyEvent[]): string {
    let text = "";
    for (const event of events) {
      if (event.kind === "reasoning") text += (this.thinking ? "" : `${opening}\n`) + event.text;
      else if (event.kind === "content") text += (this.thinking ? `\n${closing}\n\n` : "") + event.text;
      else continue;
      this.thinking = event.kind === "reasoning";
    }
    return text;
  }
}
