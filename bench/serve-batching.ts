/**
 * Measures many requests at once: the aggregate rate of N streams against the engine's own prefill rate, and, while
 * weights are streamed, the passes of N streams against the pass of one.
 *
 *   node dist/bench/serve-batching.js MODEL [--streams 16] [-p 64] [-n 96] [--threads N] [--json FILE]
 *   node dist/bench/serve-batching.js MODEL --weights-memory 250MiB --streams 8 -n 12
 *
 * Every stream has a prompt and a seed of its own; all arrive at once. One round of others comes before: code is
 * compiled and memory touched. In the end each request is made again, alone: its tokens must be the same. Without
 * --weights-memory: aggregate = tokens of all answers / time from the first arrival to the last token, prompts
 * included. With it: the median pass that makes a token for each of N, over max(median pass of one, N tokens at the
 * prefill rate of the same weights in memory).
 */
import { cpus } from "node:os";
import { parseBytes } from "../src/cli/options/options.js";
import { median } from "../src/cli/reports/statistics.js";
import { EngineClient } from "../src/link/client.js";
import type { EngineOptions, GenerateRequest, LedgerEntry } from "../src/link/protocol.js";
import { defaultSampling } from "../src/sampling/chain.js";
import { Rng } from "../src/sampling/rng.js";
import { readArguments, saveJson } from "./support/program.js";

const { values, path } = readArguments("serve-batching MODEL [--streams 16] [-p 64] [-n 96]", {
  streams: { type: "string", default: "16" },
  prompt: { type: "string", short: "p", default: "64" },
  tokens: { type: "string", short: "n", default: "96" },
  threads: { type: "string" },
  "weights-memory": { type: "string" },
  json: { type: "string" },
});
const streams = Number(values.streams);
const promptTokens = Number(values.prompt);
const maxTokens = Number(values.tokens);
const weightsMemory = values["weights-memory"];
const contextTokens = Math.max(512, promptTokens + maxTokens);

interface Stream {
  readonly ids: number[];
  firstMs: number;
  lastMs: number;
  readonly passes: LedgerEntry[];
}

const options: EngineOptions = {
  contextTokens,
  sequences: streams,
  kvTokens: streams * contextTokens,
  ...(values.threads !== undefined && { threads: Number(values.threads) }),
};

function requestOf(vocab: number, i: number): GenerateRequest {
  const rng = new Rng(1000 + i);
  const tokens = Int32Array.from({ length: promptTokens }, () => Math.floor(rng.uniform() * vocab));
  return {
    kind: "generate",
    prompt: { kind: "tokens", tokens },
    sampling: { ...defaultSampling, seed: i },
    maxTokens,
    stop: [],
    ignoreEos: true,
  };
}

async function follow(client: EngineClient, request: GenerateRequest, began: number): Promise<Stream> {
  const stream: Stream = { ids: [], firstMs: 0, lastMs: 0, passes: [] };
  await client.submit(request, (event) => {
    if (event.kind === "pass" && event.total === 0) stream.passes.push(event.entry);
    if (event.kind !== "token") return;
    stream.lastMs = performance.now() - began;
    if (stream.ids.length === 0) stream.firstMs = stream.lastMs;
    stream.ids.push(event.id);
  }).result;
  return stream;
}

/** Alone, from nothing: kept prefixes are forgotten by the measuring job before. */
async function alone(client: EngineClient, request: GenerateRequest): Promise<Stream> {
  await client.submit({ kind: "measure", prompt: 1, decode: 0 }).result;
  return follow(client, request, performance.now());
}

async function together(client: EngineClient, seeds = 0): Promise<{ all: Stream[]; ms: number; passMs: number[] }> {
  await client.submit({ kind: "measure", prompt: 1, decode: 0 }).result;
  const passMs: number[] = [];
  let seen = -1;
  const watch = client.submit({ kind: "watch" }, (event) => {
    if (event.kind !== "status" || event.status.lastPass === undefined || event.status.passes === seen) return;
    seen = event.status.passes;
    if (event.status.lastPass.rows === streams) passMs.push(event.status.lastPass.elapsedMs);
  });
  watch.result.catch(() => {});
  const began = performance.now();
  const all = await Promise.all(
    Array.from({ length: streams }, (_, i) => follow(client, requestOf(client.info.vocab, seeds + i), began)),
  );
  const ms = performance.now() - began;
  watch.cancel();
  return { all, ms, passMs };
}

async function prefillRate(client: EngineClient): Promise<number> {
  const rates: number[] = [];
  for (let run = 0; run < 3; run++) {
    const { prefillMs } = await client.submit({ kind: "measure", prompt: contextTokens, decode: 0 }).result;
    rates.push((1000 * contextTokens) / prefillMs);
  }
  return median(rates);
}

const timeOf = (entry: LedgerEntry): number => entry.stallMs + entry.computeMs;

async function sameAlone(client: EngineClient, all: readonly Stream[], most: number): Promise<string> {
  let same = 0;
  const checked = Math.min(most, all.length);
  for (let i = 0; i < checked; i++) {
    const { ids } = await alone(client, requestOf(client.info.vocab, i));
    if (ids.join() === all[i]!.ids.join()) same++;
  }
  return `${same} of ${checked} equal to the same request alone`;
}

const report: Record<string, unknown> = { model: path, cpu: cpus()[0]?.model, streams, promptTokens, maxTokens };
const show = (name: string, value: string | number): void => {
  report[name] = value;
  console.log(`${name.padEnd(34)} ${typeof value === "number" ? value.toFixed(2) : value}`);
};

const resident = await EngineClient.open(path, options);
const rate = await prefillRate(resident);
show("prefill tokens/s", rate);
if (weightsMemory === undefined) {
  const one = await alone(resident, requestOf(resident.info.vocab, 0));
  show("one stream tokens/s", (1000 * (one.ids.length - 1)) / (one.lastMs - one.firstMs));
  await together(resident, streams);
  const { all, ms, passMs } = await together(resident);
  const tokens = all.reduce((sum, { ids }) => sum + ids.length, 0);
  show("aggregate tokens/s", (1000 * tokens) / ms);
  show("aggregate / prefill", (1000 * tokens) / ms / rate);
  const rows = tokens + streams * promptTokens;
  show("with prompts, tokens/s", (1000 * rows) / ms);
  show("with prompts / prefill", (1000 * rows) / ms / rate);
  show("tokens/s with all streams", (1000 * streams) / median(passMs));
  show("with all streams / prefill", (1000 * streams) / median(passMs) / rate);
  const first = all.map(({ firstMs }) => firstMs);
  show("first token ms, median", median(first));
  show("first token ms, last", Math.max(...first));
  const rates = all.map(({ ids, firstMs, lastMs }) => (1000 * (ids.length - 1)) / (lastMs - firstMs));
  show("slowest / fastest stream", Math.min(...rates) / Math.max(...rates));
  show("answers", await sameAlone(resident, all, streams));
  await resident.close();
} else {
  await resident.close();
  const weightsMemoryBytes = parseBytes(weightsMemory, "--weights-memory");
  const client = await EngineClient.open(path, { ...options, weightsMemoryBytes, io: "direct" });
  show("strategy", client.info.residency.strategy);
  // The first reading of a file is slower on some machines; both sides get the later ones.
  await alone(client, requestOf(client.info.vocab, 0));
  const single = await alone(client, requestOf(client.info.vocab, 0));
  const oneMs = median(single.passes.map(timeOf));
  show("pass of one, ms", oneMs);
  show("disk bytes a pass, MB", median(single.passes.map((p) => p.diskBytes)) / 1e6);
  const { all } = await together(client);
  const manyMs = median(all.flatMap(({ passes }) => passes.slice(1)).map(timeOf));
  show(`pass of ${streams}, ms`, manyMs);
  const computeMs = (1000 * streams) / rate;
  show(`${streams} tokens at the prefill rate, ms`, computeMs);
  show("ratio", manyMs / Math.max(oneMs, computeMs));
  show("answers", await sameAlone(client, all, 2));
  await client.close();
}
saveJson(values.json, report);
