/**
 * Prints an answer while it is made: the text for the reader on standard output, what the model thinks and calls on
 * standard error, so that a pipe gets the answer alone.
 */
import type { ReplyEvent } from "../../chat/index.js";
import { note } from "./output.js";
import { forTerminal, printable } from "./printable.js";

export interface ReplyOutput {
  /** Text for the reader. */
  text(text: string): void;
  /** Whatever is not. */
  aside(text: string): void;
  /** A line about the answer. */
  note(text: string): void;
}

const standard: ReplyOutput = {
  text: (text) => void process.stdout.write(forTerminal(text)),
  aside: (text) => void process.stderr.write(forTerminal(text, process.stderr.isTTY)),
  note,
};

export class ReplyPrinter {
  private readonly output: ReplyOutput;
  /** The part that the last piece belonged to, and whether a line of it is open. */
  private part: "none" | "reasoning" | "content" | "call" = "none";
  private open = false;

  constructor(output: ReplyOutput = standard) {
    this.output = output;
  }

  print(event: ReplyEvent): void {
    switch (event.kind) {
      case "reasoning":
        if (this.part !== "reasoning") this.enter("reasoning", "thinking: ");
        this.say(event.text);
        break;
      case "content":
        if (this.part !== "content") this.enter("content", "");
        this.say(event.text);
        break;
      case "call":
        this.enter("call", `call: ${printable(event.name)}(`);
        break;
      case "arguments":
        this.say(event.text);
        break;
      case "callEnd":
        this.say(event.whole ? ")\n" : "\n");
        break;
      case "warning":
        this.end();
        this.output.note(event.text);
        break;
    }
  }

  /** Ends the line that is open. */
  end(): void {
    if (this.open) this.say("\n");
    this.part = "none";
  }

  private enter(part: "reasoning" | "content" | "call", opening: string): void {
    this.end();
    this.part = part;
    if (opening !== "") this.say(opening);
  }

  private say(text: string): void {
    if (text === "") return;
    if (this.part === "content") this.output.text(text);
    else this.output.aside(text);
    this.open = !text.endsWith("\n");
  }
}
