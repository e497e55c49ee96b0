/** An empty conversation: which model answers, and what it is. */
import type { JSX } from "preact";
import { readSeconds, tokenSeconds } from "../../../src/server/ui/price.js";
import type { PageState, PassCosts } from "../../../src/server/ui/wire.js";
import { feed } from "../feed.js";
import { about, bytes, plural } from "../format.js";
import { ModelLoading } from "../shell/model-loading.js";
import { useStore } from "../store.js";

const starters = [
  "Explain how tides work",
  "Plan a week of simple dinners",
  "Write a short poem about rain",
  "What should I ask before renting a flat?",
];

/** English takes about four tokens for three words, a printed page has about 500 words. */
const wordsPerToken = 0.75;
const tokensOfPage = 670;

function speedInWords(costs: PassCosts): string {
  const words = wordsPerToken / tokenSeconds(costs, tokensOfPage);
  const rate = words >= 0.95 ? `about ${plural(words, "word")} a second` : `a word in ${about(1 / words)}`;
  return `Answers at ${rate}. Reads a page of text in ${about(readSeconds(costs, tokensOfPage))}.`;
}

export interface WelcomeProps {
  readonly state: PageState | undefined;
  /** Puts words where one writes. */
  readonly onStart: (text: string) => void;
}

export function Welcome({ state, onStart }: WelcomeProps): JSX.Element {
  const costs = useStore(feed, (f) => f.costs);
  const plan = useStore(feed, (f) => f.plan);
  const model = state?.model;
  if (model?.state !== "ready") return <ModelLoading state={state} />;
  const { name, architecture, weightBytes, contextTokens, hasTemplate } = model.model;
  return (
    <section class="welcome">
      <h2>{name}</h2>
      <p class="faint">
        {architecture}, {bytes(weightBytes)} of weights, {contextTokens.toLocaleString("en-US")} tokens of context
      </p>
      {costs !== undefined && !costs.guessed && <p>{speedInWords(costs)}</p>}
      {hasTemplate && (
        <ul class="starters" aria-label="To begin with">
          {starters.map((text) => (
            <li key={text}>
              <button type="button" class="button small" onClick={() => onStart(text)}>
                {text}
              </button>
            </li>
          ))}
        </ul>
      )}
      {!hasTemplate && (
        <p class="hint">
          This model has no chat template: it continues what you write instead of answering it. Begin a text and let it
          go on.
        </p>
      )}
      {plan !== undefined && plan.strategy !== "resident" && (
        <p class="hint">
          It is larger than its memory: weights are read from disk at every token. An answer goes on when you close the
          page, and is here when you come back.
        </p>
      )}
    </section>
  );
}
