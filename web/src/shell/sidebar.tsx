/** The side: views, conversations, the model. */
import type { JSX, RefObject } from "preact";
import { useRef } from "preact/hooks";
import { importFile, list, search } from "../chat/conversations.js";
import { Icon, IconButton, type IconName } from "../icons.js";
import { paths, route } from "../router.js";
import { useStore } from "../store.js";
import { chooseTheme, type Theme, theme } from "../theme.js";
import { ConversationRows } from "./conversation-rows.js";
import { ModelChip } from "./model-chip.js";

export interface SidebarProps {
  readonly searchRef: RefObject<HTMLInputElement | null>;
  readonly current: string | undefined;
  readonly onHelp: () => void;
}

const themes: Readonly<Record<Theme, { readonly next: Theme; readonly icon: IconName; readonly label: string }>> = {
  system: { next: "light", icon: "auto", label: "Theme of the system" },
  light: { next: "dark", icon: "sun", label: "Light theme" },
  dark: { next: "system", icon: "moon", label: "Dark theme" },
};

export function Sidebar({ searchRef, current, onHelp }: SidebarProps): JSX.Element {
  const { view } = useStore(route);
  const words = useStore(list, (l) => l.search);
  const chosen = useStore(theme);
  const file = useRef<HTMLInputElement>(null);
  const { next, icon, label } = themes[chosen];
  return (
    <nav class="side" aria-label="Conversations and views">
      <header class="side-head">
        <img src="/icon.svg" alt="" width="22" height="22" />
        <strong>hundredweight</strong>
        <IconButton icon="keyboard" label="Keyboard" keys="?" onClick={onHelp} />
        <IconButton icon={icon} label={label} class="theme" onClick={() => chooseTheme(next)} />
      </header>
      <ul class="views">
        <View href={paths.chat(current)} icon="chat" name="Chat" current={view === "chat"} />
        <View href={paths.machine} icon="gauge" name="Machine" current={view === "machine"} />
        <View href={paths.models} icon="layers" name="Models" current={view === "models"} />
      </ul>
      <div class="side-tools">
        <a class="button new" href={paths.chat()} aria-keyshortcuts="Control+Shift+O">
          <Icon name="plus" /> New conversation
        </a>
        <IconButton icon="upload" label="Import a conversation" onClick={() => file.current?.click()} />
        <input
          ref={file}
          type="file"
          accept="application/json,.json"
          hidden
          onChange={(event) => {
            const [chosenFile] = event.currentTarget.files ?? [];
            if (chosenFile !== undefined) void importFile(chosenFile);
            event.currentTarget.value = "";
          }}
        />
      </div>
      <label class="search">
        <Icon name="search" />
        <input
          ref={searchRef}
          type="search"
          placeholder="Search"
          aria-label="Search conversations"
          aria-keyshortcuts="Control+K /"
          value={words}
          onInput={(event) => search(event.currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key === "ArrowDown" || event.key === "Enter") {
              const first = document.querySelector<HTMLAnchorElement>(".rows a");
              if (event.key === "Enter") first?.click();
              else first?.focus();
              event.preventDefault();
            } else if (event.key === "Escape") {
              search("");
              event.currentTarget.blur();
            }
          }}
        />
        <kbd>/</kbd>
      </label>
      <ConversationRows current={current} />
      <ModelChip />
    </nav>
  );
}

interface ViewProps {
  readonly href: string;
  readonly icon: IconName;
  readonly name: string;
  readonly current: boolean;
}

function View({ href, icon, name, current }: ViewProps): JSX.Element {
  return (
    <li>
      <a href={href} {...(current && { "aria-current": "page" })}>
        <Icon name={icon} />
        {name}
      </a>
    </li>
  );
}
