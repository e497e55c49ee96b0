/** A conversation: its messages along the branch that is shown, and where one writes. */
import { Fragment, type JSX } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { branchTo } from "../../../src/server/ui/branch.js";
import { readSeconds } from "../../../src/server/ui/price.js";
import type { Message } from "../../../src/server/ui/wire.js";
import { feed } from "../feed.js";
import { about } from "../format.js";
import { Icon, IconButton } from "../icons.js";
import { Lazy } from "../lazy.js";
import { useStore } from "../store.js";
import { BarTitle } from "./bar-title.js";
import { Composer, putWords } from "./composer.js";
import { tokensOf } from "./context-size.js";
import { ContextAdvice, ContextUse } from "./context-use.js";
import { useFindInAll, useLanding } from "./landing.js";
import { loadMarkdown } from "./markdown-view.js";
import { copy, MessageView } from "./message-view.js";
import { NextRows } from "./next-rows.js";
import { change, draftSettings, opened, stop } from "./open.js";
import { OtherBranches } from "./other-branch.js";
import { repeatsItself } from "./repeats.js";
import { useHidden } from "./use-shown.js";
import { Welcome } from "./welcome.js";

const settingsPanel = () => import("./settings-panel.js").then((module) => module.SettingsPanel);

export function ChatView(): JSX.Element {
  const { id, conversation, progress, linked } = useStore(opened);
  const draft = useStore(draftSettings);
  const state = useStore(feed, (f) => f.state);
  const [showSettings, setShowSettings] = useState(false);
  const scroller = useRef<HTMLDivElement>(null);
  const messages = conversation?.messages ?? [];
  const branch = branchTo(messages, conversation?.leaf ?? null);
  const branches = branchesOf(messages);
  const last = branch.at(-1);
  const running = last?.state === "running";
  const elsewhere = messages.filter((message) => message.state === "running" && !branch.includes(message));
  const costs = useStore(feed, (f) => f.costs);
  const used = tokensOf(branch, progress, conversation?.seenFrom);
  const model = state?.model.state === "ready" ? state.model.model : undefined;
  const draining = state?.draining === true;
  const reached = useStore(feed, (f) => f.linked !== false);
  const blocked = draining
    ? `The server ${reached ? "is ending" : "has ended"}`
    : model === undefined
      ? "No model is ready"
      : id !== undefined && conversation === undefined
        ? "Loading"
        : undefined;

  useEffect(() => {
    void loadMarkdown();
    scroller.current?.addEventListener("click", onCodeCopy);
  }, []);
  const { hidden, showAll } = useHidden(scroller, id, branch.length);
  useFindInAll(showAll);
  useLanding(scroller, id, branch, showAll);
  const { away, toEnd } = useStuckToEnd(scroller, id, branch, last?.content.length ?? 0);
  useEffect(() => {
    const onKeyDown = (event: KeyboardEvent) => {
      if (event.key !== "Escape" || event.defaultPrevented || document.querySelector("dialog[open], .menu") !== null)
        return;
      if (running && reached) void stop();
      else if (!running) setShowSettings(false);
    };
    document.addEventListener("keydown", onKeyDown);
    return () => document.removeEventListener("keydown", onKeyDown);
  }, [running, reached]);

  const editLast = () => {
    const buttons = scroller.current?.querySelectorAll<HTMLButtonElement>(".message.user .edit");
    buttons?.[buttons.length - 1]?.click();
  };
  return (
    <div class="chat">
      <header class="bar">
        <BarTitle key={id} id={id} title={conversation?.title ?? "New conversation"} />
        <ContextUse used={used} contextTokens={model?.contextTokens} />
        {!linked && reached && <span class="badge warn">reconnecting</span>}
        <IconButton
          icon="sliders"
          label="System prompt and sampler"
          pressed={showSettings}
          onClick={() => setShowSettings(!showSettings)}
        />
      </header>
      <div class="chat-body">
        <div class="chat-main">
          <div class="messages" ref={scroller} tabIndex={-1}>
            <div class="messages-inner">
              {branch.length === 0 && blocked !== "Loading" && <Welcome state={state} onStart={putWords} />}
              {branch.slice(hidden).map((message) => (
                <Fragment key={message.id}>
                  {message.id === conversation?.seenFrom && <SeenFrom />}
                  <MessageView
                    message={message}
                    branches={branches.get(message.parent) ?? ""}
                    progress={progress[message.id]}
                    isLast={message === branch.at(-1)}
                    answering={running && message.role === "user"}
                  />
                </Fragment>
              ))}
            </div>
          </div>
          {away !== undefined && (
            <button type="button" class="button to-end" onClick={toEnd}>
              <Icon name="down" /> {away === (last?.content.length ?? 0) ? "To the end" : "New words"}
            </button>
          )}
          <div class="lines">
            <OtherBranches running={elsewhere} reached={reached} />
            {running && reached && repeatsItself(last.content) && (
              <p class="line warn" role="status">
                <span>The answer repeats itself.</span>
                <button type="button" class="button small" onClick={() => void stop()}>
                  Stop
                </button>
              </p>
            )}
            <ContextAdvice used={used} branch={branch} seenFrom={conversation?.seenFrom} model={model} />
            <NextRows next={conversation?.next ?? []} />
          </div>
          <Composer
            id={id}
            running={running && reached ? last?.id : undefined}
            blocked={blocked}
            used={used}
            contextTokens={model?.contextTokens}
            onEditLast={editLast}
          />
        </div>
        {showSettings && (
          <Lazy
            load={settingsPanel}
            of={{
              settings: conversation ?? draft,
              defaults: model?.sampling ?? {},
              hasTemplate: model?.hasTemplate ?? true,
              again: costs !== undefined && used !== undefined ? about(readSeconds(costs, used)) : undefined,
              onClose: () => setShowSettings(false),
            }}
          />
        )}
      </div>
    </div>
  );
}

/** Where the model's sight begins. */
function SeenFrom(): JSX.Element {
  return (
    <div class="seen-from">
      <span>The model sees from here on</span>
      <button type="button" class="button small" onClick={() => void change({ seenFrom: undefined })}>
        See all again
      </button>
    </div>
  );
}

/** Ids of the messages with the same parent, joined by spaces, by that parent. */
function branchesOf(messages: readonly Message[]): Map<string | null, string> {
  const found = new Map<string | null, string>();
  for (const { id, parent } of messages) {
    const before = found.get(parent);
    found.set(parent, before === undefined ? id : `${before} ${id}`);
  }
  return found;
}

/**
 * A reader at the end stays there while the answer grows; one who scrolled up is left alone.
 * @returns `away`: for one who is far from the end, how long the text was when they left; `toEnd`: goes there
 */
function useStuckToEnd(
  scroller: { current: HTMLDivElement | null },
  id: string | undefined,
  content: unknown,
  length: number,
): { readonly away: number | undefined; readonly toEnd: () => void } {
  const stuck = useRef(true);
  const now = useRef(length);
  now.current = length;
  const [away, setAway] = useState<number>();
  useEffect(() => {
    stuck.current = true;
    setAway(undefined);
  }, [id]);
  useEffect(() => {
    const element = scroller.current;
    if (element === null) return;
    const onScroll = () => {
      const below = element.scrollHeight - element.scrollTop - element.clientHeight;
      stuck.current = below < 48;
      setAway((before) => (below < element.clientHeight / 2 ? undefined : (before ?? now.current)));
    };
    const onResize = new ResizeObserver(() => {
      if (stuck.current) element.scrollTop = element.scrollHeight;
    });
    element.addEventListener("scroll", onScroll, { passive: true });
    onResize.observe(element.firstElementChild!);
    return () => {
      element.removeEventListener("scroll", onScroll);
      onResize.disconnect();
    };
  }, []);
  useLayoutEffect(() => {
    const element = scroller.current;
    if (element !== null && stuck.current) element.scrollTop = element.scrollHeight;
  }, [content]);
  const toEnd = () => {
    stuck.current = true;
    setAway(undefined);
    scroller.current?.scrollTo({ top: scroller.current.scrollHeight });
  };
  return { away, toEnd };
}

/** Buttons of code blocks are part of rendered markdown, so they are listened to here. */
function onCodeCopy(event: MouseEvent): void {
  const button = (event.target as Element).closest(".code-copy");
  const code = button?.closest(".code")?.querySelector("code")?.textContent;
  if (code !== undefined && code !== null) void copy(code);
}
