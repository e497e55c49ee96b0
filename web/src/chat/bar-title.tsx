/** The title of a conversation; a click renames it. */
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { InlineField } from "../shell/inline-field.js";
import { rename } from "./conversations.js";

export interface BarTitleProps {
  /** Undefined: a conversation that does not exist yet. */
  readonly id: string | undefined;
  readonly title: string;
}

export function BarTitle({ id, title }: BarTitleProps): JSX.Element {
  const [isRenaming, setRenaming] = useState(false);
  if (id === undefined) return <h1 class="bar-title">{title}</h1>;
  const done = (wanted: string | undefined) => {
    setRenaming(false);
    if (wanted !== undefined && wanted.trim() !== title) void rename(id, wanted);
  };
  return (
    <h1 class="bar-title">
      {isRenaming ? (
        <InlineField class="title-field" label="Title" value={title} onDone={done} />
      ) : (
        <button type="button" class="title-button" title="Rename" onClick={() => setRenaming(true)}>
          {title}
        </button>
      )}
    </h1>
  );
}
