/** Metrics by the names of llama-server, for the dashboards that are made for it: what is counted anyway. */
import type { EngineStatus } from "../../link/protocol.js";
import type { ServerContext } from "../service/context.js";
import { Gauge } from "../service/metrics.js";

export function llamaMetrics({ metrics, status }: ServerContext): void {
  const engine = (read: (status: EngineStatus) => number): number =>
    status.latest === undefined ? 0 : read(status.latest);
  const add =
    (type: "counter" | "gauge") =>
    (name: string, help: string, read: () => number): void => {
      metrics.add(new Gauge(`llamacpp:${name}`, help, read, type));
    };
  const [counter, gauge] = [add("counter"), add("gauge")];
  const rate = (amount: number, seconds: number): number => (seconds > 0 ? amount / seconds : 0);
  const { promptTokens, cachedTokens, generatedTokens, promptSeconds, decodeSeconds } = metrics;
  const { draftTokens, acceptedDraftTokens, draftedPasses } = metrics;
  const evaluated = (): number => promptTokens.total - cachedTokens.total;
  const passes = (): number => engine((s) => s.passes);
  let mostTokens = 0;

  counter("prompt_tokens_total", "Tokens of prompts that were evaluated.", evaluated);
  counter("prompt_tokens_cached_total", "Tokens of prompts that were kept from before.", () => cachedTokens.total);
  counter("prompt_seconds_total", "What passes over prompts took.", () => promptSeconds.total);
  counter("tokens_predicted_total", "Tokens of answers.", () => generatedTokens.total);
  counter("tokens_predicted_seconds_total", "What passes of answers took.", () => decodeSeconds.total);
  counter("n_decode_total", "Passes over the weights.", passes);
  counter("n_tokens_max", "Most positions of the KV cache in use when it was asked.", () => {
    mostTokens = Math.max(
      mostTokens,
      engine((s) => s.kvTokensUsed),
    );
    return mostTokens;
  });
  counter("spec_decode_num_draft_tokens_total", "Guesses of next tokens that were evaluated.", () => draftTokens.total);
  counter("spec_decode_num_accepted_tokens_total", "Of those, the right ones.", () => acceptedDraftTokens.total);
  counter("spec_decode_num_drafts_total", "Passes of answers that guesses were tried for.", () => draftedPasses.total);
  gauge("prompt_tokens_seconds", "Tokens of prompts evaluated a second.", () => rate(evaluated(), promptSeconds.total));
  gauge("predicted_tokens_seconds", "Tokens of answers a second.", () =>
    rate(generatedTokens.total, decodeSeconds.total),
  );
  gauge("requests_processing", "Jobs the engine works on.", () => engine((s) => s.running));
  gauge("requests_deferred", "Jobs that wait for the engine.", () => engine((s) => s.waiting));
  gauge("n_busy_slots_per_decode", "Tokens of answers a pass.", () => rate(generatedTokens.total, passes()));
}
