/** Writes a reply as one text, thinking and calls between tags, whatever marks the model uses: what the page keeps. */
import { callClosing, callOpening } from "./call-text.js";
import type { ReplyEvent } from "./reply.js";
import { closing, opening } from "./thinking-text.js";

export class ReplyText {
  private thinking = false;

  /** @returns what the events add to the text */
  of(events: readonly ReplyEvent[]): string {
    let text = "";
    for (const event of events) {
      if (event.kind === "warning") continue;
      const thinks = event.kind === "reasoning";
      if (thinks !== this.thinking) text += thinks ? `${opening}\n` : `\n${closing}\n\n`;
      this.thinking = thinks;
      text += textOf(event);
    }
    return text;
  }
}

function textOf(event: Exclude<ReplyEvent, { kind: "warning" }>): string {
  switch (event.kind) {
    case "call":
      return `\n${callOpening(event.id, event.name)}`;
    case "callEnd":
      return event.whole ? `${callClosing}\n` : "";
    default:
      return event.text;
  }
}
