/** A conversation: its messages along the branch that is shown, and where one writes. */
import type { JSX } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { branchTo } from "../../../src/server/ui/branch.js";
import type { Message } from "../../../src/server/ui/wire.js";
import { feed } from "../feed.js";
import { IconButton } from "../icons.js";
import { Lazy } from "../lazy.js";
import { useStore } from "../store.js";
import { Composer } from "./composer.js";
import { ContextUse } from "./context-use.js";
import { loadMarkdown } from "./markdown-view.js";
import { copy, MessageView } from "./message-view.js";
import { draftSettings, opened, stop } from "./open.js";
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
  const running = branch.some((message) => message.state === "running");
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
  const hidden = useHidden(scroller, id, branch.length);
  useStuckToEnd(scroller, id, branch);
  useEffect(() => {
    const onKeyDown = (event: KeyboardEvent) => {
      if (event.key !== "Escape" || event.defaultPrevented || document.querySelector("dialog[open], .menu") !== null)
        return;
      if (running) void stop();
      else setShowSettings(false);
    };
    document.addEventListener("keydown", onKeyDown);
    return () => document.removeEventListener("keydown", onKeyDown);
  }, [running]);

  const editLast = () => {
    const buttons = scroller.current?.querySelectorAll<HTMLButtonElement>(".message.user .edit");
    buttons?.[buttons.length - 1]?.click();
  };
  return (
    <div class="chat">
      <header class="bar">
        <h1 class="bar-title">{conversation?.title ?? "New conversation"}</h1>
        <ContextUse branch={branch} progress={progress} contextTokens={model?.contextTokens} />
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
          <div class="messages" ref={scroller}>
            <div class="messages-inner">
              {branch.length === 0 && blocked !== "Loading" && <Welcome state={state} />}
              {branch.slice(hidden).map((message) => (
                <MessageView
                  key={message.id}
                  message={message}
                  branches={branches.get(message.parent) ?? ""}
                  progress={progress[message.id]}
                  isLast={message === branch.at(-1)}
                />
              ))}
            </div>
          </div>
          <Composer id={id} running={running} blocked={blocked} onEditLast={editLast} />
        </div>
        {showSettings && (
          <Lazy
            load={settingsPanel}
            of={{
              settings: conversation ?? draft,
              defaults: model?.sampling ?? {},
              hasTemplate: model?.hasTemplate ?? true,
              onClose: () => setShowSettings(false),
            }}
          />
        )}
      </div>
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

/** A reader at the end stays there while the answer grows; one who scrolled up is left alone. */
function useStuckToEnd(scroller: { current: HTMLDivElement | null }, id: string | undefined, content: unknown): void {
  const stuck = useRef(true);
  useEffect(() => {
    stuck.current = true;
  }, [id]);
  useEffect(() => {
    const element = scroller.current;
    if (element === null) return;
    const onScroll = () => {
      stuck.current = element.scrollHeight - element.scrollTop - element.clientHeight < 48;
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
}

/** Buttons of code blocks are part of rendered markdown, so they are listened to here. */
function onCodeCopy(event: MouseEvent): void {
  const button = (event.target as Element).closest(".code-copy");
  const code = button?.closest(".code")?.querySelector("code")?.textContent;
  if (code !== undefined && code !== null) void copy(code);
}
