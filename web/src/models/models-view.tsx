/** Models of the folder the server was given: what each would need, and a button that changes to it. */
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { FolderModel, ModelChoice, PlanReport, PlanSummary } from "../../../src/server/ui/wire.js";
import { request } from "../api.js";
import { feed } from "../feed.js";
import { bytes, figures, parameters, percent, speed } from "../format.js";
import { MemoryBar } from "../machine/memory-bar.js";
import { ModelMapView } from "../machine/model-map.js";
import { WithCode } from "../machine/with-code.js";
import { attempt, notify } from "../notices.js";
import { Dialog } from "../shell/dialog.js";
import { ModelLoading } from "../shell/model-loading.js";
import { useStore } from "../store.js";
import { PullCard } from "./pull-card.js";
import "../styles/machine.css";
import "../styles/models.css";

export function ModelsView(): JSX.Element {
  const state = useStore(feed, (f) => f.state);
  const [listing, setListing] = useState<ModelChoice>();
  const [chosen, setChosen] = useState<string>();
  const hasFolder = state?.hasFolder;
  const fetched = useStore(feed, (f) => f.pulls.filter(({ phase }) => phase === "done").length);
  useEffect(() => {
    if (hasFolder === true) void attempt(() => request<ModelChoice>("GET", "/ui/models")).then(setListing);
  }, [hasFolder, state?.model, fetched]);
  return (
    <div class="models">
      <header class="bar">
        <h1 class="bar-title">Models</h1>
        {listing !== undefined && <span class="faint bar-note">{listing.folder}</span>}
      </header>
      <div class="models-body">
        {state !== undefined && state.model.state !== "ready" && <ModelLoading state={state} />}
        {state?.changesTo !== undefined && (
          <p class="line" role="status">
            <span>{state.changesTo} is loaded when the answers that run have ended.</span>
            <button type="button" class="button small" onClick={() => void keepModel()}>
              Cancel
            </button>
          </p>
        )}
        {hasFolder === false && (
          <p class="hint">
            Start the server with <code>--models</code> to choose among the models of this computer here, or with
            <code>--models DIR</code> among the GGUF files of a folder.
          </p>
        )}
        {listing?.mayPull === true && <PullCard />}
        {hasFolder === true && listing === undefined && <p class="faint">Reading the folder…</p>}
        {listing?.models.length === 0 && <p class="hint">There is no model here yet.</p>}
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
    model.name,
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
        <strong>{model.file}</strong>
        {model.loaded && <span class="badge">in use</span>}
        {model.fault !== undefined && <span class="badge warn">cannot be run</span>}
        <span class="faint">{facts.filter((fact) => fact !== undefined).join(" · ")}</span>
        {model.fault === undefined && <Verdict model={model} />}
      </button>
      {isOpen &&
        (model.fault === undefined ? <ModelPlan model={model} /> : <p class="failure">{model.fault.message}</p>)}
    </li>
  );
}

const keepModel = () => attempt(() => request("DELETE", "/ui/models/change"));

/** Plans are made one after the other: each reads a header and thinks for a moment. */
let planning: Promise<unknown> = Promise.resolve();

function planOf(id: string, contextTokens?: number): Promise<PlanReport> {
  const query = contextTokens === undefined ? "" : `?context=${contextTokens}`;
  const asked = planning.then(() => request<PlanReport>("GET", `/ui/models/${id}/plan${query}`));
  planning = asked.catch(() => {});
  return asked;
}

/** Says in a few words whether it fits, and how fast it is. */
function Verdict({ model }: { readonly model: FolderModel }): JSX.Element | null {
  const [words, setWords] = useState<string>();
  useEffect(() => {
    let isWanted = true;
    planOf(model.id).then(
      (report) => isWanted && setWords(verdictOf(report)),
      () => {}, // opening the card says why
    );
    return () => {
      isWanted = false;
    };
  }, [model.id]);
  return words === undefined ? null : <span class="verdict">{words}</span>;
}

const isMisfit = ({ plan, minimumBudgetBytes, advice }: PlanReport): boolean =>
  plan === undefined && (minimumBudgetBytes !== undefined || advice.length > 0);

/** Undefined where nothing was planned: the plain TypeScript implementation takes what there is. */
function verdictOf(report: PlanReport): string | undefined {
  const { plan, minimumBudgetBytes } = report;
  if (isMisfit(report))
    return minimumBudgetBytes === undefined ? "does not fit" : `does not fit: from ${bytes(minimumBudgetBytes)}`;
  if (plan === undefined) return undefined;
  const fits = plan.strategy === "resident" ? "fits" : "streams";
  return `${fits} · about ${speed(plan.secondsPerToken)}`;
}

function ModelPlan({ model }: { readonly model: FolderModel }): JSX.Element {
  const [report, setReport] = useState<PlanReport>();
  const [failure, setFailure] = useState<string>();
  const [asking, setAsking] = useState(false);
  const [context, setContext] = useState<number>();
  const busy = useStore(feed, (f) => {
    const last = f.samples.at(-1);
    return last === undefined ? 0 : last.running + last.waiting;
  });
  useEffect(() => {
    let isWanted = true;
    planOf(model.id, context).then(
      (found) => isWanted && setReport(found),
      (error: Error) => isWanted && setFailure(error.message),
    );
    return () => {
      isWanted = false;
    };
  }, [model.id, context]);
  if (failure !== undefined) return <p class="failure">{failure}</p>;
  if (report === undefined) return <p class="faint">Planning…</p>;
  const { plan, advice } = report;
  const notes = [...(plan?.notes ?? []), ...advice];
  const load = async (when: "idle" | "now") => {
    setAsking(false);
    const body = { when, ...(context !== undefined && { contextTokens: context }) };
    const done = await attempt(() => request("POST", `/ui/models/${model.id}/load`, body).then(() => true));
    if (done) notify("done", when === "idle" ? `${model.file} is loaded later.` : `Loading ${model.file}.`);
  };
  return (
    <div class="model-plan">
      <label class="plan-context">
        Context
        <input
          type="number"
          min={1}
          max={model.contextTokens ?? 2 ** 24}
          step={1}
          placeholder={plan === undefined ? "tokens" : String(plan.contextTokens)}
          onChange={(event) => {
            const { value, valueAsNumber } = event.currentTarget;
            if (event.currentTarget.checkValidity()) setContext(value === "" ? undefined : valueAsNumber);
            else event.currentTarget.reportValidity();
          }}
        />
        tokens
      </label>
      {isMisfit(report) && <Misfit report={report} />}
      {plan !== undefined && <PlanFacts plan={plan} />}
      {plan !== undefined && <MemoryBar plan={plan} />}
      {plan !== undefined && <ModelMapView map={plan.map} />}
      {notes.length > 0 && (
        <ul class="notes">
          {notes.map((note) => (
            <li key={note}>
              <WithCode text={note} />
            </li>
          ))}
        </ul>
      )}
      {!model.loaded && (
        <button
          type="button"
          class="button primary"
          disabled={isMisfit(report)}
          onClick={() => (busy > 0 ? setAsking(true) : void load("now"))}
        >
          Use this model
        </button>
      )}
      {asking && (
        <Dialog label="Change the model" onClose={() => setAsking(false)}>
          <h2>Answers are being written</h2>
          <p class="faint">
            {busy === 1 ? "One request runs or waits." : `${busy} requests run or wait.`} Changed now, they end with
            what they have; the page's answers can go on with the other model.
          </p>
          <div class="dialog-foot">
            <button type="button" class="button primary" onClick={() => void load("idle")}>
              Change when it is done
            </button>
            <button type="button" class="button" onClick={() => void load("now")}>
              Change now
            </button>
            <button type="button" class="button" onClick={() => setAsking(false)}>
              Cancel
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
