/** Shows what an answer waits for: its place in the queue, how far the prompt has been read, how fast words come. */
import type { JSX } from "preact";
import type { AnswerProgress } from "../../../src/server/ui/wire.js";
import { about, figures, percent } from "../format.js";
import { useSecondsSince } from "../use-seconds.js";

export function ProgressLine({ progress }: { readonly progress: AnswerProgress | undefined }): JSX.Element | null {
  if (progress?.phase === "answer") {
    const { tokens, tokensPerSecond } = progress;
    return (
      <div class="progress-line">
        <span class="dot" />
        {tokens} {tokens === 1 ? "token" : "tokens"}
        {tokensPerSecond > 0 && ` · ${figures(tokensPerSecond)} tokens/s`}
      </div>
    );
  }
  if (progress?.phase === "prompt") return <PromptLine progress={progress} />;
  return (
    <div class="progress-line">
      <span class="dot" />
      {progress === undefined ? "Waiting for the model" : queued(progress.ahead)}
    </div>
  );
}

function queued(ahead: number): string {
  return ahead === 0 ? "Next in the queue" : `${ahead} ${ahead === 1 ? "request" : "requests"} before this one`;
}

type PromptProgress = Extract<AnswerProgress, { phase: "prompt" }>;

/** Between two passes the time left is counted down here. */
function PromptLine({ progress }: { readonly progress: PromptProgress }): JSX.Element {
  const since = useSecondsSince(progress);
  const { done, total, remainingSeconds } = progress;
  const left = remainingSeconds === undefined ? undefined : Math.max(0, remainingSeconds - since);
  const share = total === 0 ? 0 : done / total;
  return (
    <div class="progress-line">
      <progress max={1} value={share} aria-label="Reading the prompt" />
      Reading the prompt, {percent(share)}
      {left !== undefined && share < 1 && ` · ${about(left)} left`}
    </div>
  );
}
