/** Machines whose passes are timed waits: what is lost to the queue, at the start, between and at the end. */
import { type ChildProcess, fork } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { LineAnswer } from "../../src/batch/line-answer.js";
import type { BatchRequest } from "../../src/batch/request.js";
import { submitTo, testBatch, textLine, WaitingEngine, workerOn } from "../../test/support/fleet-batch.js";

/** Lines that each machine answers at a time. */
const lanes = 8;
const msPerToken = 20;
export const tokensPerSecond = (lanes * 1000) / msPerToken;

/** Moments, by the clock of the computer, in which a line was begun and answered. */
type Span = readonly [begin: number, end: number];

class WatchedEngine extends WaitingEngine {
  readonly spans: Span[] = [];

  override async answer(request: BatchRequest, defaults: unknown, signal: AbortSignal): Promise<LineAnswer> {
    const answer = await super.answer(request, defaults, signal);
    const end = Date.now();
    this.spans.push([end - Number(request.body.max_tokens) * msPerToken, end]);
    return answer;
  }
}

/** A machine in a process of its own; it tells its spans when it is asked to end. */
export async function waitingWorker(url: string): Promise<void> {
  const engine = new WatchedEngine(lanes, msPerToken);
  const worker = await workerOn(url, () => engine);
  process.on("SIGTERM", worker.stop);
  process.send!("ready");
  await worker.ended;
  await new Promise((resolve) => process.send!(engine.spans, resolve));
}

function linesOf(tokens: number): string[] {
  const list: string[] = [];
  let left = tokens;
  // Answers of very different lengths, as they are; a seed of our own.
  for (let i = 0; left > 0; i++) {
    const length = Math.min(left, 10 + ((i * 7919) % 91));
    list.push(textLine(`c${i}`, `${"prompt ".repeat(20)}${i}`, length));
    left -= length;
  }
  return list;
}

const program = fileURLToPath(new URL("../fleet.js", import.meta.url));

/** @returns seconds from the first line given to the last answer, and where lanes had nothing to do */
export async function withWaitingMachines(
  url: string,
  machines: number,
  tokens: number,
): Promise<{ readonly seconds: number; readonly where: string }> {
  const open = await testBatch(linesOf(tokens));
  const workers = Array.from({ length: machines }, () =>
    fork(program, ["worker", url], { stdio: ["ignore", "ignore", "inherit", "ipc"] }),
  );
  const told = Promise.all(workers.map(spansOf));
  // Machines are there before: their start is no cost of the queue.
  await Promise.all(workers.map((worker) => new Promise((resolve) => worker.once("message", resolve))));
  await sleep(1000);
  const { queue, connection } = await submitTo(url, open);
  const began = Date.now();
  await queue.answerAll(open.batch);
  const ended = Date.now();
  connection.close();
  for (const worker of workers) worker.kill("SIGTERM");
  const where = idleOf(await told, began, ended);
  return { seconds: (ended - began) / 1000, where };
}

function spansOf(worker: ChildProcess): Promise<Span[]> {
  return new Promise((resolve) => {
    let spans: Span[] = [];
    worker.on("message", (message) => {
      if (Array.isArray(message)) spans = message as Span[];
    });
    worker.on("exit", () => resolve(spans));
  });
}

/** The mean over all lanes, in seconds: before all of a machine's lanes had a line, in the middle, at the end. */
function idleOf(machines: readonly (readonly Span[])[], began: number, ended: number): string {
  let [start, between, end] = [0, 0, 0];
  const lasts: number[] = [];
  for (const spans of machines) {
    const begins = spans.map(([begin]) => begin).sort((a, b) => a - b);
    const ends = spans.map(([, end]) => end).sort((a, b) => a - b);
    // Lanes are alike: the first lines begin one on each, and the last ones end one on each.
    for (const begin of begins.slice(0, lanes)) start += begin - began;
    for (const last of ends.slice(-lanes)) end += ended - last;
    const busy = spans.reduce((sum, [from, to]) => sum + to - from, 0);
    const first = begins.slice(0, lanes).reduce((sum, begin) => sum + begin, 0);
    between += ends.slice(-lanes).reduce((sum, last) => sum + last, 0) - first - busy;
    lasts.push((ends.at(-1)! - began) / 1000);
  }
  const mean = (ms: number): string => `${(ms / 1000 / lanes / machines.length).toFixed(2)} s`;
  const list = lasts.map((last) => last.toFixed(1)).join(" ");
  return `a lane waited ${mean(start)} at the start, ${mean(between)} between, ${mean(end)} at the end (${list})`;
}
