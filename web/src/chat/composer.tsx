/**
 * Where one writes. Enter sends, or lets the message wait while an answer is written; Shift+Enter makes a line, Escape
 * stops the answer; files of text are sent with it.
 */
import type { JSX } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { Icon, IconButton } from "../icons.js";
import { isTouch } from "../touch.js";
import { type Attached, countTokens, readFiles, withFiles } from "./attach.js";
import { DraftPrice } from "./draft-price.js";
import { FileChips } from "./file-chips.js";
import { opened, send, sendNextTo, stop } from "./open.js";

export interface ComposerProps {
  /** The id of the conversation: another one has another draft. */
  readonly id: string | undefined;
  /** The answer that is being written. */
  readonly running: string | undefined;
  /** Why nothing can be sent now. */
  readonly blocked: string | undefined;
  readonly used: number | undefined;
  readonly contextTokens: number | undefined;
  readonly onEditLast: () => void;
}

/** Unsent words by conversation; a reload keeps them. */
export const drafts = {
  name: (id: string | undefined) => `hundredweight.draft.${id ?? "new"}`,
  get: (id: string | undefined) => sessionStorage.getItem(drafts.name(id)) ?? "",
  set: (id: string | undefined, text: string) =>
    text === "" ? sessionStorage.removeItem(drafts.name(id)) : sessionStorage.setItem(drafts.name(id), text),
};

/** Puts words where one writes, in place of those there. */
export function putWords(text: string): void {
  const area = document.querySelector<HTMLTextAreaElement>(".composer textarea");
  if (area === null) return;
  area.value = text;
  area.dispatchEvent(new Event("input", { bubbles: true }));
  area.focus();
}

/** Unsent files by conversation; they are as large as they are, and go with the page. */
const draftFiles = new Map<string | undefined, readonly Attached[]>();

/** A message on its way to the server, or one whose answer is not seen here yet. */
interface Underway {
  /** The answer that it waits for or that is written to it. */
  readonly answer: Promise<string | undefined>;
  isSent: boolean;
}

/** Sends it, behind the answer that is written or is about to be; undefined where it was not taken. */
async function sendAfter(
  underway: Underway | undefined,
  running: string | undefined,
  content: string,
): Promise<string | undefined> {
  const wasSent = underway?.isSent === true;
  const before = await underway?.answer;
  const isSeen = opened.value.conversation?.messages.some(({ id }) => id === before) === true;
  const after = before !== undefined && !(wasSent && isSeen) ? before : running;
  return after === undefined ? send(content) : sendNextTo(after, content);
}

export function Composer(props: ComposerProps): JSX.Element {
  const { id, running, blocked, used, contextTokens, onEditLast } = props;
  const area = useRef<HTMLTextAreaElement>(null);
  const chooser = useRef<HTMLInputElement>(null);
  const [text, setText] = useState(() => drafts.get(id));
  const [files, setFiles] = useState<readonly Attached[]>(() => draftFiles.get(id) ?? []);
  const underway = useRef<Underway | undefined>(undefined);
  const shown = useRef(id);
  useEffect(() => {
    const isMade = shown.current === undefined && underway.current?.isSent === false;
    shown.current = id;
    if (isMade) {
      // The conversation was made for what is on its way: what is written meanwhile stays.
      drafts.set(undefined, "");
      drafts.set(id, text);
    } else {
      underway.current = undefined;
      setText(drafts.get(id));
    }
    setFiles(draftFiles.get(id) ?? []);
    // Whoever writes elsewhere (a title, a search) goes on there.
    const writes = document.activeElement?.matches("input, textarea, select") === true;
    if (!writes && matchMedia("(hover: hover)").matches) area.current?.focus();
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
  const hold = (change: (before: readonly Attached[]) => readonly Attached[]) =>
    setFiles((before) => {
      const now = change(before);
      draftFiles.set(id, now);
      return now;
    });
  const isEmpty = text.trim() === "" && files.length === 0;
  const whole = files.length === 0 ? text : withFiles(text, files);
  const submit = async () => {
    // Behind what is on its way it waits for whatever that waits for.
    if (isEmpty || (blocked !== undefined && underway.current === undefined)) return;
    const mine: Underway = { answer: sendAfter(underway.current, running, whole), isSent: false };
    underway.current = mine;
    write("");
    hold(() => []);
    const answer = await mine.answer;
    mine.isSent = true;
    // What could not be sent comes back, before what was written since.
    if (answer === undefined) {
      if (underway.current === mine) underway.current = undefined;
      setText((since) => {
        const now = since === "" ? text : `${text}\n${since}`;
        drafts.set(opened.value.id, now);
        return now;
      });
      hold((since) => [...files, ...since]);
    }
    area.current?.focus();
  };
  const attach = async (list: FileList | null | undefined) => {
    if (list === null || list === undefined || list.length === 0) return;
    const added = await readFiles([...list], whole.length);
    hold((before) => [...before, ...added]);
    area.current?.focus();
    for (const file of added) {
      const tokens = await countTokens(file.content);
      hold((before) => before.map((one) => (one === file ? { ...one, tokens } : one)));
    }
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.isComposing) return;
    if (event.key === "Enter" && !event.shiftKey && !isTouch()) {
      event.preventDefault();
      void submit();
    } else if (event.key === "ArrowUp" && text === "") {
      event.preventDefault();
      onEditLast();
    }
  };
  const waits = running !== undefined;
  return (
    <>
      <DraftPrice text={whole} used={used} contextTokens={contextTokens} />
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
        <FileChips files={files} onDrop={(file) => hold((before) => before.filter((one) => one !== file))} />
        <IconButton icon="clip" label="Attach text files" class="attach" onClick={() => chooser.current?.click()} />
        <input
          ref={chooser}
          type="file"
          class="attached"
          multiple
          hidden
          onChange={(event) => {
            const { files: list } = event.currentTarget;
            void attach(list).then(() => {
              if (chooser.current !== null) chooser.current.value = "";
            });
          }}
        />
        <textarea
          ref={area}
          rows={1}
          value={text}
          placeholder={blocked ?? (waits ? "Write what comes next" : "Write a message")}
          aria-label="Message"
          aria-keyshortcuts="Enter"
          enterkeyhint={isTouch() ? "enter" : "send"}
          onInput={(event) => write(event.currentTarget.value)}
          onKeyDown={onKeyDown}
        />
        {waits && (
          <button type="button" class="send stop" aria-label="Stop" title="Stop (Esc)" onClick={() => void stop()}>
            <Icon name="stop" />
          </button>
        )}
        {(!waits || !isEmpty) && (
          <button
            type="submit"
            class="send"
            aria-label={waits ? "Send next" : "Send"}
            title={waits ? "Send when the answer has ended (Enter)" : "Send (Enter)"}
            disabled={isEmpty || blocked !== undefined}
          >
            <Icon name="send" />
          </button>
        )}
      </form>
    </>
  );
}
