/** Shows what an answer waits for: its place in the queue, how far the prompt has been read, how fast words come. */
import type { JSX } from "preact";
import type { AnswerProgress } from "../../../src/server/ui/wire.js";
import { TellMe } from "../done/tell-me.js";
import { about, clock, figures, percent, plural } from "../format.js";
import { useSecondsSince } from "../use-seconds.js";

export function ProgressLine({ progress }: { readonly progress: AnswerProgress | undefined }): JSX.Element {
  const waited = useSecondsSince("");
  const elapsed = progress === undefined || progress.phase === "queued" ? waited : progress.elapsedSeconds;
  return (
    <div class="progress-line">
      {progress?.phase === "answer" ? (
        <AnswerLine progress={progress} />
      ) : progress?.phase === "prompt" ? (
        <PromptLine progress={progress} />
      ) : (
        <>
          <span class="dot" />
          {progress === undefined ? "Waiting for the model" : queued(progress.ahead)}
          {waited >= 2 && ` · ${clock(waited)}`}
        </>
      )}
      <TellMe elapsedSeconds={Math.max(elapsed, waited)} />
    </div>
  );
}

function AnswerLine({ progress }: { readonly progress: Extract<AnswerProgress, { phase: "answer" }> }): JSX.Element {
  const { tokens, tokensPerSecond, elapsedSeconds, remainingSeconds } = progress;
  const parts = [plural(tokens, "token")];
  if (tokensPerSecond > 0) parts.push(`${figures(tokensPerSecond)} tokens/s`);
  parts.push(clock(elapsedSeconds));
  // It may end by itself before.
  if (remainingSeconds !== undefined && remainingSeconds > 1) parts.push(`${about(remainingSeconds)} left at most`);
  return (
    <>
      <span class="dot" />
      {parts.join(" · ")}
    </>
  );
}

function queued(ahead: number): string {
  return ahead === 0 ? "Next in the queue" : `${plural(ahead, "request")} before this one`;
}

type PromptProgress = Extract<AnswerProgress, { phase: "prompt" }>;

/** Between two passes the time left is counted down here. */
function PromptLine({ progress }: { readonly progress: PromptProgress }): JSX.Element {
  const since = useSecondsSince(progress);
  const { done, total, elapsedSeconds, remainingSeconds } = progress;
  const left = remainingSeconds === undefined ? undefined : Math.max(0, remainingSeconds - since);
  const share = total === 0 ? 0 : done / total;
  const elapsed = elapsedSeconds + since;
  return (
    <>
      <progress max={1} value={share} aria-label="Reading the prompt" />
      <span>
        Reading the prompt, {percent(share)}
        {elapsed >= 2 && ` · ${clock(elapsed)}`}
        {left !== undefined && share < 1 && ` · ${about(left)} left`}
      </span>
    </>
  );
}
