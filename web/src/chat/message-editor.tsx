/** Rewrites a message: what follows becomes another branch. */
import type { JSX } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";

export interface MessageEditorProps {
  readonly text: string;
  readonly onSave: (text: string) => void;
  readonly onCancel: () => void;
}

export function MessageEditor({ text, onSave, onCancel }: MessageEditorProps): JSX.Element {
  const [draft, setDraft] = useState(text);
  const area = useRef<HTMLTextAreaElement>(null);
  useLayoutEffect(() => {
    area.current?.focus();
    area.current?.setSelectionRange(text.length, text.length);
  }, []);
  const save = () => {
    if (draft.trim() !== "") onSave(draft);
  };
  return (
    <form
      class="editor"
      onSubmit={(event) => {
        event.preventDefault();
        save();
      }}
    >
      <textarea
        ref={area}
        value={draft}
        rows={Math.min(12, draft.split("\n").length + 1)}
        aria-label="Edit the message"
        onInput={(event) => setDraft(event.currentTarget.value)}
        onKeyDown={(event) => {
          if (event.isComposing) return;
          if (event.key === "Escape") {
            event.stopPropagation();
            onCancel();
          } else if (event.key === "Enter" && !event.shiftKey) {
            event.preventDefault();
            save();
          }
        }}
      />
      <div class="editor-foot">
        <span class="faint">The old words stay as a branch.</span>
        <button type="button" class="button" onClick={onCancel}>
          Cancel
        </button>
        <button type="submit" class="button primary" disabled={draft.trim() === ""}>
          Send
        </button>
      </div>
    </form>
  );
}
