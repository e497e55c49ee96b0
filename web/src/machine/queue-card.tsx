/** Answers that are being made and messages that wait for them, of all conversations. */
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { QueueRow } from "../../../src/server/ui/wire.js";
import { request } from "../api.js";
import { shortProgress } from "../done/progress-words.js";
import { feed } from "../feed.js";
import { attempt } from "../notices.js";
import { paths } from "../router.js";
import { useStore } from "../store.js";

const askEveryMs = 2000;

export function QueueCard(): JSX.Element | null {
  const changes = useStore(feed, (f) => f.conversations);
  const [rows, setRows] = useState<readonly QueueRow[]>([]);
  const some = rows.length > 0;
  useEffect(() => {
    const look = () =>
      request<readonly QueueRow[]>("GET", "/ui/queue").then(setRows, () => {
        // The page says by itself that the server does not answer.
      });
    void look();
    if (!some) return;
    const timer = setInterval(look, askEveryMs);
    return () => clearInterval(timer);
  }, [changes, some]);
  if (!some) return null;
  return (
    <section class="card">
      <h2>Queue</h2>
      <ul class="queue">
        {rows.map((row) => (
          <li key={row.message ?? row.next} class="line">
            <span class="next-words">
              {row.title} <span class="faint">{wordsOf(row)}</span>
            </span>
            <button type="button" class="button small" onClick={() => void end(row)}>
              {row.message === undefined ? "Drop" : "Stop"}
            </button>
            <a class="button small" href={paths.chat(row.conversation)}>
              Open
            </a>
          </li>
        ))}
      </ul>
    </section>
  );
}

function wordsOf({ message, progress, content = "" }: QueueRow): string {
  return message === undefined ? `next: ${content}` : shortProgress(progress);
}

async function end({ conversation, message, next }: QueueRow): Promise<void> {
  const one = `/ui/conversations/${conversation}`;
  if (message !== undefined) await attempt(() => request("POST", `${one}/stop`, { message }));
  else await attempt(() => request("DELETE", `${one}/next/${next}`));
}
