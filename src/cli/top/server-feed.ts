/** Hears what a running server tells of itself: the stream its page shows, or /metrics where it has no page. */
import { setTimeout as sleep } from "node:timers/promises";
import { HundredweightError } from "../../errors.js";
import type { MachineEvent, MemoryNow, PageState, PlanSummary, Sample } from "../../server/index.js";

/** Facts of the server, as far as they are known at a moment. */
export class ServerFacts {
  state: PageState | undefined;
  plan: PlanSummary | undefined;
  memory: MemoryNow | undefined;
  /** The newest last; as many as the server keeps, ten minutes. */
  samples: Sample[] = [];

  hear(event: MachineEvent): void {
    if (event.type === "state") this.state = event.state;
    else if (event.type === "plan") this.plan = event.plan ?? undefined;
    else if (event.type === "memory") this.memory = event.memory ?? undefined;
    else if (event.type === "history") this.samples = [...event.samples];
    else if (event.type === "sample") this.add(event.sample);
  }

  /** Whether a view of it has all its parts: memory is asked of an engine that may be in a long pass. */
  get whole(): boolean {
    const { state } = this;
    if (state !== undefined && state.model.state !== "ready") return true;
    return this.samples.length >= 2 && (this.memory !== undefined || state === undefined);
  }

  add(sample: Sample): void {
    this.samples.push(sample);
    if (this.samples.length > mostSamples) this.samples.shift();
  }
}

const mostSamples = 1200;
const pollMs = 1000;
/** Characters; the plan of a large model is some megabytes. */
const longestEvent = 2 ** 26;

interface Where {
  /** Address of the server, without a path behind. */
  readonly url: string;
  readonly key: string | undefined;
  readonly signal: AbortSignal;
}

/**
 * Hears until the server ends or `signal` does.
 * @throws NETWORK_FAILED when there is none, it wants a key, or it is another program
 */
export async function follow(where: Where, facts: ServerFacts, heard: () => void): Promise<void> {
  const response = await ask(where, "/ui/machine/events");
  if (response.status === 404) return pollMetrics(where, facts, heard);
  if (!response.ok || response.body === null) throw refused(where, response);
  if (!/^text\/event-stream\b/.test(response.headers.get("content-type") ?? "")) throw foreign(where);
  let rest = "";
  const decoder = new TextDecoder();
  for await (const bytes of response.body as ReadableStream<Uint8Array> & AsyncIterable<Uint8Array>) {
    const lines = (rest + decoder.decode(bytes, { stream: true })).split("\n");
    rest = lines.pop()!;
    if (rest.length > longestEvent) throw foreign(where);
    try {
      for (const line of lines) if (line.startsWith("data: ")) facts.hear(JSON.parse(line.slice(6)) as MachineEvent);
      heard();
    } catch {
      throw foreign(where);
    }
  }
}

async function ask({ url, key, signal }: Where, path: string): Promise<Response> {
  const headers = key === undefined ? {} : { authorization: `Bearer ${key}` };
  try {
    return await fetch(`${url}${path}`, { headers, signal });
  } catch (error) {
    if (signal.aborted) throw error;
    const reason = error instanceof Error && error.cause instanceof Error ? error.cause.message : String(error);
    throw new HundredweightError("NETWORK_FAILED", `${url}: ${reason}; is \`hundredweight serve\` running there?`);
  }
}

function refused({ url }: Where, { status }: Response): HundredweightError {
  const what = status === 401 ? "it wants a key: --api-key, or HUNDREDWEIGHT_API_KEY" : `it answers ${status}`;
  return new HundredweightError("NETWORK_FAILED", `${url}: ${what}`);
}

const foreign = ({ url }: Where): HundredweightError =>
  new HundredweightError("NETWORK_FAILED", `${url}: it does not speak as a server of hundredweight does`);

async function pollMetrics(where: Where, facts: ServerFacts, heard: () => void): Promise<void> {
  let before: Metrics | undefined;
  let at = Date.now();
  for (;;) {
    const response = await ask(where, "/metrics");
    if (!response.ok) throw refused(where, response);
    const now = parseMetrics(await response.text());
    const time = Date.now();
    facts.add(sampleOf(now, before ?? now, time, (time - at) / 1000));
    heard();
    [before, at] = [now, time];
    await sleep(pollMs, undefined, { signal: where.signal });
  }
}

type Metrics = ReadonlyMap<string, number>;

/** Values without labels, without the prefix of our names. @source Prometheus exposition format 0.0.4 */
export function parseMetrics(text: string): Metrics {
  const found = new Map<string, number>();
  for (const line of text.split("\n")) {
    const match = /^hundredweight_(\w+) (\S+)$/.exec(line);
    if (match !== null) found.set(match[1]!, Number(match[2]));
  }
  return found;
}

/** Makes a sample of two scrapes. Only the last pass is told: it stands for all since the sample before. */
export function sampleOf(now: Metrics, before: Metrics, time: number, seconds: number): Sample {
  const value = (name: string): number => now.get(name) ?? 0;
  const since = (name: string): number => Math.max(0, value(name) - (before.get(name) ?? 0));
  const passes = since("passes_total");
  const stallMs = 1000 * value("last_pass_stall_seconds");
  const seen = {
    passes: 1,
    rows: value("last_pass_rows"),
    diskBytes: value("last_pass_disk_bytes"),
    pinnedBytes: 0,
    stallMs,
    computeMs: Math.max(0, 1000 * value("last_pass_seconds") - stallMs),
    expertHits: 0,
    expertMisses: 0,
  };
  return {
    time,
    seconds: Math.max(0.001, seconds),
    running: value("requests_processing"),
    waiting: value("requests_deferred"),
    kvTokensUsed: value("kv_tokens_used"),
    kvTokens: value("kv_tokens"),
    passes,
    generatedTokens: since("generated_tokens_total"),
    promptTokens: since("prompt_tokens_total"),
    cachedTokens: since("cached_tokens_total"),
    seen: passes === 0 ? { ...seen, passes: 0, rows: 0, diskBytes: 0, stallMs: 0, computeMs: 0 } : seen,
  };
}
