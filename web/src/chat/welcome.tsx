/** An empty conversation: which model answers, and what it is. */
import type { JSX } from "preact";
import type { PageState } from "../../../src/server/ui/wire.js";
import { feed } from "../feed.js";
import { bytes, speed } from "../format.js";
import { ModelLoading } from "../shell/model-loading.js";
import { useStore } from "../store.js";

export function Welcome({ state }: { readonly state: PageState | undefined }): JSX.Element {
  const plan = useStore(feed, (f) => f.plan);
  const model = state?.model;
  if (model?.state !== "ready") return <ModelLoading state={state} />;
  const { name, architecture, weightBytes, contextTokens, hasTemplate } = model.model;
  return (
    <section class="welcome">
      <h2>{name}</h2>
      <p class="faint">
        {architecture}, {bytes(weightBytes)} of weights, {contextTokens.toLocaleString("en-US")} tokens of context
        {plan?.guessed === false && `, expected ${speed(plan.secondsPerToken)}`}
      </p>
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
