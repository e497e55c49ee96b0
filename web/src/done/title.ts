/**
 * The title of the tab tells how far an answer is, and that it is ready. A hidden page reads no streams; while answers
 * run it asks now and then.
 */
import { branchTo } from "../../../src/server/ui/branch.js";
import type { QueueRow } from "../../../src/server/ui/wire.js";
import { request } from "../api.js";
import { opened } from "../chat/open.js";
import { go, paths } from "../router.js";
import { shortProgress } from "./progress-words.js";
import { tell } from "./wanted.js";

const name = "hundredweight";
const askEveryMs = 3000;

/** The answer that is being written in the open conversation. */
function ownAnswer(): string | undefined {
  const { conversation } = opened.value;
  if (conversation === undefined) return undefined;
  return branchTo(conversation.messages, conversation.leaf).find(({ state }) => state === "running")?.id;
}

/** The title that the open conversation gives. */
function ownTitle(): string {
  const { conversation, progress } = opened.value;
  const running = ownAnswer();
  if (conversation === undefined) return name;
  return running === undefined ? conversation.title : `${shortProgress(progress[running])} · ${conversation.title}`;
}

let timer: ReturnType<typeof setInterval> | undefined;
/** Answers that ran when it was last asked, by message. */
let before = new Map<string, Pick<QueueRow, "title" | "conversation">>();

async function look(): Promise<void> {
  const rows = await request<readonly QueueRow[]>("GET", "/ui/queue").catch(() => undefined);
  if (rows === undefined || !document.hidden) return;
  const running = new Map(rows.flatMap((row) => (row.message === undefined ? [] : [[row.message, row] as const])));
  const ended = [...before].filter(([message]) => !running.has(message)).map(([, row]) => row);
  before = running;
  for (const { title, conversation } of ended) tell(title, () => go(paths.chat(conversation)));
  const [first] = running.values();
  if (ended[0] !== undefined) document.title = `✓ Ready · ${ended[0].title}`;
  else if (first !== undefined) document.title = `${shortProgress(first.progress)} · ${first.title}`;
}

function onVisibility(): void {
  clearInterval(timer);
  timer = undefined;
  // What ends before the first look is told too.
  const { conversation } = opened.value;
  const own = ownAnswer();
  before = new Map(
    conversation === undefined || own === undefined
      ? []
      : [[own, { title: conversation.title, conversation: conversation.id }]],
  );
  if (!document.hidden) {
    document.title = ownTitle();
    return;
  }
  void look();
  timer = setInterval(() => void look(), askEveryMs);
}

export function startTitle(): void {
  document.addEventListener("visibilitychange", onVisibility);
  opened.subscribe(() => {
    if (!document.hidden) document.title = ownTitle();
  });
}
