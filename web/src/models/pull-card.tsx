/** Fetches models: what a name stands for and its plan for this machine, then the fetching itself. */
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { PullPlan, PullState } from "../../../src/server/ui/wire.js";
import { request } from "../api.js";
import { feed } from "../feed.js";
import { about, bytes, speed } from "../format.js";
import { attempt } from "../notices.js";
import { useStore } from "../store.js";

export function PullCard(): JSX.Element {
  const pulls = useStore(feed, (f) => f.pulls);
  const [word, setWord] = useState("");
  const [isLooking, setLooking] = useState(false);
  const [plan, setPlan] = useState<PullPlan & { readonly word: string }>();
  const [failure, setFailure] = useState<string>();
  const look = async () => {
    const asked = word.trim();
    if (asked === "") return;
    setLooking(true);
    setPlan(undefined);
    setFailure(undefined);
    await request<PullPlan>("POST", "/ui/pulls/plan", { word: asked }).then(
      (found) => setPlan({ ...found, word: asked }),
      (error: Error) => setFailure(error.message),
    );
    setLooking(false);
  };
  const begin = async (asked: string) => {
    if (await attempt(() => beginPull(asked))) {
      setPlan(undefined);
      setWord("");
    }
  };
  return (
    <section class="card pull-card">
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void look();
        }}
      >
        <label for="pull-word">Fetch a model</label>
        <div class="pull-ask">
          <input
            id="pull-word"
            value={word}
            placeholder="org/name:Q4_K_M or ollama:llama3.2"
            autocomplete="off"
            spellcheck={false}
            onInput={(event) => setWord(event.currentTarget.value)}
          />
          <button type="submit" class="button" disabled={isLooking || word.trim() === ""}>
            Show its plan
          </button>
        </div>
      </form>
      {isLooking && <p class="faint">Asking the hub, and reading the model's header…</p>}
      {failure !== undefined && <p class="failure">{failure}</p>}
      {plan !== undefined && (
        <Offer plan={plan} onBegin={() => void begin(plan.word)} onDrop={() => setPlan(undefined)} />
      )}
      {pulls.map((pull) => (
        <PullRow key={pull.id} pull={pull} />
      ))}
    </section>
  );
}

const beginPull = (word: string) => request<PullState>("POST", "/ui/pulls", { word });

interface OfferProps {
  readonly plan: PullPlan;
  readonly onBegin: () => void;
  readonly onDrop: () => void;
}

function Offer({ plan, onBegin, onDrop }: OfferProps): JSX.Element {
  const [own, ...others] = plan.plans;
  return (
    <div class="pull-offer" role="status">
      <p>
        <strong>{plan.name}</strong>: {bytes(plan.bytes)}
        {plan.files > 1 && ` in ${plan.files} files`}; {own === undefined ? "no plan" : sentence(own)}
      </p>
      {others.map((other) => (
        <p key={other.tag} class="faint">
          {other.tag}: {bytes(other.bytes)}; {sentence(other)}
        </p>
      ))}
      {own?.guessed === true && own.fault === undefined && (
        <p class="faint">The rates of this machine are guessed; hundredweight doctor --probe measures them.</p>
      )}
      <div class="pull-buttons">
        <button type="button" class="button primary" onClick={onBegin}>
          Fetch {bytes(plan.bytes)}
        </button>
        <button type="button" class="button" onClick={onDrop}>
          Not this one
        </button>
      </div>
    </div>
  );
}

/** Says what it would do on this machine. */
function sentence({ fault, strategy, secondsPerToken, ...plan }: PullPlan["plans"][number]): string {
  if (fault !== undefined) return `cannot be run: ${fault.message}`;
  const budget = `in ${bytes(plan.budgetBytes)} of memory`;
  if (strategy === undefined || secondsPerToken === undefined)
    return `does not run ${budget}: it needs at least ${bytes(plan.minimumBudgetBytes ?? 0)}`;
  const rate = `on this machine about ${speed(secondsPerToken)}`;
  if (strategy === "resident") return `${rate}, all of it ${budget}`;
  const whole = plan.wholeFromBytes === undefined ? "" : `; fits whole from ${bytes(plan.wholeFromBytes)}`;
  return `${rate}, streamed ${budget}${whole}`;
}

function PullRow({ pull }: { readonly pull: PullState }): JSX.Element {
  const { id, word, phase, doneBytes, totalBytes, bytesPerSecond, note } = pull;
  const end = () => attempt(() => request("DELETE", `/ui/pulls/${id}`));
  const isRunning = phase === "running";
  return (
    <div class="pull-row" data-phase={phase}>
      <span class="pull-word">{word}</span>
      {isRunning && (
        <progress aria-label={`Fetching ${word}`} {...(totalBytes > 0 && { max: totalBytes, value: doneBytes })} />
      )}
      <span class="faint" role="status">
        {isRunning ? progressText(doneBytes, totalBytes, bytesPerSecond) : endTexts[phase]}
      </span>
      {note !== undefined && <span class={phase === "failed" ? "failure" : "faint"}>{note}</span>}
      <span class="pull-buttons">
        {(phase === "failed" || phase === "cancelled") && (
          <button type="button" class="button small" onClick={() => void attempt(() => beginPull(word))}>
            Go on
          </button>
        )}
        <button type="button" class="button small" onClick={() => void end()}>
          {isRunning ? "Cancel" : "Dismiss"}
        </button>
      </span>
    </div>
  );
}

const endTexts = {
  done: "It is here.",
  failed: "It failed.",
  cancelled: "Cancelled; what was fetched is kept.",
} as const;

function progressText(doneBytes: number, totalBytes: number, rate: number | undefined): string {
  if (totalBytes === 0) return "Asking the hub…";
  const done = `${bytes(doneBytes)} of ${bytes(totalBytes)}`;
  if (rate === undefined || rate <= 0) return done;
  return `${done} · ${(rate / 1e6).toFixed(1)} MB/s · ${about((totalBytes - doneBytes) / rate)} left`;
}
