/** The whole page: a side with conversations, and one view. */
import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { ChatView } from "./chat/chat-view.js";
import { refresh } from "./chat/conversations.js";
import { open } from "./chat/open.js";
import { feed } from "./feed.js";
import { IconButton } from "./icons.js";
import { Lazy } from "./lazy.js";
import { announced } from "./notices.js";
import { go, paths, route } from "./router.js";
import { KeyDialog } from "./shell/key-dialog.js";
import { Notices } from "./shell/notices-view.js";
import { ShortcutsDialog } from "./shell/shortcuts-dialog.js";
import { Sidebar } from "./shell/sidebar.js";
import { useStore } from "./store.js";

const nothing = {};
const machineView = () => import("./machine/machine-view.js").then((module) => module.MachineView);
const modelsView = () => import("./models/models-view.js").then((module) => module.ModelsView);

export function App(): JSX.Element {
  const at = useStore(route);
  const locked = useStore(feed, (f) => f.locked);
  const linked = useStore(feed, (f) => f.linked);
  const changes = useStore(feed, (f) => f.conversations);
  const [isSideOpen, setSideOpen] = useState(false);
  const [isHelpOpen, setHelpOpen] = useState(false);
  const conversation = at.view === "chat" ? at.conversation : undefined;
  const search = useRef<HTMLInputElement>(null);

  useEffect(() => {
    if (at.view === "chat") open(conversation);
    setSideOpen(false);
  }, [at]);
  useEffect(() => {
    if (linked) void refresh();
  }, [changes, linked]);
  useEffect(() => {
    const onKeyDown = (event: KeyboardEvent) => {
      const isWriting = /^(INPUT|TEXTAREA|SELECT)$/.test((event.target as Element).tagName);
      const control = event.ctrlKey || event.metaKey;
      const key = event.key.toLowerCase();
      if ((control && key === "k" && !event.shiftKey) || (key === "/" && !isWriting && !control)) {
        event.preventDefault();
        setSideOpen(true);
        // What is hidden takes no focus: on a narrow page the side is there once it is drawn.
        queueMicrotask(() => {
          search.current?.focus();
          search.current?.select();
        });
      } else if (control && event.shiftKey && key === "o") {
        event.preventDefault();
        go(paths.chat());
      } else if (key === "?" && !isWriting) {
        setHelpOpen(true);
      } else if (event.key === "Escape" && isSideOpen) {
        setSideOpen(false);
      }
    };
    document.addEventListener("keydown", onKeyDown);
    return () => document.removeEventListener("keydown", onKeyDown);
  }, [isSideOpen]);

  return (
    <div class="app" data-side={isSideOpen ? "open" : "closed"}>
      <button type="button" class="skip button" onClick={() => document.getElementById("main")?.focus()}>
        Skip to the content
      </button>
      <Sidebar searchRef={search} current={conversation} onHelp={() => setHelpOpen(true)} />
      <div class="shade" aria-hidden="true" onClick={() => setSideOpen(false)} />
      <main id="main" tabIndex={-1}>
        <IconButton icon="menu" label="Conversations" class="side-toggle" onClick={() => setSideOpen(true)} />
        <Outage />
        {at.view === "chat" && <ChatView />}
        {at.view === "machine" && <Lazy key="machine" load={machineView} of={nothing} />}
        {at.view === "models" && <Lazy key="models" load={modelsView} of={nothing} />}
      </main>
      <Notices />
      <Announcer />
      {locked && <KeyDialog />}
      {isHelpOpen && <ShortcutsDialog onClose={() => setHelpOpen(false)} />}
    </div>
  );
}

/** Always there, so that a screen reader hears what comes into it. */
function Outage(): JSX.Element {
  const linked = useStore(feed, (f) => f.linked);
  const locked = useStore(feed, (f) => f.locked);
  const draining = useStore(feed, (f) => f.state?.draining === true);
  const text = locked
    ? ""
    : linked === false
      ? draining
        ? "The server has ended. This page goes on when it is started again."
        : "The server does not answer. An answer goes on there as long as it runs; this page tries again."
      : draining
        ? "The server is ending. Running answers may finish; nothing new is taken."
        : "";
  return (
    <p class="outage" role="status">
      {text}
    </p>
  );
}

function Announcer(): JSX.Element {
  const text = useStore(announced);
  return (
    <div class="unseen" role="status" aria-live="polite">
      {text}
    </div>
  );
}
