/** Lists what waits to be sent: "Next: ...", to be changed, dropped, or sent at once. */
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { NextMessage } from "../../../src/server/ui/wire.js";
import { MessageEditor } from "./message-editor.js";
import { dropNext, editNext, sendNext } from "./open.js";

export function NextRows({ next }: { readonly next: readonly NextMessage[] }): JSX.Element | null {
  if (next.length === 0) return null;
  return (
    <ul class="next" aria-label="Sent when the answer has ended">
      {next.map((one) => (
        <NextRow key={one.id} next={one} />
      ))}
    </ul>
  );
}

function NextRow({ next }: { readonly next: NextMessage }): JSX.Element {
  const [isEditing, setEditing] = useState(false);
  if (isEditing)
    return (
      <li>
        <MessageEditor
          text={next.content}
          note="It waits while you write, unless the answer ends."
          action="Save"
          onCancel={() => setEditing(false)}
          onSave={async (text) => {
            if (text === next.content || (await editNext(next.id, text))) setEditing(false);
          }}
        />
      </li>
    );
  return (
    <li class="line">
      <span class="next-words" title={next.content}>
        <span class="faint">Next:</span> {next.content}
      </span>
      <button type="button" class="button small" onClick={() => setEditing(true)}>
        Edit
      </button>
      <button type="button" class="button small" onClick={() => void dropNext(next.id)}>
        Drop
      </button>
      <button type="button" class="button small" onClick={() => void sendNext(next.id)}>
        Send now
      </button>
    </li>
  );
}
