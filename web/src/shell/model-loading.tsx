/** Why there is no model yet, and how long it has been loading. */
import type { JSX } from "preact";
import type { PageState } from "../../../src/server/ui/wire.js";
import { bytes } from "../format.js";
import { paths } from "../router.js";
import { useSecondsSince } from "../use-seconds.js";

export function ModelLoading({ state }: { readonly state: PageState | undefined }): JSX.Element | null {
  const model = state?.model;
  const since = useSecondsSince(model);
  if (model === undefined || model.state === "ready") return null;
  if (model.state === "none")
    return (
      <section class="welcome">
        <h2>No model</h2>
        <p class="faint">
          {state?.hasFolder === true ? (
            <a href={paths.models}>Choose a model</a>
          ) : (
            "The server was started without one."
          )}
        </p>
      </section>
    );
  if (model.state === "failed")
    return (
      <section class="welcome">
        <h2>{model.name} cannot be used</h2>
        <p class="failure">{model.error}</p>
        {state?.hasFolder === true && <a href={paths.models}>Choose another model</a>}
      </section>
    );
  return (
    <section class="welcome">
      <h2>{model.restarting ? `Starting ${model.name} again` : `Loading ${model.name}`}</h2>
      {model.totalBytes > 0 ? (
        <progress aria-label="Loading the model" max={model.totalBytes} value={model.loadedBytes} />
      ) : (
        <progress aria-label="Loading the model" />
      )}
      <p class="faint">
        {model.totalBytes > 0 && `${bytes(model.loadedBytes)} of ${bytes(model.totalBytes)} · `}
        {Math.round(model.seconds + since)} s{model.error !== undefined && ` · ${model.error}`}
      </p>
    </section>
  );
}
