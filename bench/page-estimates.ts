/**
 * How near the page's estimates are: seconds to read a prompt and seconds a token, told before each of three answers,
 * beside what the answer took. Three ways: in memory, streamed from the disk, and experts in slots (a model made here
 * unless --experts names one). Each server is started several times: the first answer is told by the plan alone.
 *   node dist/bench/page-estimates.js MODEL.gguf [--streamed FILE] [--experts FILE] [--starts 3] [--memory 50%]
 * Measure first: hundredweight doctor --probe. What others do meanwhile is told: threads that are ready to run.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { median } from "../src/cli/reports/statistics.js";
import { packageRoot } from "../src/package-root.js";
import { readSeconds, tokenSeconds } from "../src/server/ui/price.js";
import type { AnswerStats, Conversation, MachineEvent, PassCosts } from "../src/server/ui/wire.js";
import { parseSpec } from "../src/synth/presets.js";
import { layOutSynth, writeSynth } from "../src/synth/synth.js";
import { dropFromCache } from "./support/cold.js";
import { readArguments } from "./support/program.js";

const usage =
  "page-estimates MODEL.gguf [--streamed FILE] [--experts FILE] [--experts-memory 420MiB] [--only WAY] [--starts 3] " +
  "[--memory 50%] [--tokens 48]";
const { values, path: model } = readArguments(usage, {
  memory: { type: "string", default: "50%" },
  streamed: { type: "string" },
  experts: { type: "string" },
  "experts-memory": { type: "string", default: "420MiB" },
  only: { type: "string" },
  starts: { type: "string", default: "3" },
  tokens: { type: "string", default: "48" },
});
const folder = mkdtempSync(join(tmpdir(), "hundredweight-estimates-"));

async function serve(
  path: string,
  options: readonly string[],
): Promise<{ url: string; pid: number | undefined; stop: () => Promise<void> }> {
  const command = [join(packageRoot(), "bin/hundredweight.js"), "serve", path, "--port", "0", "--parallel", "1"];
  const data = mkdtempSync(join(folder, "data-"));
  const child = spawn(process.execPath, [...command, "--data", data, "--no-prefix-store", ...options], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  let said = "";
  child.stderr.on("data", (chunk) => {
    said += chunk;
  });
  while (!/ready: /.test(said)) {
    if (child.exitCode !== null) throw new Error(said);
    await sleep(50);
  }
  const stop = async (): Promise<void> => {
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await ended;
  };
  return { url: /listening on (\S+),/.exec(said)![1]!, pid: child.pid, stop };
}

async function ask<T>(url: string, path: string, body?: unknown): Promise<T> {
  const init = { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
  return (await (await fetch(url + path, body === undefined ? {} : init)).json()) as T;
}

/** The costs that the page is told when it is opened. */
async function toldCosts(url: string): Promise<PassCosts> {
  const stopped = new AbortController();
  const response = await fetch(`${url}/ui/machine/events`, { signal: stopped.signal });
  let text = "";
  for await (const part of response.body!.pipeThrough(new TextDecoderStream())) {
    text += part;
    const events = text.split("\n\n").slice(0, -1);
    for (const event of events.map((each) => /^data: (.*)$/m.exec(each)?.[1]).filter((data) => data !== undefined)) {
      const said = JSON.parse(event) as MachineEvent;
      if (said.type !== "costs" || said.costs === null) continue;
      stopped.abort();
      return said.costs;
    }
  }
  throw new Error("the server told no costs");
}

/** Questions with long answers: those of a few tokens would be told by their first and last moments. */
const questions = [
  "Now tell a long story about a merchant's daughter who leaves the harbour and what she sees on her way.",
  "Now explain at length how a sailing ship is built, step by step, from the keel to the flag.",
  "Now write a long letter from a lighthouse keeper to his brother about the winter, the birds and the sea.",
];

/** A text that no answer before it began with. */
const promptOf = (turn: number): string =>
  [
    ...Array.from({ length: 60 }, (_, i) => `Entry ${turn * 100 + i}: the merchant weighed ${i * 7 + turn} stones.`),
    questions[turn % questions.length]!,
  ].join(" ");

async function answered(url: string, turn: number): Promise<AnswerStats> {
  const sampling = { temperature: 0, maxTokens: Number(values.tokens) };
  const { id } = await ask<Conversation>(url, "/ui/conversations", { sampling });
  await ask(url, `/ui/conversations/${id}/messages`, { parent: null, content: promptOf(turn) });
  for (;;) {
    const { messages } = await ask<Conversation>(url, `/ui/conversations/${id}`);
    const answer = messages.at(-1)!;
    if (answer.state === "failed") throw new Error(answer.error?.message);
    if (answer.state !== "running") return answer.stats!;
    await sleep(100);
  }
}

/** The error of what was told, in percent. */
const offBy = (told: number, took: number): number => 100 * (told / took - 1);

const percent = (off: number): string => `${off > 0 ? "+" : ""}${off.toFixed(0)} %`;

const compared = (told: number, took: number): string =>
  `${told.toFixed(3)} told, ${took.toFixed(3)} took: ${percent(offBy(told, took))}`;

/** Processor time of the engine's process, in seconds; undefined where nobody tells. */
function processorSeconds(server: number | undefined): number | undefined {
  try {
    const children = readFileSync(`/proc/${server}/task/${server}/children`, "latin1").trim().split(" ");
    const times = children
      .map((pid) => readFileSync(`/proc/${pid}/stat`, "latin1"))
      .map((stat) => stat.slice(stat.lastIndexOf(")") + 2).split(" "))
      .map((fields) => (Number(fields[11]) + Number(fields[12])) / 100);
    return Math.max(...times);
  } catch {
    return undefined;
  }
}

/** How far the first and the later answers of each start were off, in percent: reading, and a token. */
const found = new Map<string, { read: number[]; token: number[] }>();

function note(key: string, read: number, token: number): void {
  const list = found.get(key) ?? { read: [], token: [] };
  list.read.push(read);
  list.token.push(token);
  found.set(key, list);
}

async function measure(name: string, path: string, options: readonly string[]): Promise<void> {
  if (values.only !== undefined && values.only !== name) return;
  for (let start = 0; start < Number(values.starts); start++) {
    dropFromCache(path, "file");
    const { url, pid, stop } = await serve(path, options);
    try {
      // The page has looked around before anybody writes.
      await sleep(5000);
      for (let turn = 0; turn < 3; turn++) {
        const costs = await toldCosts(url);
        const before = processorSeconds(pid);
        const { promptTokens, cachedTokens, generatedTokens, prefillMs, decodeMs, drafts } = await answered(url, turn);
        const right = Object.values(drafts ?? {}).reduce((sum, guesses) => sum + guesses.right, 0);
        const spent = (processorSeconds(pid) ?? Number.NaN) - (before ?? Number.NaN);
        const read = promptTokens - cachedTokens;
        const [toldRead, tookRead] = [readSeconds(costs, read), prefillMs / 1000];
        const middle = promptTokens + generatedTokens / 2;
        const [toldToken, tookToken] = [
          tokenSeconds(costs, middle),
          decodeMs / 1000 / Math.max(1, generatedTokens - 1),
        ];
        note(
          `${name}, ${turn === 0 ? "first" : "later"} answers`,
          offBy(toldRead, tookRead),
          offBy(toldToken, tookToken),
        );
        console.log(
          `${name}, answer ${turn + 1}: ${read} tokens read in s ${compared(toldRead, tookRead)}; ` +
            `s a token ${compared(toldToken, tookToken)} (${generatedTokens} tokens, ${right} guessed); ` +
            `${spent.toFixed(1)} s of processors in ${((prefillMs + decodeMs) / 1000).toFixed(1)} s; ` +
            `load ${loadavg()[0]!.toFixed(1)}`,
        );
      }
    } finally {
      await stop();
    }
  }
}

try {
  await measure("in memory", model, ["--ctx", "4096"]);
  const streamed = values.streamed ?? model;
  await measure("streamed", streamed, ["--ctx", "4096", "--weights-memory", shareOf(streamed, values.memory)]);
  const experts = values.experts ?? join(folder, "experts.gguf");
  if (values.experts === undefined) {
    const { name, shape } = parseSpec(
      "qwen3moe,layers=16,dim=512,heads=8,kv-heads=2,head-dim=64,vocab=8192,experts=64,top-k=8,expert-hidden=640,context=8192",
    );
    await writeSynth(experts, layOutSynth(name, shape), { routerSkew: 0.6 });
  }
  await measure("experts", experts, ["--memory", values["experts-memory"], "--ctx", "4096"]);
  for (const [key, { read, token }] of found)
    console.log(
      `${key}: reading ${percent(median(read))} (${read.map(percent).join(", ")}), ` +
        `a token ${percent(median(token))} (${token.map(percent).join(", ")})`,
    );
} finally {
  rmSync(folder, { recursive: true, force: true });
}

/** A share of a file's bytes, as an option has it. */
function shareOf(path: string, share: string): string {
  return `${Math.round((statSync(path).size * Number.parseFloat(share)) / 100 / 2 ** 20)}MiB`;
}
