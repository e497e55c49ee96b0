/** A message: what was written, what can be done with it, and which of its branches this is. */
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { splitCalls } from "../../../src/chat/call-text.js";
import { splitThinking } from "../../../src/chat/thinking-text.js";
import type { AnswerProgress, AnswerStats, DraftStat, DraftStats, Message } from "../../../src/server/ui/wire.js";
import { feed } from "../feed.js";
import { clock, count, figures, percent, plural } from "../format.js";
import { IconButton } from "../icons.js";
import { memo } from "../memo.js";
import { notify } from "../notices.js";
import { go, paths } from "../router.js";
import { Menu, type MenuItem } from "../shell/menu.js";
import { useStore } from "../store.js";
import { Alternatives } from "./alternatives.js";
import { answerRate } from "./answer-rate.js";
import { CallView } from "./call-view.js";
import { Failure } from "./failure.js";
import { MarkdownView } from "./markdown-view.js";
import { MessageEditor } from "./message-editor.js";
import { answerTo, edit, goOn, opened, regenerate, showBranch, stop } from "./open.js";
import { ProgressLine } from "./progress-line.js";
import { SideBySide } from "./side-by-side.js";
import { Thinking } from "./thinking.js";

export interface MessageViewProps {
  readonly message: Message;
  /** Ids of the messages with the same parent, joined by spaces. */
  readonly branches: string;
  readonly progress: AnswerProgress | undefined;
  readonly isLast: boolean;
  /** The answer at the end of the branch is still being written. */
  readonly answering: boolean;
}

/** Ends behind which more may come. */
const cut: ReadonlySet<Message["state"]> = new Set(["stopped", "length", "interrupted", "failed"]);

export const MessageView = memo(function MessageView(props: MessageViewProps): JSX.Element {
  const { message, branches, progress, isLast, answering } = props;
  const [isEditing, setEditing] = useState(false);
  const [isComparing, setComparing] = useState(false);
  const [isWeighing, setWeighing] = useState(false);
  const count = branches.split(" ").length;
  const isUser = message.role === "user";
  const running = message.state === "running";
  return (
    <article class={`message ${message.role}`} data-state={message.state} aria-label={isUser ? "You" : "Answer"}>
      {isEditing ? (
        <MessageEditor
          text={message.content}
          onCancel={() => setEditing(false)}
          answering={answering}
          onSave={async (text, stopFirst) => {
            if (stopFirst) await stop();
            if (text === message.content || (await edit(message, text))) setEditing(false);
          }}
        />
      ) : isUser ? (
        <UserText text={message.content} />
      ) : isComparing ? (
        <SideBySide answers={answersOf(branches)} current={message.id} onClose={() => setComparing(false)} />
      ) : isWeighing && !running ? (
        <Alternatives message={message} onClose={() => setWeighing(false)} />
      ) : (
        <AnswerText message={message} isLast={isLast} />
      )}
      {message.error !== undefined && <Failure error={message.error} />}
      {running && <ProgressLine progress={progress} />}
      {!isEditing && !running && (
        <footer class="message-foot">
          <Branches ids={branches.split(" ")} current={message.id} />
          <IconButton icon="copy" label="Copy" onClick={() => void copy(splitThinking(message.content).answer)} />
          {isUser && <IconButton icon="edit" label="Edit" class="edit" onClick={() => setEditing(true)} />}
          {!isUser && (
            <AnswerAgain
              message={message}
              onCompare={count > 1 ? () => setComparing(true) : undefined}
              onWeigh={message.stats === undefined ? undefined : () => setWeighing(true)}
            />
          )}
          {isUser && isLast && <IconButton icon="again" label="Answer" onClick={() => void answerTo(message)} />}
          {!isUser && isLast && cut.has(message.state) && message.cut !== "context" && (
            <button type="button" class="button small" onClick={() => void goOn(message)}>
              Continue
            </button>
          )}
          {!isUser && <Outcome message={message} />}
        </footer>
      )}
    </article>
  );
});

const answersOf = (ids: string): readonly Message[] => {
  const { messages = [] } = opened.value.conversation ?? {};
  return messages.filter(({ id }) => ids.includes(id));
};

/** How much colder or warmer another answer is. */
const step = 0.4;
const usualTemperature = 0.8;

interface AnswerAgainProps {
  readonly message: Message;
  /** Undefined where there is one answer only. */
  readonly onCompare: (() => void) | undefined;
  /** Undefined where its tokens cannot be known: it was not made here. */
  readonly onWeigh: (() => void) | undefined;
}

function AnswerAgain({ message, onCompare, onWeigh }: AnswerAgainProps): JSX.Element {
  const [isOpen, setOpen] = useState(false);
  const defaults = useStore(feed, (f) => (f.state?.model.state === "ready" ? f.state.model.model.sampling : undefined));
  const hasFolder = useStore(feed, (f) => f.state?.hasFolder === true);
  const now = message.sampling?.temperature ?? defaults?.temperature ?? usualTemperature;
  const to = (temperature: number) => Math.round(100 * Math.min(2, Math.max(0, temperature))) / 100;
  const at = (temperature: number) => () => void regenerate(message, { temperature });
  const items: MenuItem[] = [
    { icon: "again", name: `Colder (${to(now - step)})`, run: at(to(now - step)) },
    { icon: "again", name: `Warmer (${to(now + step)})`, run: at(to(now + step)) },
  ];
  if (hasFolder) items.push({ icon: "layers", name: "With another model", run: () => go(paths.models) });
  if (onCompare !== undefined) items.push({ icon: "columns", name: "Side by side", run: onCompare });
  if (onWeigh !== undefined) items.push({ icon: "sliders", name: "Words and alternatives", run: onWeigh });
  return (
    <>
      <IconButton icon="again" label="Answer again" onClick={() => void regenerate(message)} />
      <span class="menu-anchor">
        <IconButton icon="more" label="Other answers" onClick={() => setOpen(!isOpen)} />
        {isOpen && <Menu items={items} onClose={() => setOpen(false)} />}
      </span>
    </>
  );
}

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

function endOf({ state, cut: by }: Message): string | undefined {
  if (state === "length" && by === "context") return "stopped: the context is full";
  if (state === "length" && typeof by === "number") return `stopped at your longest answer, ${plural(by, "token")}`;
  const words: Readonly<Record<string, string>> = {
    stopped: "stopped",
    length: "cut at the longest length",
    interrupted: "interrupted when the server ended",
  };
  return words[state ?? ""];
}

function Outcome({ message }: { readonly message: Message }): JSX.Element {
  const parts = [endOf(message), ...(message.stats === undefined ? [] : statsOf(message.stats))];
  return (
    <span class="outcome" title={message.model === undefined ? "" : `Answered by ${message.model}`}>
      {parts.filter((part) => part !== undefined).join(" · ")}
    </span>
  );
}

/** The total first: how long one has waited is what one remembers. */
function statsOf(stats: AnswerStats): string[] {
  const { promptTokens, cachedTokens, generatedTokens, prefillMs, decodeMs } = stats;
  const rate = answerRate(stats);
  const cached = cachedTokens > 0 ? `, ${percent(cachedTokens / promptTokens)} cached` : "";
  return [
    clock((prefillMs + decodeMs) / 1000),
    plural(generatedTokens, "token") + (rate === undefined ? "" : ` at ${figures(rate)}/s`),
    `prompt ${count(promptTokens)} in ${clock(prefillMs / 1000)}${cached}`,
    ...guessesOf(stats.drafts),
  ];
}

const guessers: { readonly [source in keyof DraftStats]-?: string } = {
  forced: "by the form",
  prediction: "predicted",
  lookup: "from the text",
  earlier: "from earlier answers",
  model: "by the small model",
  mtp: "by the model's own blocks",
};

/** Guesses of next tokens by their source; a token that was guessed needed no pass of its own. */
function guessesOf(drafts: DraftStats = {}): string[] {
  const told = (Object.entries(drafts) as [keyof DraftStats, DraftStat][]).map(
    ([source, { tried, right }]) => `${count(right)} of ${count(tried)} guesses right ${guessers[source]}`,
  );
  return told.length === 0 ? [] : [told.join(", ")];
}

export async function copy(text: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
    notify("done", "Copied.");
  } catch {
    notify("error", "The browser does not let this page copy.");
  }
}
