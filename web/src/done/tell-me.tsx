/** Offers to tell when an answer is done, once it has taken a while. */
import type { JSX } from "preact";
import { IconButton } from "../icons.js";
import { useStore } from "../store.js";
import { ask, decline, wanted } from "./wanted.js";

const longSeconds = 20;

export function TellMe({ elapsedSeconds }: { readonly elapsedSeconds: number }): JSX.Element | null {
  const answered = useStore(wanted);
  if (answered !== undefined || elapsedSeconds < longSeconds) return null;
  return (
    <span class="tell-me">
      This may take long.
      <button type="button" class="button small" onClick={() => void ask()}>
        Tell me when it is done
      </button>
      <IconButton icon="close" label="Do not tell me" onClick={decline} />
    </span>
  );
}
