/** Rewrites a message: what follows becomes another branch. */
import type { JSX } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { isTouch } from "../touch.js";

export interface MessageEditorProps {
  readonly text: string;
  /** Says what becomes of the old words. */
  readonly note?: string;
  readonly action?: string;
  /** Said before it is saved: an answer to the old words is still being written. */
  readonly answering?: boolean;
  /** @param stopFirst the answer that is being written is to be stopped */
  readonly onSave: (text: string, stopFirst: boolean) => void;
  readonly onCancel: () => void;
}

export function MessageEditor(props: MessageEditorProps): JSX.Element {
  const { text, note = "The old words stay as a branch.", action = "Send", answering, onSave, onCancel } = props;
  const [draft, setDraft] = useState(text);
  const area = useRef<HTMLTextAreaElement>(null);
  useLayoutEffect(() => {
    area.current?.focus();
    area.current?.setSelectionRange(text.length, text.length);
  }, []);
  const empty = draft.trim() === "";
  const save = (stopFirst: boolean) => {
    if (!empty) onSave(draft, stopFirst);
  };
  return (
    <form
      class="editor"
      onSubmit={(event) => {
        event.preventDefault();
        save(answering === true);
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
          } else if (event.key === "Enter" && !event.shiftKey && !isTouch()) {
            event.preventDefault();
            // Which of both is for the writer to say.
            if (answering !== true) save(false);
          }
        }}
      />
      <div class="editor-foot">
        <span class="faint">{answering === true ? "The answer above is still being written." : note}</span>
        <button type="button" class="button" onClick={onCancel}>
          Cancel
        </button>
        {answering === true ? (
          <>
            <button type="button" class="button" disabled={empty} onClick={() => save(false)}>
              Let both run
            </button>
            <button type="submit" class="button primary" disabled={empty}>
              Stop it and send
            </button>
          </>
        ) : (
          <button type="submit" class="button primary" disabled={empty}>
            {action}
          </button>
        )}
      </div>
    </form>
  );
}
