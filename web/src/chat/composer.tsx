/** Where one writes. Enter sends, Shift+Enter makes a line, Escape stops the answer; files of text are put into it. */
import type { JSX } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { Icon, IconButton } from "../icons.js";
import { withFiles } from "./attach.js";
import { send, stop } from "./open.js";

export interface ComposerProps {
  /** The id of the conversation: another one has another draft. */
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
  const chooser = useRef<HTMLInputElement>(null);
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
  const attach = async (files: FileList | null | undefined) => {
    if (files === null || files === undefined || files.length === 0) return;
    const now = await withFiles(area.current?.value ?? "", [...files]);
    write(now);
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
      onDragOver={(event) => event.preventDefault()}
      onDrop={(event) => {
        event.preventDefault();
        void attach(event.dataTransfer?.files);
      }}
      onPaste={(event) => {
        if (event.clipboardData === null || event.clipboardData.files.length === 0) return;
        event.preventDefault();
        void attach(event.clipboardData.files);
      }}
      onSubmit={(event) => {
        event.preventDefault();
        void submit();
      }}
    >
      <IconButton icon="clip" label="Attach text files" class="attach" onClick={() => chooser.current?.click()} />
      <input
        ref={chooser}
        type="file"
        class="attached"
        multiple
        hidden
        onChange={(event) => {
          const { files } = event.currentTarget;
          void attach(files).then(() => {
            if (chooser.current !== null) chooser.current.value = "";
          });
        }}
      />
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
