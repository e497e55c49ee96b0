/** Says of an answer that nobody sees here: it makes the one that is seen slower. */
import type { JSX } from "preact";
import type { Message } from "../../../src/server/ui/wire.js";
import { showBranch, stopOne } from "./open.js";

interface OtherBranchesProps {
  readonly running: readonly Message[];
  /** Whether the server hears. */
  readonly reached: boolean;
}

export function OtherBranches({ running, reached }: OtherBranchesProps): JSX.Element {
  return (
    <>
      {running.map(({ id }) => (
        <p key={id} class="line" role="status">
          <span>Another branch is still being written</span>
          <button type="button" class="button small" onClick={() => void showBranch(id)}>
            Show
          </button>
          {reached && (
            <button type="button" class="button small" onClick={() => void stopOne(id)}>
              Stop
            </button>
          )}
        </p>
      ))}
    </>
  );
}
