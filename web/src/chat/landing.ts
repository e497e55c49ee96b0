/** A search that lands: the conversation opens at the message that holds the words, and they are marked. */
import type { RefObject } from "preact";
import { useEffect, useRef } from "preact/hooks";
import type { Message } from "../../../src/server/ui/wire.js";
import { list } from "./conversations.js";

const name = "found";

/** The browser's own search sees what is there: all messages, from the moment it is asked for. */
export function useFindInAll(showAll: () => void): void {
  const latest = useRef(showAll);
  latest.current = showAll;
  useEffect(() => {
    const onKeyDown = (event: KeyboardEvent) => {
      if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "f") latest.current();
    };
    document.addEventListener("keydown", onKeyDown, true);
    return () => document.removeEventListener("keydown", onKeyDown, true);
  }, []);
}

/** Goes to the first message of a conversation that holds the words searched for, once it is opened. */
export function useLanding(
  scroller: RefObject<HTMLElement | null>,
  id: string | undefined,
  branch: readonly Message[],
  showAll: () => void,
): void {
  const landed = useRef<string | undefined>(undefined);
  const words = list.value.search.trim().toLowerCase();
  const place = `${id} ${words}`;
  const at = words === "" ? -1 : branch.findIndex(({ content }) => content.toLowerCase().includes(words));
  useEffect(() => {
    if (landed.current === place || branch.length === 0) return;
    landed.current = place;
    CSS.highlights?.delete(name);
    if (at < 0) return;
    showAll();
    // After the messages are there, and after the list has gone to its end.
    const timer = setTimeout(() => {
      const element = scroller.current?.querySelectorAll<HTMLElement>(".message")[at];
      if (element === undefined) return;
      mark(scroller.current!, words);
      const { top, height } = element.getBoundingClientRect();
      const box = scroller.current!.getBoundingClientRect();
      scroller.current!.scrollTop += top - box.top - Math.max(0, (box.height - height) / 2);
    }, 60);
    return () => clearTimeout(timer);
  }, [place, branch.length > 0]);
}

function mark(within: HTMLElement, words: string): void {
  if (CSS.highlights === undefined) return;
  const ranges: Range[] = [];
  const walker = document.createTreeWalker(within, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node !== null; node = walker.nextNode()) {
    const text = node.textContent!.toLowerCase();
    for (let from = text.indexOf(words); from >= 0; from = text.indexOf(words, from + words.length)) {
      const range = new Range();
      range.setStart(node, from);
      range.setEnd(node, from + words.length);
      ranges.push(range);
    }
  }
  CSS.highlights.set(name, new Highlight(...ranges));
}
