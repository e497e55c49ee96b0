/** The tokens of an answer, and what the model might have said in the place of each; asked of the server when shown. */
import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { ChosenToken, Message } from "../../../src/server/ui/wire.js";
import { request } from "../api.js";
import { attempt } from "../notices.js";
import { opened } from "./open.js";

export interface AlternativesProps {
  readonly message: Message;
  readonly onClose: () => void;
}

export function Alternatives({ message, onClose }: AlternativesProps): JSX.Element {
  const [tokens, setTokens] = useState<readonly ChosenToken[]>();
  const [at, setAt] = useState(0);
  const list = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const path = `/ui/conversations/${opened.value.id}/alternatives`;
    void attempt(() => request<ChosenToken[]>("POST", path, { message: message.id })).then((found) =>
      found === undefined ? onClose() : setTokens(found),
    );
  }, []);
  useEffect(() => list.current?.focus(), [tokens === undefined]);
  if (tokens === undefined) return <p class="faint">The model reads its answer again.</p>;
  const walk = (event: KeyboardEvent): void => {
    const steps: Readonly<Record<string, number>> = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 };
    const step = steps[event.key];
    if (event.key === "Home") setAt(0);
    else if (event.key === "End") setAt(tokens.length - 1);
    else if (step !== undefined) setAt(Math.min(tokens.length - 1, Math.max(0, at + step)));
    else if (event.key === "Escape") onClose();
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  const pick = (event: MouseEvent): void => {
    const place = (event.target as HTMLElement).dataset.at;
    if (place !== undefined) setAt(Number(place));
  };
  return (
    <section class="alternatives" aria-label="Words and what else they might have been">
      <div
        ref={list}
        class="tokens"
        role="listbox"
        tabIndex={0}
        aria-label="Tokens of the answer"
        aria-activedescendant={`token-${at}`}
        onKeyDown={walk}
        onClick={pick}
      >
        {tokens.map((token, i) => (
          <span
            key={i}
            id={`token-${i}`}
            role="option"
            tabIndex={-1}
            aria-selected={i === at}
            aria-label={token.text.trim() === "" ? visible(token.text) : undefined}
            data-at={i}
            data-rare={token.likeliest[0] !== undefined && token.likeliest[0].probability > token.probability}
          >
            {token.text}
          </span>
        ))}
      </div>
      <Likeliest token={tokens[at]!} />
      <button type="button" class="button small" onClick={onClose}>
        Show the answer
      </button>
    </section>
  );
}

function Likeliest({ token }: { readonly token: ChosenToken }): JSX.Element {
  const { likeliest } = token;
  // What was chosen may not be among the likeliest.
  const isAmong = likeliest.some(({ text }) => text === token.text);
  const rows = isAmong ? likeliest : [...likeliest, token];
  return (
    <ol class="likeliest" aria-live="polite" aria-label="Likeliest here">
      {rows.map((row) => (
        <li key={row.text} data-chosen={row.text === token.text}>
          <code>{visible(row.text)}</code> {share(row.probability)}
          {row.text === token.text && <span class="unseen"> was chosen</span>}
        </li>
      ))}
    </ol>
  );
}

/** Blanks and line breaks as signs. */
const visible = (text: string): string =>
  text === "" ? "\u2205" : text.replace(/ /g, "\u2423").replace(/\n/g, "\u21b5");

const share = (probability: number): string => {
  const percent = 100 * probability;
  return percent < 0.1 ? "< 0.1 %" : `${percent.toFixed(percent < 10 ? 1 : 0)} %`;
};
