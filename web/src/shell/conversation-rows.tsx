/** Conversations by age, each with a menu. Arrow keys walk, Delete deletes, F2 renames. */
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { ConversationRow } from "../../../src/server/ui/wire.js";
import { exportFile, file, list, remove, rename } from "../chat/conversations.js";
import { isUnseen, markSeen, seen } from "../done/seen.js";
import { age } from "../format.js";
import { IconButton } from "../icons.js";
import { paths } from "../router.js";
import { useStore } from "../store.js";
import { InlineField, type InlineFieldProps } from "./inline-field.js";
import { Menu } from "./menu.js";

export function ConversationRows({ current }: { readonly current: string | undefined }): JSX.Element {
  const { rows, search } = useStore(list);
  const groups = new Map<string, ConversationRow[]>();
  for (const row of sorted(rows ?? [])) groups.set(groupOf(row), [...(groups.get(groupOf(row)) ?? []), row]);
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

const groupOf = ({ pinned, folder, updatedAt }: ConversationRow): string =>
  pinned === true ? "Pinned" : (folder ?? age(updatedAt));

/** Pinned ones, then folders by name, then the others as they came: by age. */
function sorted(rows: readonly ConversationRow[]): readonly ConversationRow[] {
  const rank = ({ pinned, folder }: ConversationRow) => (pinned === true ? 0 : folder !== undefined ? 1 : 2);
  const name = ({ pinned, folder = "" }: ConversationRow) => (pinned === true ? "" : folder);
  return [...rows].sort((a, b) => rank(a) - rank(b) || name(a).localeCompare(name(b)));
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
  const [isFiling, setFiling] = useState(false);
  const [isMenuOpen, setMenuOpen] = useState(false);
  const unseen = useStore(seen, (s) => !current && isUnseen(row, s));
  useEffect(() => {
    if (current && !row.running && !document.hidden) markSeen(row);
  }, [current, row]);
  if (isRenaming)
    return (
      <FieldRow
        label="Title"
        value={row.title}
        onDone={(title) => {
          setRenaming(false);
          if (title !== undefined) void rename(row.id, title);
        }}
      />
    );
  if (isFiling)
    return (
      <FieldRow
        label="Folder, empty: none"
        value={row.folder ?? ""}
        onDone={(folder) => {
          setFiling(false);
          if (folder !== undefined) void file(row.id, { folder });
        }}
      />
    );
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
        <Menu
          onClose={() => setMenuOpen(false)}
          items={[
            {
              icon: "pin",
              name: row.pinned === true ? "Unpin" : "Pin",
              run: () => void file(row.id, { pinned: row.pinned !== true }),
            },
            { icon: "folder", name: "Folder", run: () => setFiling(true) },
            { icon: "edit", name: "Rename", run: () => setRenaming(true) },
            { icon: "download", name: "Export", run: () => void exportFile(row, "json") },
            { icon: "download", name: "As Markdown", run: () => void exportFile(row, "markdown") },
            { icon: "print", name: "Print", run: () => void exportFile(row, "print") },
            { icon: "trash", name: "Delete", danger: true, run: onDelete },
          ]}
        />
      )}
    </li>
  );
}

/** A field in place of a row. */
function FieldRow(props: Pick<InlineFieldProps, "label" | "value" | "onDone">): JSX.Element {
  return (
    <li class="row renaming">
      <InlineField {...props} placeholder={props.label} />
    </li>
  );
}
