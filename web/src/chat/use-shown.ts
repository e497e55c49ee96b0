/**
 * A long conversation from its end: the last messages at once, those before them while the browser has nothing to do.
 */
import type { RefObject } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";

const atOnce = 24;
const perPause = 8;
const pauseMs = 200;

/** Safari has no requestIdleCallback. */
const whenIdle = (work: () => void): (() => void) => {
  if (!("requestIdleCallback" in globalThis)) {
    const timer = setTimeout(work, 30);
    return () => clearTimeout(timer);
  }
  const handle = requestIdleCallback(work, { timeout: pauseMs });
  return () => cancelIdleCallback(handle);
};

/**
 * Keeps what is in view where it is when messages come above it.
 * @returns how many of `total` messages are not shown yet, and shows them
 */
export function useHidden(
  scroller: RefObject<HTMLElement | null>,
  id: string | undefined,
  total: number,
): { readonly hidden: number; readonly showAll: () => void } {
  const [{ of, shown }, set] = useState({ of: id, shown: atOnce });
  const height = useRef<number | undefined>(undefined);
  const now = of === id ? shown : atOnce;
  useEffect(() => {
    if (now >= total) return;
    return whenIdle(() => {
      height.current = scroller.current?.scrollHeight;
      const more = now + perPause;
      // All of them: those to come are shown, too.
      set({ of: id, shown: more >= total ? Number.POSITIVE_INFINITY : more });
    });
  }, [id, now, total]);
  useLayoutEffect(() => {
    const element = scroller.current;
    if (element === null || height.current === undefined) return;
    element.scrollTop += element.scrollHeight - height.current;
    height.current = undefined;
  }, [now]);
  return {
    hidden: Math.max(0, total - now),
    showAll: () => set({ of: id, shown: Number.POSITIVE_INFINITY }),
  };
}
