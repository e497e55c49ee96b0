/** Why it is as fast as it is, in two sentences, and what would help. */
import type { JSX } from "preact";
import { useEffect, useMemo, useState } from "preact/hooks";
import { request } from "../api.js";
import { feed } from "../feed.js";
import { bytes, figures } from "../format.js";
import { useStore } from "../store.js";
import { type TokenCost, tokenCostOf } from "./series.js";
import { WithCode } from "./with-code.js";

export function WhySpeed(): JSX.Element | null {
  const samples = useStore(feed, (f) => f.samples);
  const plan = useStore(feed, (f) => f.plan);
  const advice = useAdvice();
  const measured = useMemo(() => tokenCostOf(samples), [samples]);
  const planned: TokenCost | undefined =
    plan === undefined
      ? undefined
      : { seconds: plan.secondsPerToken, stallSeconds: undefined, diskBytes: plan.streamedBytesPerPass };
  const cost = measured ?? planned;
  if (cost === undefined) return null;
  return (
    <section class="card why">
      <h2>Why this speed</h2>
      <p>
        {measured === undefined ? "A token is expected to take " : "A token takes "}
        {sentence(cost)} <strong>{limitOf(cost, plan?.strategy === "resident")}</strong>
      </p>
      {advice.length > 0 && (
        <ul class="notes">
          {advice.map((line) => (
            <li key={line}>
              <WithCode text={line} />
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}

function sentence({ seconds, stallSeconds, diskBytes }: TokenCost): string {
  const all = `${figures(seconds)} s`;
  if (stallSeconds === undefined) return diskBytes > 0 ? `${all}, with ${bytes(diskBytes)} from disk.` : `${all}.`;
  const computing = `${figures(Math.max(0, seconds - stallSeconds))} s computing`;
  if (diskBytes === 0) return `${all}, all of it computing: nothing is read from disk.`;
  return `${all}: ${figures(stallSeconds)} s waiting for ${bytes(diskBytes)} from disk, ${computing}.`;
}

function limitOf({ seconds, stallSeconds, diskBytes }: TokenCost, resident: boolean): string {
  if (stallSeconds !== undefined && diskBytes > 0)
    return stallSeconds > seconds / 2 ? "The disk is the limit." : "Computing is the limit.";
  return diskBytes > 0 && !resident ? "The disk is the limit." : "Memory and processor are the limit.";
}

/** Advice that planning again found, asked for once for each model. */
function useAdvice(): readonly string[] {
  const model = useStore(feed, (f) => (f.state?.model.state === "ready" ? f.state.model.model.name : undefined));
  const [advice, setAdvice] = useState<readonly string[]>([]);
  useEffect(() => {
    setAdvice([]);
    if (model === undefined) return;
    let isWanted = true;
    request<{ advice: string[] }>("GET", "/ui/machine/advice").then(
      (found) => isWanted && setAdvice(found.advice),
      () => {}, // then nothing is advised
    );
    return () => {
      isWanted = false;
    };
  }, [model]);
  return advice;
}
