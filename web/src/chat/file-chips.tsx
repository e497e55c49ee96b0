/** Files that are sent with the message, each with what it costs. */
import type { JSX } from "preact";
import { count } from "../format.js";
import { IconButton } from "../icons.js";
import type { Attached } from "./attach.js";

export interface FileChipsProps {
  readonly files: readonly Attached[];
  readonly onDrop: (file: Attached) => void;
}

export function FileChips({ files, onDrop }: FileChipsProps): JSX.Element | null {
  if (files.length === 0) return null;
  return (
    <ul class="chips" aria-label="Files of this message">
      {files.map((file, i) => (
        <li key={`${i} ${file.name}`} class="chip">
          <span class="chip-name">{file.name}</span>
          <span class="faint">{file.tokens === undefined ? "counting" : `${count(file.tokens)} tokens`}</span>
          <IconButton icon="close" label={`Remove ${file.name}`} onClick={() => onDrop(file)} />
        </li>
      ))}
    </ul>
  );
}
