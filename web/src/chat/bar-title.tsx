/** The title of a conversation; a click renames it. */
import type { JSX } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { rename } from "./conversations.js";

export interface BarTitleProps {
  /** Undefined: a conversation that does not exist yet. */
  readonly id: string | undefined;
  readonly title: string;
}

export function BarTitle({ id, title }: BarTitleProps): JSX.Element {
  const [isRenaming, setRenaming] = useState(false);
  const input = useRef<HTMLInputElement>(null);
  const ended = useRef(false);
  useLayoutEffect(() => {
    ended.current = false;
    if (isRenaming) input.current?.select();
  }, [isRenaming]);
  if (id === undefined) return <h1 class="bar-title">{title}</h1>;
  if (!isRenaming)
    return (
      <h1 class="bar-title">
        <button type="button" class="title-button" title="Rename" onClick={() => setRenaming(true)}>
          {title}
        </button>
      </h1>
    );
  const end = (wanted: string | undefined) => {
    // Going away takes the focus from it once more.
    if (ended.current) return;
    ended.current = true;
    setRenaming(false);
    if (wanted !== undefined && wanted.trim() !== title) void rename(id, wanted);
  };
  return (
    <h1 class="bar-title">
      <input
        class="title-field"
        ref={input}
        aria-label="Title"
        maxLength={200}
        defaultValue={title}
        onBlur={(event) => end(event.currentTarget.value)}
        onKeyDown={(event) => {
          event.stopPropagation();
          if (event.key === "Enter") event.currentTarget.blur();
          else if (event.key === "Escape") end(undefined);
        }}
      />
    </h1>
  );
}
