/** `/metrics`: what the server counted, and what engine and process say when they are asked. */
import { monitorEventLoopDelay } from "node:perf_hooks";
import type { Hono } from "hono";
import type { EngineStatus } from "../../link/protocol.js";
import { outgoingOf } from "../answers/parts.js";
import type { ServerContext } from "../service/context.js";
import { Gauge } from "../service/metrics.js";
import { llamaMetrics } from "./llama-metrics.js";

export function metricRoutes(app: Hono, context: ServerContext): void {
  const { metrics, status, model, gate, untaken } = context;
  const gauge = (name: string, help: string, read: () => number | undefined): void => {
    metrics.add(new Gauge(`hundredweight_${name}`, help, read));
  };
  const counter = (name: string, help: string, read: () => number | undefined): void => {
    metrics.add(new Gauge(`hundredweight_${name}`, help, read, "counter"));
  };
  const engine = (read: (status: EngineStatus) => number | undefined) => () =>
    status.latest === undefined ? undefined : read(status.latest);

  gauge("ready", "1 when the model answers.", () => (model.state.phase === "ready" ? 1 : 0));
  gauge("answers_open", "Answers being made or waiting.", () => gate.count);
  gauge("untaken_bytes", "Of answers that were made and not taken yet.", () => untaken.bytes);
  counter("readers_cut_total", "Readers who took nothing and had to give way.", () => untaken.cut);
  gauge(
    "requests_processing",
    "Jobs the engine works on.",
    engine((s) => s.running),
  );
  gauge(
    "requests_deferred",
    "Jobs that wait for the engine.",
    engine((s) => s.waiting),
  );
  gauge(
    "requests_paused",
    "Jobs whose clients read too slowly.",
    engine((s) => s.paused),
  );
  gauge(
    "kv_tokens",
    "Positions of the KV cache.",
    engine((s) => s.kvTokens),
  );
  gauge(
    "kv_tokens_used",
    "Of those, in use, kept prefixes included.",
    engine((s) => s.kvTokensUsed),
  );
  counter(
    "passes_total",
    "Passes over the weights.",
    engine((s) => s.passes),
  );
  counter(
    "preemptions_total",
    "Times a job was sent back to wait because the KV cache was full.",
    engine((s) => s.preemptions),
  );
  counter(
    "recomputed_tokens_total",
    "Tokens evaluated again for such jobs.",
    engine((s) => s.recomputedTokens),
  );
  gauge(
    "last_pass_rows",
    "Token rows of the last pass.",
    engine((s) => s.lastPass?.rows),
  );
  gauge(
    "last_pass_disk_bytes",
    "Bytes it read from the disk.",
    engine((s) => s.lastPass?.diskBytes),
  );
  gauge(
    "last_pass_stall_seconds",
    "What it waited for them.",
    engine((s) => seconds(s.lastPass?.stallMs)),
  );
  gauge(
    "last_pass_seconds",
    "How long it took.",
    engine((s) => seconds(s.lastPass?.elapsedMs)),
  );
  counter("engine_restarts_total", "Times the engine was started again.", () => model.state.restarts);
  counter("text_worker_restarts_total", "Times the text worker was started again.", () => model.textRestarts);
  gauge("process_resident_memory_bytes", "Of the server's process.", () => process.memoryUsage.rss());

  llamaMetrics(context);

  const resolution = 10;
  const delay = monitorEventLoopDelay({ resolution });
  delay.enable();
  gauge("event_loop_delay_p99_seconds", "Since the last scrape.", () => {
    // What it records is the time between two timers, their interval included.
    const value = Math.max(0, delay.percentile(99) / 1e6 - resolution) / 1000;
    delay.reset();
    return Number.isNaN(value) ? 0 : value;
  });

  const started = String(Math.floor(performance.timeOrigin / 1000));
  app.get("/metrics", (c) => {
    // Written as it is: some who look for it tell capital letters from small ones.
    outgoingOf(c)?.setHeader("Process-Start-Time-Unix", started);
    return c.body(metrics.text(), 200, { "content-type": "text/plain; version=0.0.4; charset=utf-8" });
  });
}

function seconds(ms: number | undefined): number | undefined {
  return ms === undefined ? undefined : ms / 1000;
}
