import type { JSX } from "preact";
import { IconButton } from "../icons.js";
import { dismiss, notices } from "../notices.js";
import { useStore } from "../store.js";

export function Notices(): JSX.Element {
  const all = useStore(notices);
  return (
    <div class="notices" role="status" aria-live="polite">
      {all.map(({ id, kind, text, action }) => (
        <div key={id} class={`notice ${kind}`}>
          <span>{text}</span>
          {action !== undefined && (
            <button
              type="button"
              class="button"
              onClick={() => {
                dismiss(id);
                action.run();
              }}
            >
              {action.name}
            </button>
          )}
          <IconButton icon="close" label="Dismiss" onClick={() => dismiss(id)} />
        </div>
      ))}
    </div>
  );
}
