/** `hundredweight serve` as a process: starts, says where, drains, ends. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { packageRoot } from "../../src/package-root.js";
import { finish } from "../support/cli.js";
import { readUntil } from "../support/wait.js";
import * as shapes from "./shapes.js";
import { chatModel, needsThreads, postJson, sseEvents, testFolder, until } from "./support.js";

function startCli(args: readonly string[], env: NodeJS.ProcessEnv = {}): ChildProcess {
  const program = join(packageRoot(), "bin", "hundredweight.js");
  const stdio = ["ignore", "pipe", "pipe"] as const;
  return spawn(process.execPath, [program, ...args], { stdio: [...stdio], env: { ...process.env, ...env } });
}

const runCli = (args: readonly string[], env?: NodeJS.ProcessEnv): ReturnType<typeof finish> =>
  finish(startCli(args, env));

interface Started {
  readonly child: ChildProcess;
  readonly ended: ReturnType<typeof finish>;
  readonly url: string;
}

async function start(...args: string[]): Promise<Started> {
  const child = startCli(["serve", await chatModel(), "--data", testFolder(), "--threads", "1", ...args]);
  let said = "";
  child.stderr?.on("data", (chunk) => {
    said += chunk;
  });
  const ended = finish(child);
  await until(() => /^Open .*\n/m.test(said) || child.exitCode !== null, "the server is ready", 60_000);
  const url = /listening on (\S+),/.exec(said)?.[1];
  assert.ok(url, said);
  assert.ok(said.endsWith(`\nOpen ${url}/\n`), `the page's address comes last: ${said}`);
  return { child, ended, url };
}

const endless = {
  messages: [{ role: "user", content: "hello" }],
  ignore_eos: true,
  max_tokens: 900,
  stream: true,
};

describe("serve", { skip: needsThreads, concurrency: 2 }, () => {
  it("drains at SIGTERM: the running answer gets its end", async () => {
    const { child, ended, url } = await start("--port", "0", "--drain-timeout", "0.5");
    const response = await postJson(`${url}/v1/chat/completions`, endless);
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
    let text = await readUntil(reader, '"content"');
    child.kill("SIGTERM");
    for (let part = await reader.read(); !part.done; part = await reader.read()) text += part.value;
    const events = sseEvents(text);
    assert.equal(events.at(-1), "data: [DONE]");
    const last = JSON.parse(events.at(-2)!.slice(6));
    assert.equal(last.choices[0].finish_reason, "length");
    const end = await ended;
    assert.deepEqual([end.code, end.signal], [0, null], end.err);
    assert.match(end.err, /ending: 1 answers/);
  });

  it("says in one line that the port is taken", async () => {
    const { child, ended, url } = await start("--port", "0");
    const second = await runCli(["serve", await chatModel(), "--port", new URL(url).port, "--data", testFolder()]);
    assert.equal(second.code, 1);
    assert.match(second.err, /^error\[ADDRESS_IN_USE\]: [^\n]*--port\n$/);
    assert.equal((await fetch(`${url}/health`)).status, 200);
    child.kill("SIGINT");
    const end = await ended;
    assert.deepEqual([end.code, end.signal], [0, null], end.err);
  });

  it("survives kill -9 of its engine", { skip: process.platform !== "linux" && "SKIPPED: needs /proc" }, async (t) => {
    const { child, ended, url } = await start("--port", "0");
    const response = await postJson(`${url}/v1/chat/completions`, endless);
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
    let text = await readUntil(reader, '"content"');
    const [engine] = readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, "utf8").trim().split(" ");
    const killed = performance.now();
    process.kill(Number(engine), "SIGKILL");
    for (let part = await reader.read(); !part.done; part = await reader.read()) text += part.value;
    const { error } = shapes.failure.parse(JSON.parse(sseEvents(text).at(-1)!.slice(6)));
    assert.equal(error.code, "engine_crashed");
    const refused = await postJson(`${url}/v1/chat/completions`, { ...endless, stream: false });
    const { error: why } = shapes.failure.parse(await refused.json());
    assert.deepEqual([refused.status, why.code], [503, "engine_restarting"]);
    assert.equal((await fetch(`${url}/health`)).status, 200);
    let status = 503;
    while (status !== 200) {
      status = (await fetch(`${url}/ready`)).status;
      if (performance.now() - killed > 60_000) assert.fail("the engine did not come back");
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    t.diagnostic(`answers again after ${(performance.now() - killed).toFixed(0)} ms`);
    const again = await postJson(`${url}/v1/chat/completions`, { ...endless, stream: false, max_tokens: 3 });
    shapes.chatCompletion.parse(await again.json());
    child.kill("SIGTERM");
    assert.equal((await ended).code, 0);
  });

  it("ends at once at the second Ctrl-C", async () => {
    const { child, ended, url } = await start("--port", "0", "--drain-timeout", "600");
    const response = await postJson(`${url}/v1/chat/completions`, endless);
    const reader = response.body!.getReader();
    await reader.read();
    child.kill("SIGINT");
    await new Promise((resolve) => setTimeout(resolve, 200));
    child.kill("SIGINT");
    const end = await ended;
    assert.equal(end.code, 1, end.err);
    assert.match(end.err, /error\[CANCELLED\]/);
    await reader.cancel().catch(() => {});
  });

  it("refuses what cannot work before anything is loaded", async () => {
    const cases: readonly [args: string[], code: number, text: RegExp][] = [
      [["--host", "0.0.0.0"], 2, /OPTION_INVALID.*--api-key/],
      [["--tls-cert", "x.pem"], 2, /belong together/],
      [["--port", "70000"], 2, /--port/],
      [["--api-key", ""], 2, /OPTION_INVALID.*--api-key is empty/],
      [["--api-key", " ", "--api-key", "good"], 2, /OPTION_INVALID.*--api-key is empty/],
      [["--api-key", "two words"], 2, /OPTION_INVALID.*printable/],
      [["--api-key-file", "/dev/null"], 1, /FILE_NOT_REGULAR.*--api-key-file/],
    ];
    for (const [args, code, text] of cases) {
      const end = await runCli(["serve", await chatModel(), ...args]);
      assert.equal(end.code, code, end.err);
      assert.match(end.err, text);
    }
    const empty = join(testFolder(), "keys");
    writeFileSync(empty, "\n  \r\n");
    const file = await runCli(["serve", await chatModel(), "--port", "0", "--api-key-file", empty]);
    assert.deepEqual([file.code, /OPTION_INVALID.*holds no key/.test(file.err)], [2, true], file.err);
    const variable = await runCli(["serve", await chatModel(), "--port", "0"], { HUNDREDWEIGHT_API_KEY: "" });
    assert.deepEqual([variable.code, /OPTION_INVALID.*HUNDREDWEIGHT_API_KEY is empty/.test(variable.err)], [2, true]);
    const missing = await runCli(["serve", "/nowhere/model.gguf", "--port", "0", "--data", testFolder()]);
    assert.equal(missing.code, 1);
    assert.match(missing.err, /error\[FILE_NOT_FOUND\]/);
  });
});
