/**
 * Do hostile templates and texts harm anybody but whoever sent them? Eleven kinds of ten templates and fifty texts
 * against `serve` (at a request, at a change of model), `run` (with and without Ctrl-C), `chat` and `batch`. Prints
 * JSON; exit code 1 when a promise is broken.
 *   node dist/bench/hostile-texts.js [--every N] [--only request,load,run,chat,batch]     every Nth template
 */
import type { ChildProcess } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { chatModel } from "../test/server/chat-model.js";
import { plainTemplate } from "../test/server/fake-engine.js";
import { startCli } from "../test/support/cli.js";
import { hostileTemplates, hostileTexts, onDemand } from "../test/support/hostile-templates.js";

const { values } = parseArgs({ options: { every: { type: "string", default: "1" }, only: { type: "string" } } });
const every = Number(values.every);
const wanted = (part: string): boolean => values.only === undefined || values.only.split(",").includes(part);
const templates = hostileTemplates.filter((_, n) => n % every === 0);
const folder = mkdtempSync(join(tmpdir(), "hundredweight-hostile-"));
const faults: string[] = [];
const report: Record<string, unknown> = { templates: templates.length, texts: hostileTexts.length };
const env = { HUNDREDWEIGHT_PROBE: "off" };
const mebibyte = 2 ** 20;

const check = (holds: boolean, what: string): void => {
  if (!holds) faults.push(what);
};

/** Resident bytes: of a process, and of the processes of texts it started. Linux only. */
function residentOf(pid: number): { own: number; texts: number[] } {
  const rss = (id: string | number): number =>
    Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${id}/status`, "utf8"))?.[1] ?? 0) * 1024;
  const texts: number[] = [];
  for (const id of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      if (!readFileSync(`/proc/${id}/cmdline`, "utf8").includes("text/process")) continue;
      if (Number(/^\d+ \(.*\) \S (\d+)/s.exec(readFileSync(`/proc/${id}/stat`, "utf8"))?.[1]) === pid)
        texts.push(rss(id));
    } catch {} // it ended meanwhile
  }
  return { own: rss(pid), texts };
}

function watchMemory(pid: number): () => { server: number; text: number; processes: number } {
  const most = { server: 0, text: 0, processes: 0 };
  const timer = setInterval(() => {
    try {
      const { own, texts } = residentOf(pid);
      most.server = Math.max(most.server, own / mebibyte);
      most.text = Math.max(most.text, ...texts.map((bytes) => bytes / mebibyte));
      most.processes = Math.max(most.processes, texts.length);
    } catch {}
  }, 40);
  return () => {
    clearInterval(timer);
    return { server: Math.round(most.server), text: Math.round(most.text), processes: most.processes };
  };
}

const median = (list: readonly number[]): number => [...list].sort((a, b) => a - b)[list.length >> 1] ?? 0;
const ended = (child: ChildProcess): Promise<{ code: number | null; signal: string | null }> =>
  new Promise((resolve) => child.once("exit", (code, signal) => resolve({ code, signal })));

async function serve(args: readonly string[]): Promise<{ child: ChildProcess; url: string }> {
  const child = startCli(
    ["serve", ...args, "--port", "0", "--data", join(folder, "data"), "--no-probe", "--threads", "1"],
    env,
  );
  let said = "";
  child.stderr!.on("data", (text) => {
    said += text;
  });
  for (let n = 0; n < 300; n++) {
    const url = /listening on (\S+),/.exec(said)?.[1];
    if (url !== undefined && (await fetch(`${url}/ready`)).status === 200) return { child, url };
    await sleep(100);
  }
  throw new Error(`the server did not start: ${said}`);
}

async function post(url: string, body: object): Promise<{ status: number; code: unknown; ms: number }> {
  const began = performance.now();
  const response = await fetch(url, {
    method: "POST",
    body: JSON.stringify(body),
    headers: { "content-type": "application/json" },
  });
  const said = (await response.json()) as { error?: { code?: unknown } };
  return { status: response.status, code: said.error?.code, ms: performance.now() - began };
}

const chatOf = (content: string): object => ({ messages: [{ role: "user", content }], max_tokens: 1 });

async function requests(): Promise<void> {
  const conditional = templates.filter(({ whole }) => !whole);
  const path = await chatModel(onDemand(conditional, plainTemplate), "on-demand");
  const { child, url } = await serve([path]);
  const gone = ended(child);
  const memory = watchMemory(child.pid!);
  const good = async (): Promise<number> => {
    const { status, ms } = await post(`${url}/v1/chat/completions`, chatOf("hello"));
    check(status === 200, `a good chat has status ${status}`);
    return ms;
  };
  const alone: number[] = [];
  for (let n = 0; n < 10; n++) alone.push(await good());
  const restMiB = Math.round(residentOf(child.pid!).own / mebibyte);
  const codes: Record<string, number> = {};
  const beside: { readonly what: string; readonly ms: number }[] = [];
  let running = 0;
  const bad = async (route: string, body: object): Promise<void> => {
    running++;
    const { status, code } = await post(`${url}${route}`, body);
    running--;
    codes[`${status} ${code ?? ""}`] = (codes[`${status} ${code ?? ""}`] ?? 0) + 1;
  };
  const steps: Record<string, unknown>[] = [];
  const under = async (what: string, many: readonly Promise<void>[]): Promise<void> => {
    const all = Promise.all(many);
    const watch = watchMemory(child.pid!);
    let late = 0;
    while (running > 0) {
      const ms = await good();
      beside.push({ what, ms });
      late = Math.max(late, ms);
      await sleep(100);
    }
    await all;
    steps.push({ what, goodMs: Math.round(late), ...watch() });
  };
  for (let n = 0; n < conditional.length; n += 10)
    await under(
      conditional[n]!.kind,
      conditional.slice(n, n + 10).map((_, i) => bad("/v1/chat/completions", chatOf(`boom ${n + i}.`))),
    );
  for (let n = 0; n < hostileTexts.length; n += 5)
    await under(
      `texts of ${JSON.stringify(hostileTexts[n]!.slice(0, 8))}`,
      hostileTexts
        .slice(n, n + 5)
        .flatMap((text) => [
          bad("/v1/chat/completions", chatOf(text)),
          bad("/tokenize", { content: text, parse_special: false }),
        ]),
    );
  for (const { what, ms } of beside) {
    const late = ms - median(alone);
    check(late < 1000, `${what}: a good chat was ${late.toFixed(0)} ms later than alone`);
  }
  // Ends at once, also in the middle of one that hangs.
  const hanging = bad("/v1/chat/completions", chatOf("boom 0.")).catch(() => {});
  await sleep(500);
  const began = performance.now();
  child.kill("SIGTERM");
  const { code, signal } = await gone;
  const endMs = performance.now() - began;
  await hanging;
  check(code === 0 && signal === null, `the server ended with ${code ?? signal}`);
  check(endMs < 2500, `SIGTERM took ${endMs.toFixed(0)} ms`);
  const most = memory();
  check(most.text <= 256, `a text process had ${most.text} MiB`);
  check(most.server <= 128, `the server had ${most.server} MiB`);
  report.request = {
    aloneMs: median(alone),
    besideMs: { median: median(beside.map(({ ms }) => ms)), most: Math.max(...beside.map(({ ms }) => ms)) },
    steps,
    restMiB,
    asked: beside.length,
    codes,
    sigtermMs: endMs,
    maxMiB: most,
  };
}

async function write(): Promise<string[]> {
  const paths: string[] = [];
  for (const [n, { source }] of templates.entries()) paths.push(await chatModel(source, `hostile-${n}`));
  return paths;
}

/** Every model is loaded in turn by one server; completions must work with each. */
async function load(paths: readonly string[]): Promise<void> {
  const { child, url } = await serve([paths[0]!, "--models", join(paths[0]!, "..")]);
  const gone = ended(child);
  const memory = watchMemory(child.pid!);
  const { models } = (await (await fetch(`${url}/ui/models`)).json()) as { models: { id: string; file: string }[] };
  const took: number[] = [];
  for (const { id, file: name } of models.filter(({ file }) => /hostile-/.test(file))) {
    const began = performance.now();
    await fetch(`${url}/ui/models/${encodeURIComponent(id)}/load`, {
      method: "POST",
      body: "{}",
      headers: { "content-type": "application/json", origin: url },
    });
    while ((await fetch(`${url}/ready`)).status !== 200 && performance.now() - began < 30_000) await sleep(50);
    const { status } = await post(`${url}/v1/completions`, { prompt: "a", max_tokens: 1 });
    took.push(performance.now() - began);
    check(status === 200, `${name}: a completion has status ${status}`);
  }
  child.kill("SIGTERM");
  const { code, signal } = await gone;
  check(code === 0 && signal === null, `changes of model: the server ended with ${code ?? signal}`);
  check(took.length > 0, "no model was loaded");
  report.load = { models: took.length, ms: { median: median(took), most: Math.max(...took) }, maxMiB: memory() };
}

async function cli(command: "run" | "chat", paths: readonly string[]): Promise<void> {
  const took: number[] = [];
  const stopped: number[] = [];
  const codes: Record<string, number> = {};
  let maxText = 0;
  for (const [n, path] of paths.entries()) {
    const args = command === "run" ? ["run", path, "hi", "-n", "1"] : ["chat", path, "-n", "1"];
    const began = performance.now();
    const child = startCli([...args, "--no-probe", "--threads", "1"], env);
    const memory = watchMemory(child.pid!);
    child.stdout!.resume();
    let said = "";
    child.stderr!.on("data", (text) => {
      said += text;
    });
    child.stdin!.end(command === "chat" ? "hi\n/exit\n" : "");
    // Every other one that does not end by itself soon is told to.
    let interrupted = 0;
    const timer = setTimeout(() => {
      interrupted = performance.now();
      child.kill("SIGINT");
      if (command === "chat") setTimeout(() => child.kill("SIGINT"), 50);
    }, 2500);
    if (n % 2 === 0) clearTimeout(timer);
    const { code, signal } = await ended(child);
    clearTimeout(timer);
    if (interrupted > 0) stopped.push(performance.now() - interrupted);
    else took.push(performance.now() - began);
    const result = `${signal ?? code} ${/error\[(\w+)\]/.exec(said)?.[1] ?? ""}`;
    codes[result] = (codes[result] ?? 0) + 1;
    // Told to end before it listens to signals, it is the system that ends it.
    check(signal === null || (interrupted > 0 && signal === "SIGINT"), `${command} ${templates[n]!.name}: ${signal}`);
    maxText = Math.max(maxText, memory().text);
  }
  check(Math.max(0, ...took) < 14_000, `${command} took ${Math.max(...took).toFixed(0)} ms`);
  check(Math.max(0, ...stopped) < 1000, `${command}: Ctrl-C took ${Math.max(...stopped).toFixed(0)} ms`);
  check(maxText <= 256, `${command}: a text process had ${maxText} MiB`);
  report[command] = {
    ms: { median: median(took), most: Math.max(...took) },
    ctrlCMs: { asked: stopped.length, most: Math.max(0, ...stopped) },
    codes,
    maxTextMiB: maxText,
  };
}

async function batch(): Promise<void> {
  const conditional = templates.filter(({ whole }) => !whole);
  const path = await chatModel(onDemand(conditional, plainTemplate), "on-demand");
  const contents = ["hello", ...hostileTexts, ...conditional.map((_, n) => `boom ${n}.`)];
  const [input, output] = [join(folder, "in.jsonl"), join(folder, "out.jsonl")];
  const lines = contents.map((content, n) =>
    JSON.stringify({ custom_id: `c${n}`, method: "POST", url: "/v1/chat/completions", body: chatOf(content) }),
  );
  writeFileSync(input, `${lines.join("\n")}\n`);
  const began = performance.now();
  const child = startCli(["batch", input, output, "--model", path, "--no-probe", "--threads", "1"], env);
  const memory = watchMemory(child.pid!);
  child.stdout!.resume();
  child.stderr!.resume();
  const { code, signal } = await ended(child);
  const answers = readFileSync(output, "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as { custom_id: string; response: { status_code: number } | null });
  check(signal === null && (code === 0 || code === 1), `batch ended with ${signal ?? code}`);
  check(answers.length === contents.length, `batch: ${answers.length} answers to ${contents.length} lines`);
  check(answers.find((line) => line.custom_id === "c0")?.response?.status_code === 200, "batch: the good line failed");
  const most = memory();
  check(most.text <= 256, `batch: a text process had ${most.text} MiB`);
  report.batch = {
    lines: contents.length,
    good: answers.filter(({ response }) => response?.status_code === 200).length,
    seconds: (performance.now() - began) / 1000,
    maxMiB: most,
  };
}

mkdirSync(join(folder, "data"), { recursive: true });
try {
  if (wanted("request")) await requests();
  const paths = ["load", "run", "chat"].some(wanted) ? await write() : [];
  if (wanted("load")) await load(paths);
  if (wanted("run")) await cli("run", paths);
  if (wanted("chat")) await cli("chat", paths);
  if (wanted("batch")) await batch();
} finally {
  rmSync(folder, { recursive: true, force: true });
}
console.log(JSON.stringify({ ...report, faults }, null, 1));
process.exitCode = faults.length === 0 ? 0 : 1;
