/** `top` beside a server that answers: its stream, /metrics where it has no page, keys, and other programs. */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { serverUrl } from "../../src/cli/commands/top.js";
import { columnsOf } from "../../src/cli/terminal/columns.js";
import { parseMetrics, ServerFacts, sampleOf } from "../../src/cli/top/server-feed.js";
import { packageRoot } from "../../src/package-root.js";
import type { MachineEvent, MemoryNow, RunningServer } from "../../src/server/index.js";
import { finish, runCli } from "../support/cli.js";
import { chatModel, needsThreads, postJson, serveForTests } from "./support.js";

/** Answers as long as the test looks; of different lengths, so that one is written while another is asked for. */
async function underLoad(server: RunningServer, key: string | undefined, look: () => Promise<void>): Promise<void> {
  const stop = new AbortController();
  const headers = key === undefined ? {} : { authorization: `Bearer ${key}` };
  const one = async (tokens: number): Promise<void> => {
    while (!stop.signal.aborted) {
      const body = { prompt: "the king and", max_tokens: tokens, ignore_eos: true };
      await (await postJson(`${server.url}/v1/completions`, body, { headers, signal: stop.signal })).text();
    }
  };
  const load = Promise.allSettled([one(200), one(170), one(130)]);
  try {
    await look();
  } finally {
    stop.abort();
    await load;
  }
}

interface Document {
  readonly state?: { readonly model: { readonly state: string } };
  readonly now: { readonly running: number };
  readonly rates: { readonly tokensPerSecond: number; readonly passesPerSecond: number };
  readonly memory?: { readonly kvBytes: number };
  readonly plan?: { readonly strategy: string; readonly map?: unknown };
  readonly system?: { readonly rssBytes: number; readonly pids: readonly number[] };
}

test("figures of a server under load, as a document and as a view", { skip: needsThreads }, async () => {
  const server = await serveForTests({ modelPath: await chatModel(), config: { apiKeys: ["a-key"] } });
  await underLoad(server, "a-key", async () => {
    const document = await runCli(["top", server.url, "--json", "--api-key", "a-key"]);
    assert.equal(document.err, "");
    const { state, now, rates, memory, plan, system } = JSON.parse(document.out) as Document;
    assert.equal(state?.model.state, "ready");
    assert.ok(now.running >= 1 && rates.tokensPerSecond > 1 && rates.passesPerSecond > 1, document.out);
    assert.ok((memory?.kvBytes ?? 0) > 0, document.out);
    assert.equal(plan?.strategy, "resident", document.out);
    assert.equal(plan?.map, undefined);
    if (process.platform === "linux") assert.ok(system!.pids.length >= 1 && system!.rssBytes > 2 ** 20, document.out);

    const { port } = new URL(server.url);
    const view = await runCli(["top", port], "", { HUNDREDWEIGHT_API_KEY: "a-key" });
    assert.equal(view.code, 0, view.err);
    assert.match(view.out, /^tokens +[\d.,]+\/s +[\u2581-\u2588]/m);
    assert.match(view.out, /^answers +\d running +\d in the queue$/m);
    for (const line of view.out.split("\n")) assert.ok(columnsOf(line) <= 80, line);
  });
  const refused = await runCli(["top", server.url]);
  assert.equal(refused.code, 1);
  assert.match(refused.err, /^error\[NETWORK_FAILED\]: .* it wants a key: --api-key, or HUNDREDWEIGHT_API_KEY\n$/);
});

test("a server without a page is asked for its metrics", { skip: needsThreads }, async () => {
  const server = await serveForTests({ modelPath: await chatModel(), config: { page: false } });
  await underLoad(server, undefined, async () => {
    const { out, err } = await runCli(["top", server.url, "--json"]);
    assert.equal(err, "");
    const { now, rates } = JSON.parse(out) as Document;
    assert.ok(now.running >= 1 && rates.passesPerSecond > 1, out);
  });
});

test("what is no server of ours is told", async () => {
  const http = createServer((_, response) => response.end("<html>")).listen(0, "127.0.0.1");
  await new Promise((resolve) => http.once("listening", resolve));
  const { port } = http.address() as AddressInfo;
  try {
    const foreign = await runCli(["top", `${port}`]);
    assert.equal(foreign.code, 1);
    assert.match(foreign.err, /it does not speak as a server of hundredweight does\n$/);
  } finally {
    http.close();
  }
  const nobody = await runCli(["top", "127.0.0.1:1"]);
  assert.equal(nobody.code, 1);
  assert.match(
    nobody.err,
    /^error\[NETWORK_FAILED\]: http:\/\/127.0.0.1:1: .* is `hundredweight serve` running there\?\n$/,
  );
});

test("addresses as people write them", () => {
  const cases = [
    ["8471", "http://127.0.0.1:8471"],
    ["host:80", "http://host"],
    ["https://host/ui/", "https://host"],
    ["[::1]:9", "http://[::1]:9"],
  ] as const;
  for (const [word, url] of cases) assert.equal(serverUrl(word).origin, url);
  assert.throws(() => serverUrl("http://:"), { code: "OPTION_INVALID" });
});

test("metrics become a sample: what was counted since, and the last pass", () => {
  const text = (passes: number, tokens: number): string =>
    `# TYPE x counter\nhundredweight_passes_total ${passes}\nhundredweight_generated_tokens_total ${tokens}\n` +
    "hundredweight_last_pass_seconds 0.5\nhundredweight_last_pass_stall_seconds 0.4\nother 3\n" +
    'hundredweight_http_requests_total{route="/x"} 9\nhundredweight_last_pass_disk_bytes 1000\n';
  const sample = sampleOf(parseMetrics(text(14, 30)), parseMetrics(text(10, 20)), 7, 2);
  assert.deepEqual([sample.passes, sample.generatedTokens, sample.seconds, sample.time], [4, 10, 2, 7]);
  assert.deepEqual([sample.seen.stallMs, sample.seen.computeMs, sample.seen.diskBytes], [400, 100, 1000]);
  const idle = sampleOf(parseMetrics(text(14, 30)), parseMetrics(text(14, 30)), 7, 2);
  assert.deepEqual([idle.passes, idle.seen.passes, idle.seen.diskBytes], [0, 0, 0]);
});

test("a view is whole when memory was told too, which an engine in a long pass tells late", () => {
  const facts = new ServerFacts();
  assert.equal(facts.whole, false);
  const sample = sampleOf(parseMetrics(""), parseMetrics(""), 7, 2);
  facts.hear({ type: "history", samples: [sample, sample] });
  assert.equal(facts.whole, true, "metrics tell no memory");
  const state = (of: string) => ({ type: "state", state: { model: { state: of } } }) as unknown as MachineEvent;
  facts.hear(state("ready"));
  assert.equal(facts.whole, false);
  facts.hear({ type: "memory", memory: null });
  assert.equal(facts.whole, false);
  facts.hear({ type: "memory", memory: {} as MemoryNow });
  assert.equal(facts.whole, true);
  facts.hear({ type: "history", samples: [] });
  assert.equal(facts.whole, false);
  facts.hear(state("loading"));
  assert.equal(facts.whole, true, "nothing runs yet");
});

const util = spawnSync("script", ["--version"], { encoding: "utf8" });
const skip = needsThreads || (/util-linux/.test(util.stdout ?? "") ? false : "SKIPPED: no `script` of util-linux here");

test("in a terminal it lives on the other screen until q, and gives the terminal back", { skip }, async () => {
  const server = await serveForTests({ modelPath: await chatModel() });
  const words = [process.execPath, join(packageRoot(), "bin/hundredweight.js"), "top", server.url, "--interval", "0.2"];
  const child = spawn("script", ["-qefc", `stty cols 90 rows 30; ${words.join(" ")}`, "/dev/null"]);
  let shown = "";
  let typed = false;
  child.stdout.on("data", (chunk) => {
    shown += chunk;
    // The second view, drawn over the first.
    if (typed || shown.split("\x1b[H").length < 3) return;
    typed = true;
    child.stdin.write("q");
  });
  const { code } = await finish(child);
  assert.equal(code, 0);
  assert.match(shown, /^\x1b\[\?1049h\x1b\[\?25l/);

  assert.ok(shown.endsWith("\x1b[?25h\x1b[?1049l"), JSON.stringify(shown.slice(-60)));
});
