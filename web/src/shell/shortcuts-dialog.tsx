import type { JSX } from "preact";
import { Dialog } from "./dialog.js";

const shortcuts: readonly (readonly [keys: string, what: string])[] = [
  ["Enter", "send the message"],
  ["Shift Enter", "a new line"],
  ["Esc", "stop the answer"],
  ["↑ in an empty field", "edit the last message"],
  ["Ctrl K or /", "search conversations"],
  ["Ctrl Shift O", "new conversation"],
  ["↑ ↓ in the list", "walk through conversations"],
  ["F2 in the list", "rename"],
  ["Del in the list", "delete; it can be undone"],
  ["← → ↑ ↓ in the map", "walk through tensors"],
  ["?", "this list"],
];

export function ShortcutsDialog({ onClose }: { readonly onClose: () => void }): JSX.Element {
  return (
    <Dialog label="Keyboard" onClose={onClose}>
      <h2>Keyboard</h2>
      <dl class="shortcuts">
        {shortcuts.map(([keys, what]) => (
          <div key={keys}>
            <dt>
              <kbd>{keys}</kbd>
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
      <button type="button" class="button" onClick={onClose}>
        Close
      </button>
    </Dialog>
  );
}
