/** The model and what it does now, at the foot of the side. */
import type { JSX } from "preact";
import { feed } from "../feed.js";
import { figures } from "../format.js";
import { paths } from "../router.js";
import { useStore } from "../store.js";

export function ModelChip(): JSX.Element {
  const model = useStore(feed, (f) => f.state?.model);
  const sample = useStore(feed, (f) => f.samples.at(-1));
  const linked = useStore(feed, (f) => f.linked);
  const name =
    model === undefined || model.state === "none"
      ? "No model"
      : model.state === "ready"
        ? model.model.name
        : model.name;
  return (
    <a class="model-chip" href={paths.machine} title="What the machine does">
      <span class={`state-dot ${linked ? (model?.state ?? "none") : "none"}`} />
      <span class="model-chip-text">
        <strong>{name}</strong>
        <span class="faint">{linked ? activity(model?.state, sample) : "not connected"}</span>
      </span>
    </a>
  );
}

function activity(
  state: string | undefined,
  sample: { running: number; waiting: number; generatedTokens: number; seconds: number } | undefined,
): string {
  if (state === "loading") return "loading";
  if (state === "failed") return "failed";
  if (state !== "ready") return "";
  if (sample === undefined || sample.running + sample.waiting === 0) return "idle";
  const rate = sample.seconds > 0 ? sample.generatedTokens / sample.seconds : 0;
  const waiting = sample.waiting > 0 ? ` · ${sample.waiting} waiting` : "";
  return rate > 0 ? `${figures(rate)} tokens/s${waiting}` : `reading${waiting}`;
}
