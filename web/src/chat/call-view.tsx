/** Shows a tool call: its name and the beginning of its arguments, all of them when it is opened. */
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { CallBlock } from "../../../src/chat/call-text.js";
import { Icon } from "../icons.js";

export function CallView({ call }: { readonly call: CallBlock }): JSX.Element {
  const [isOpen, setOpen] = useState(false);
  return (
    <div class="thinking call" data-open={isOpen}>
      <button type="button" class="thinking-head" aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>
        <Icon name={isOpen ? "down" : "right"} />
        <span class={call.whole ? "" : "pulse"}>Call of {call.name}</span>
        {!isOpen && <span class="faint call-short">{call.arguments.slice(0, 80)}</span>}
      </button>
      {isOpen && <pre class="call-arguments">{indented(call.arguments)}</pre>}
    </div>
  );
}

function indented(json: string): string {
  try {
    return JSON.stringify(JSON.parse(json), null, 2);
  } catch {
    return json;
  }
}
