/** Shows the reasoning before an answer: folded away, open while it thinks if the reader opens it. */
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { Icon } from "../icons.js";
import { MarkdownView } from "./markdown-view.js";

export interface ThinkingProps {
  readonly text: string;
  readonly going: boolean;
}

export function Thinking({ text, going }: ThinkingProps): JSX.Element {
  const [isOpen, setOpen] = useState(false);
  const words = text === "" ? 0 : text.split(/\s+/).length;
  return (
    <div class="thinking" data-open={isOpen}>
      <button type="button" class="thinking-head" aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>
        <Icon name={isOpen ? "down" : "right"} />
        {going ? <span class="pulse">Thinking…</span> : <span>Thoughts</span>}
        <span class="faint">{words} words</span>
      </button>
      {isOpen && <MarkdownView text={text} />}
    </div>
  );
}
