/** A message: what was written, what can be done with it, and which of its branches this is. */
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { splitCalls } from "../../../src/chat/call-text.js";
import { splitThinking } from "../../../src/chat/thinking-text.js";
import type { AnswerProgress, AnswerStats, Message } from "../../../src/server/ui/wire.js";
import { duration, figures, percent } from "../format.js";
import { IconButton } from "../icons.js";
import { memo } from "../memo.js";
import { notify } from "../notices.js";
import { CallView } from "./call-view.js";
import { MarkdownView } from "./markdown-view.js";
import { MessageEditor } from "./message-editor.js";
import { answerTo, edit, regenerate, showBranch } from "./open.js";
import { ProgressLine } from "./progress-line.js";
import { Thinking } from "./thinking.js";

export interface MessageViewProps {
  readonly message: Message;
  /** Ids of the messages with the same parent, joined by spaces. */
  readonly branches: string;
  readonly progress: AnswerProgress | undefined;
  readonly isLast: boolean;
}

export const MessageView = memo(function MessageView(props: MessageViewProps): JSX.Element {
  const { message, branches, progress, isLast } = props;
  const [isEditing, setEditing] = useState(false);
  const isUser = message.role === "user";
  const running = message.state === "running";
  return (
    <article class={`message ${message.role}`} data-state={message.state} aria-label={isUser ? "You" : "Answer"}>
      {isEditing ? (
        <MessageEditor
          text={message.content}
          onCancel={() => setEditing(false)}
          onSave={async (text) => {
            if (text === message.content || (await edit(message, text))) setEditing(false);
          }}
        />
      ) : isUser ? (
        <UserText text={message.content} />
      ) : (
        <AnswerText message={message} isLast={isLast} />
      )}
      {message.error !== undefined && (
        <p class="failure" role="alert">
          <strong>{message.error.code}</strong> {message.error.message}
        </p>
      )}
      {running && <ProgressLine progress={progress} />}
      {!isEditing && !running && (
        <footer class="message-foot">
          <Branches ids={branches.split(" ")} current={message.id} />
          <IconButton icon="copy" label="Copy" onClick={() => void copy(splitThinking(message.content).answer)} />
          {isUser && <IconButton icon="edit" label="Edit" class="edit" onClick={() => setEditing(true)} />}
          {!isUser && <IconButton icon="again" label="Answer again" onClick={() => void regenerate(message)} />}
          {isUser && isLast && <IconButton icon="again" label="Answer" onClick={() => void answerTo(message)} />}
          {!isUser && <Outcome message={message} />}
        </footer>
      )}
    </article>
  );
});

/** A prompt of pages must not push its answer out of sight. */
const longText = 1500;

function UserText({ text }: { readonly text: string }): JSX.Element {
  const [isWhole, setWhole] = useState(false);
  const isLong = text.length > longText || text.split("\n").length > 25;
  return (
    <div class="user-text" data-cut={isLong && !isWhole}>
      <div class="user-words">{text}</div>
      {isLong && (
        <button type="button" class="fold" aria-expanded={isWhole} onClick={() => setWhole(!isWhole)}>
          {isWhole ? "Show less" : `Show all ${text.length.toLocaleString("en-US")} characters`}
        </button>
      )}
    </div>
  );
}

interface AnswerTextProps {
  readonly message: Message;
  readonly isLast: boolean;
}

function AnswerText({ message, isLast }: AnswerTextProps): JSX.Element {
  const { thinking, answer, thought } = splitThinking(message.content);
  const parts = splitCalls(answer);
  const calls = parts.filter((part) => "call" in part && part.call.whole).length;
  const running = message.state === "running";
  return (
    <>
      {thinking !== undefined && <Thinking text={thinking} going={running && !thought} />}
      {parts.map((part, i) =>
        "call" in part ? (
          <CallView key={part.call.id} call={part.call} />
        ) : (
          <MarkdownView key={`text ${i}`} text={part.text} />
        ),
      )}
      {calls > 0 && isLast && !running && (
        <p class="faint">What you write next is {calls === 1 ? "its result" : "the result of each"}.</p>
      )}
      {answer === "" && !running && message.error === undefined && thinking === undefined && (
        <p class="faint">The model ended without a word.</p>
      )}
    </>
  );
}

function Branches({ ids, current }: { readonly ids: readonly string[]; readonly current: string }): JSX.Element | null {
  if (ids.length < 2) return null;
  const at = ids.indexOf(current);
  const show = (to: number) => void showBranch(ids[to]!);
  return (
    <span class="branches">
      <IconButton icon="left" label="Branch before" disabled={at === 0} onClick={() => show(at - 1)} />
      <span>
        <span class="unseen">Branch </span>
        <span class="count">
          {at + 1}/{ids.length}
        </span>
      </span>
      <IconButton icon="right" label="Branch after" disabled={at === ids.length - 1} onClick={() => show(at + 1)} />
    </span>
  );
}

const states: Readonly<Record<string, string>> = {
  stopped: "stopped",
  length: "cut at the longest length",
  interrupted: "interrupted when the server ended",
};

function Outcome({ message }: { readonly message: Message }): JSX.Element {
  const parts = [states[message.state ?? ""], ...(message.stats === undefined ? [] : statsOf(message.stats))];
  return (
    <span class="outcome" title={message.model === undefined ? "" : `Answered by ${message.model}`}>
      {parts.filter((part) => part !== undefined).join(" · ")}
    </span>
  );
}

function statsOf({ promptTokens, cachedTokens, generatedTokens, prefillMs, decodeMs }: AnswerStats): string[] {
  const parts = [`${generatedTokens.toLocaleString("en-US")} tokens`];
  // The first token comes out of the prompt's last pass.
  if (generatedTokens > 1 && decodeMs > 0)
    parts.unshift(`${figures((generatedTokens - 1) / (decodeMs / 1000))} tokens/s`);
  const cached = cachedTokens > 0 ? `, ${percent(cachedTokens / promptTokens)} cached` : "";
  parts.push(`prompt ${promptTokens.toLocaleString("en-US")} in ${duration(prefillMs)}${cached}`);
  return parts;
}

export async function copy(text: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
    notify("done", "Copied.");
  } catch {
    notify("error", "The browser does not let this page copy.");
  }
}
