/** Where one writes. Enter sends, Shift+Enter makes a line, Escape stops the answer. */
import type { JSX } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { Icon } from "../icons.js";
import { send, stop } from "./open.js";

export interface ComposerProps {
  /** Of the conversation: another one, another draft. */
  readonly id: string | undefined;
  readonly running: boolean;
  /** Why nothing can be sent now. */
  readonly blocked: string | undefined;
  readonly onEditLast: () => void;
}

/** Unsent words by conversation; a reload keeps them. */
const drafts = {
  name: (id: string | undefined) => `hundredweight.draft.${id ?? "new"}`,
  get: (id: string | undefined) => sessionStorage.getItem(drafts.name(id)) ?? "",
  set: (id: string | undefined, text: string) =>
    text === "" ? sessionStorage.removeItem(drafts.name(id)) : sessionStorage.setItem(drafts.name(id), text),
};

export function Composer({ id, running, blocked, onEditLast }: ComposerProps): JSX.Element {
  const area = useRef<HTMLTextAreaElement>(null);
  const [text, setText] = useState(() => drafts.get(id));
  const [sending, setSending] = useState(false);
  useEffect(() => {
    setText(drafts.get(id));
    if (matchMedia("(hover: hover)").matches) area.current?.focus();
  }, [id]);
  useLayoutEffect(() => {
    const { current } = area;
    if (current === null) return;
    current.style.height = "auto";
    current.style.height = `${current.scrollHeight}px`;
  }, [text]);
  const write = (now: string) => {
    setText(now);
    drafts.set(id, now);
  };
  const submit = async () => {
    if (text.trim() === "" || running || sending || blocked !== undefined) return;
    setSending(true);
    write("");
    // What could not be sent comes back.
    if (!(await send(text))) write(text);
    setSending(false);
    area.current?.focus();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.isComposing) return;
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      void submit();
    } else if (event.key === "ArrowUp" && text === "") {
      event.preventDefault();
      onEditLast();
    }
  };
  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault();
        void submit();
      }}
    >
      <textarea
        ref={area}
        rows={1}
        value={text}
        placeholder={blocked ?? "Write a message"}
        aria-label="Message"
        aria-keyshortcuts="Enter"
        onInput={(event) => write(event.currentTarget.value)}
        onKeyDown={onKeyDown}
      />
      {running ? (
        <button type="button" class="send stop" aria-label="Stop" title="Stop (Esc)" onClick={() => void stop()}>
          <Icon name="stop" />
        </button>
      ) : (
        <button
          type="submit"
          class="send"
          aria-label="Send"
          title="Send (Enter)"
          disabled={text.trim() === "" || sending || blocked !== undefined}
        >
          <Icon name="send" />
        </button>
      )}
    </form>
  );
}
