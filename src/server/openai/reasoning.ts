/**
 * What a model thinks between <think> and </think> before it answers goes into `reasoning_content`, as llama.cpp, vLLM and DeepSeek have
 * it: clients show it apart and leave it out of the next request. Tags may come in pieces, so what could be one is held back.
 */
import type { Thinking } from "../../sampling/constraint/thinking.js";
import type { ServedModel } from "../service/model-service.js";
import { closing, opening } from "../ui/reasoning.js";

const openedLast = new RegExp(`${opening}\\s*$`);

/** Whether the prompt ends with the tag that begins the thinking, as some templates have it. */
export async function opensThinking({ info, text }: ServedModel, tokens: Int32Array): Promise<boolean> {
  if (!info.chatTemplate?.includes(opening)) return false;
  return openedLast.test(await text.perform({ kind: "decode", tokens: tokens.slice(-8), special: true }));
}

/** What the model may think before an answer that has to have a form; undefined when its template knows no thinking. */
export function thinkingOf({ info }: ServedModel, opened: boolean): Thinking | undefined {
  return info.chatTemplate?.includes(opening) ? { opened, open: [opening], close: [closing] } : undefined;
}

/** A part of an answer: thought or said. */
export interface Spoken {
  readonly reasoning: string;
  readonly content: string;
}

export class ReasoningSplitter {
  /** `undecided`: nothing but white space and a beginning of the tag so far. `between`: white space behind the thinking is left out. */
  private state: "undecided" | "thinking" | "between" | "content";
  private held = "";
  /** Something was thought: white space counts from here on. */
  private thought = false;

  /** @param opened the prompt ends with the opening tag, as some templates have it; @param off everything is content */
  constructor(opened: boolean, off = false) {
    this.state = off ? "content" : opened ? "thinking" : "undecided";
  }

  push(text: string): Spoken {
    this.held += text;
    let reasoning = "";
    if (this.state === "undecided") {
      const begun = this.held.trimStart();
      if (begun.startsWith(opening)) {
        this.held = begun.slice(opening.length);
        this.state = "thinking";
      } else if (opening.startsWith(begun)) return { reasoning, content: "" };
      else this.state = "content";
    }
    if (this.state === "thinking") {
      if (!this.thought) this.held = this.held.trimStart();
      const end = this.held.indexOf(closing);
      const keep = end < 0 ? heldBack(this.held) : 0;
      reasoning = end < 0 ? this.held.slice(0, this.held.length - keep) : this.held.slice(0, end).trimEnd();
      this.held = end < 0 ? this.held.slice(this.held.length - keep) : this.held.slice(end + closing.length);
      this.thought ||= reasoning !== "";
      if (end < 0) return { reasoning, content: "" };
      this.state = "between";
    }
    if (this.state === "between") {
      this.held = this.held.trimStart();
      if (this.held === "") return { reasoning, content: "" };
      this.state = "content";
    }
    const content = this.held;
    this.held = "";
    return { reasoning, content };
  }

  /** The answer has ended. */
  flush(): Spoken {
    const rest = this.held;
    this.held = "";
    if (this.state === "between") return { reasoning: "", content: "" };
    return this.state === "thinking" ? { reasoning: rest.trimEnd(), content: "" } : { reasoning: "", content: rest };
  }
}

/** How much of the end may be the beginning of the closing tag, with the white space before it. */
function heldBack(text: string): number {
  for (let n = Math.min(closing.length - 1, text.length); n > 0; n--) {
    if (text.endsWith(closing.slice(0, n))) return n + spaceAtEnd(text.slice(0, -n));
  }
  return spaceAtEnd(text);
}

function spaceAtEnd(text: string): number {
  return text.length - text.trimEnd().length;
}
