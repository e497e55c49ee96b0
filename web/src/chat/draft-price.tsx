/** Tells what a long message costs, before it is sent: tokens, time to read, share of the context. */
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { readSeconds } from "../../../src/server/ui/price.js";
import { feed } from "../feed.js";
import { about, count, percent } from "../format.js";
import { useStore } from "../store.js";
import { countTokens } from "./attach.js";

export interface DraftPriceProps {
  readonly text: string;
  /** Tokens the conversation takes before it. */
  readonly used: number | undefined;
  readonly contextTokens: number | undefined;
}

/** Shorter ones cost nothing that anybody would weigh. */
const longText = 400;
/** One stops typing before it is counted. */
const pauseMs = 400;

export function DraftPrice({ text, used = 0, contextTokens }: DraftPriceProps): JSX.Element | null {
  const costs = useStore(feed, (f) => f.costs);
  const [tokens, setTokens] = useState<number>();
  const isLong = text.length >= longText;
  useEffect(() => {
    if (!isLong) {
      setTokens(undefined);
      return;
    }
    let isWanted = true;
    const timer = setTimeout(async () => {
      const found = await countTokens(text);
      if (isWanted) setTokens(found);
    }, pauseMs);
    return () => {
      isWanted = false;
      clearTimeout(timer);
    };
  }, [text, isLong]);
  if (tokens === undefined || contextTokens === undefined) return null;
  const share = (used + tokens) / contextTokens;
  const parts = [`about ${count(tokens)} tokens`];
  if (costs !== undefined) parts.push(`${about(readSeconds(costs, tokens, used))} to read`);
  const fits = share < 1;
  parts.push(fits ? `${percent(share)} of the context` : `does not fit the context of ${count(contextTokens)}`);
  return (
    <p class="line price" data-fits={fits} role="status">
      {parts.join(" · ")}
    </p>
  );
}
