/** Conversations by age, each with a menu. Arrow keys walk, Delete deletes, F2 renames. */
import type { JSX } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { ConversationRow } from "../../../src/server/ui/wire.js";
import { exportFile, list, remove, rename } from "../chat/conversations.js";
import { isUnseen, markSeen, seen } from "../done/seen.js";
import { age } from "../format.js";
import { Icon, IconButton } from "../icons.js";
import { paths } from "../router.js";
import { useStore } from "../store.js";

export function ConversationRows({ current }: { readonly current: string | undefined }): JSX.Element {
  const { rows, search } = useStore(list);
  const groups = new Map<string, ConversationRow[]>();
  for (const row of rows ?? []) groups.set(age(row.updatedAt), [...(groups.get(age(row.updatedAt)) ?? []), row]);
  return (
    <div class="rows">
      {rows?.length === 0 && <p class="faint rows-empty">{search === "" ? "Nothing here yet." : "Nothing found."}</p>}
      {[...groups].map(([name, group]) => (
        <section key={name} aria-label={name}>
          <h2>{name}</h2>
          <ul>
            {group.map((row) => (
              <Row key={row.id} row={row} current={row.id === current} onDelete={() => void removeRow(row)} />
            ))}
          </ul>
        </section>
      ))}
    </div>
  );
}

/** The keyboard goes on at the row that takes its place. */
async function removeRow(row: ConversationRow): Promise<void> {
  const at = rowLinks().indexOf(document.activeElement as HTMLAnchorElement);
  await remove(row);
  if (at >= 0) requestAnimationFrame(() => (rowLinks()[at] ?? rowLinks().at(-1))?.focus());
}

const rowLinks = () => [...document.querySelectorAll<HTMLAnchorElement>(".rows a")];

function walk(event: KeyboardEvent): void {
  if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
  const links = rowLinks();
  const at = links.indexOf(document.activeElement as HTMLAnchorElement);
  if (at < 0) return;
  event.preventDefault();
  links[at + (event.key === "ArrowDown" ? 1 : -1)]?.focus();
}

interface RowProps {
  readonly row: ConversationRow;
  readonly current: boolean;
  readonly onDelete: () => void;
}

function Row({ row, current, onDelete }: RowProps): JSX.Element {
  const [isRenaming, setRenaming] = useState(false);
  const [isMenuOpen, setMenuOpen] = useState(false);
  const unseen = useStore(seen, (s) => !current && isUnseen(row, s));
  useEffect(() => {
    if (current && !row.running && !document.hidden) markSeen(row);
  }, [current, row]);
  if (isRenaming) return <RenameRow row={row} onDone={() => setRenaming(false)} />;
  return (
    <li class="row" data-current={current}>
      <a
        href={paths.chat(row.id)}
        {...(current && { "aria-current": "page" })}
        onKeyDown={(event) => {
          if (event.key === "Delete") onDelete();
          else if (event.key === "F2") setRenaming(true);
          else walk(event);
        }}
        onDblClick={() => setRenaming(true)}
      >
        {row.running && <span class="state-dot running" title="An answer is being written" />}
        {unseen && (
          <span class="state-dot unread" role="img" aria-label="Finished unseen" title="Finished while you were away" />
        )}
        <span class="row-words">
          <span class="row-title">{row.title}</span>
          {row.excerpt !== undefined && <span class="row-excerpt faint">{row.excerpt}</span>}
        </span>
      </a>
      <IconButton
        icon="more"
        label={`Menu of ${row.title}`}
        class="row-more"
        onClick={() => setMenuOpen(!isMenuOpen)}
      />
      {isMenuOpen && (
        <RowMenu
          onClose={() => setMenuOpen(false)}
          onRename={() => setRenaming(true)}
          onExport={() => void exportFile(row)}
          onDelete={onDelete}
        />
      )}
    </li>
  );
}

interface RowMenuProps {
  readonly onClose: () => void;
  readonly onRename: () => void;
  readonly onExport: () => void;
  readonly onDelete: () => void;
}

function RowMenu({ onClose, onRename, onExport, onDelete }: RowMenuProps): JSX.Element {
  const menu = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    const opener = document.activeElement;
    menu.current?.querySelector("button")?.focus();
    const onDown = (event: PointerEvent) => {
      if (!menu.current?.contains(event.target as Node)) onClose();
    };
    document.addEventListener("pointerdown", onDown);
    return () => {
      document.removeEventListener("pointerdown", onDown);
      if (menu.current?.contains(document.activeElement)) (opener as HTMLElement | null)?.focus();
    };
  }, []);
  const onKeyDown = (event: KeyboardEvent) => {
    event.stopPropagation();
    const items = [...menu.current!.querySelectorAll("button")];
    const at = items.indexOf(document.activeElement as HTMLButtonElement);
    if (event.key === "Escape" || event.key === "Tab") onClose();
    else if (event.key === "ArrowDown") items[(at + 1) % items.length]?.focus();
    else if (event.key === "ArrowUp") items.at(at - 1)?.focus();
    else return;
    event.preventDefault();
  };
  const run = (work: () => void) => () => {
    onClose();
    work();
  };
  return (
    <div class="menu" role="menu" ref={menu} onKeyDown={onKeyDown}>
      <button type="button" role="menuitem" onClick={run(onRename)}>
        <Icon name="edit" /> Rename
      </button>
      <button type="button" role="menuitem" onClick={run(onExport)}>
        <Icon name="download" /> Export
      </button>
      <button type="button" role="menuitem" class="danger" onClick={run(onDelete)}>
        <Icon name="trash" /> Delete
      </button>
    </div>
  );
}

function RenameRow({ row, onDone }: { readonly row: ConversationRow; readonly onDone: () => void }): JSX.Element {
  const input = useRef<HTMLInputElement>(null);
  const saved = useRef(false);
  // Before the next key comes.
  useLayoutEffect(() => {
    input.current?.focus();
    input.current?.select();
  }, []);
  const save = (title: string | undefined) => {
    if (saved.current) return;
    saved.current = true;
    onDone();
    if (title !== undefined && title !== row.title) void rename(row.id, title);
  };
  return (
    <li class="row renaming">
      <input
        ref={input}
        aria-label="Title"
        maxLength={200}
        defaultValue={row.title}
        onBlur={(event) => save(event.currentTarget.value)}
        onKeyDown={(event) => {
          event.stopPropagation();
          if (event.key === "Enter") save(event.currentTarget.value);
          else if (event.key === "Escape") save(undefined);
        }}
      />
    </li>
  );
}
