/** Models of the folder the server was given: what each would need, and a button that changes to it. */
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { FolderListing, FolderModel, PlanReport, PlanSummary } from "../../../src/server/ui/wire.js";
import { request } from "../api.js";
import { feed } from "../feed.js";
import { bytes, figures, parameters, percent, speed } from "../format.js";
import { MemoryBar } from "../machine/memory-bar.js";
import { ModelMapView } from "../machine/model-map.js";
import { attempt, notify } from "../notices.js";
import { Dialog } from "../shell/dialog.js";
import { ModelLoading } from "../shell/model-loading.js";
import { useStore } from "../store.js";
import "../styles/machine.css";
import "../styles/models.css";

export function ModelsView(): JSX.Element {
  const state = useStore(feed, (f) => f.state);
  const [listing, setListing] = useState<FolderListing>();
  const [chosen, setChosen] = useState<string>();
  const hasFolder = state?.hasFolder;
  useEffect(() => {
    if (hasFolder === true) void attempt(() => request<FolderListing>("GET", "/ui/models")).then(setListing);
  }, [hasFolder, state?.model]);
  return (
    <div class="models">
      <header class="bar">
        <h1 class="bar-title">Models</h1>
        {listing !== undefined && <span class="faint bar-note">{listing.folder}</span>}
      </header>
      <div class="models-body">
        {state !== undefined && state.model.state !== "ready" && <ModelLoading state={state} />}
        {hasFolder === false && (
          <p class="hint">
            Start the server with <code>--models DIR</code> to choose among the GGUF files of a folder here.
          </p>
        )}
        {hasFolder === true && listing === undefined && <p class="faint">Reading the folder…</p>}
        {listing?.models.length === 0 && <p class="hint">There is no GGUF file in this folder.</p>}
        <ul class="model-list">
          {listing?.models.map((model) => (
            <ModelItem
              key={model.id}
              model={model}
              isOpen={chosen === model.id}
              onToggle={() => setChosen(chosen === model.id ? undefined : model.id)}
            />
          ))}
        </ul>
        {listing?.cut === true && <p class="faint">There are more files than are listed.</p>}
      </div>
    </div>
  );
}

interface ModelItemProps {
  readonly model: FolderModel;
  readonly isOpen: boolean;
  readonly onToggle: () => void;
}

function ModelItem({ model, isOpen, onToggle }: ModelItemProps): JSX.Element {
  const facts = [
    model.architecture,
    model.parameters === undefined ? undefined : parameters(model.parameters),
    model.fileType,
    bytes(model.bytes),
    model.shards > 1 ? `${model.shards} files` : undefined,
    model.contextTokens === undefined ? undefined : `trained for ${model.contextTokens.toLocaleString("en-US")} tokens`,
  ];
  return (
    <li class="model-item card" data-loaded={model.loaded}>
      <button type="button" class="model-head" aria-expanded={isOpen} onClick={onToggle}>
        <strong>{model.name ?? model.file}</strong>
        {model.loaded && <span class="badge">in use</span>}
        {model.fault !== undefined && <span class="badge warn">cannot be run</span>}
        <span class="faint">{facts.filter((fact) => fact !== undefined).join(" · ")}</span>
        {model.name !== undefined && <span class="faint file">{model.file}</span>}
      </button>
      {isOpen &&
        (model.fault === undefined ? <ModelPlan model={model} /> : <p class="failure">{model.fault.message}</p>)}
    </li>
  );
}

function ModelPlan({ model }: { readonly model: FolderModel }): JSX.Element {
  const [report, setReport] = useState<PlanReport>();
  const [failure, setFailure] = useState<string>();
  const [asking, setAsking] = useState(false);
  const busy = useStore(feed, (f) => {
    const last = f.samples.at(-1);
    return last === undefined ? 0 : last.running + last.waiting;
  });
  useEffect(() => {
    const asked = request<PlanReport>("GET", `/ui/models/${model.id}/plan`);
    asked.then(setReport, (error: Error) => setFailure(error.message));
  }, [model.id]);
  if (failure !== undefined) return <p class="failure">{failure}</p>;
  if (report === undefined) return <p class="faint">Planning…</p>;
  const { plan, advice } = report;
  const notes = [...(plan?.notes ?? []), ...advice];
  const load = async () => {
    setAsking(false);
    const done = await attempt(() => request("POST", `/ui/models/${model.id}/load`, {}).then(() => true));
    if (done) notify("done", `Loading ${model.name ?? model.file}.`);
  };
  return (
    <div class="model-plan">
      {plan === undefined ? <Misfit report={report} /> : <PlanFacts plan={plan} />}
      {plan !== undefined && <MemoryBar plan={plan} />}
      {plan !== undefined && <ModelMapView map={plan.map} />}
      {notes.length > 0 && (
        <ul class="notes">
          {notes.map((note) => (
            <li key={note}>{note}</li>
          ))}
        </ul>
      )}
      {!model.loaded && (
        <button
          type="button"
          class="button primary"
          disabled={plan === undefined}
          onClick={() => (busy > 0 ? setAsking(true) : void load())}
        >
          Use this model
        </button>
      )}
      {asking && (
        <Dialog label="Change the model" onClose={() => setAsking(false)}>
          <h2>Answers are being written</h2>
          <p class="faint">
            {busy === 1 ? "One request runs or waits" : `${busy} requests run or wait`}; the server lets them finish for
            a while and ends what is left.
          </p>
          <div class="dialog-foot">
            <button type="button" class="button" onClick={() => setAsking(false)}>
              Keep the model
            </button>
            <button type="button" class="button primary" onClick={() => void load()}>
              Change
            </button>
          </div>
        </Dialog>
      )}
    </div>
  );
}

const strategies = {
  resident: "everything in memory",
  streamed: "part in memory, the rest streamed",
  experts: "trunk in memory, experts in slots",
} as const;

function Misfit({ report }: { readonly report: PlanReport }): JSX.Element {
  const { budgetBytes, minimumBudgetBytes } = report;
  return (
    <p class="failure">
      Does not fit into {bytes(budgetBytes)}
      {minimumBudgetBytes !== undefined && `; the smallest budget that works is ${bytes(minimumBudgetBytes)}`}.
    </p>
  );
}

function PlanFacts({ plan }: { readonly plan: PlanSummary }): JSX.Element {
  const facts: [string, string | undefined][] = [
    ["Weights", strategies[plan.strategy]],
    [plan.guessed ? "A guess" : "Expected", speed(plan.secondsPerToken)],
    [plan.guessed ? "Prompt, a guess" : "Prompt", `${figures(plan.prefillTokensPerSecond)} tokens/s`],
    ["From disk", plan.streamedBytesPerPass === 0 ? "nothing" : `${bytes(plan.streamedBytesPerPass)} a token`],
    ["Experts in memory", plan.strategy === "experts" ? percent(plan.expertHitRate) : undefined],
    ["Context", `${plan.contextTokens.toLocaleString("en-US")} tokens`],
  ];
  return (
    <dl class="facts">
      {facts
        .filter(([, value]) => value !== undefined)
        .map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
    </dl>
  );
}
