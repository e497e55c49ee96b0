/** Replicas behind nginx and Caddy as deploy/ configures them; the test plays the engines. */
import assert from "node:assert/strict";
import { type ChildProcess, fork } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { packageRoot } from "../src/package-root.js";
import type { RunningServer } from "../src/server/index.js";
import { FakeEngine, type FakeJob } from "./server/fake-engine.js";
import { chatModel, postJson, serveFake, until } from "./server/support.js";
import { freePort, missing, Service } from "./support/services.js";
import { exited, firstOf, until as patiently } from "./support/wait.js";

const folder = mkdtempSync(join(tmpdir(), "hundredweight-replicas-"));
const services: Service[] = [];
const children = new Set<ChildProcess>();
after(async () => {
  for (const child of children) child.kill("SIGKILL");
  // nginx has workers that outlive a kill.
  for (const service of services) await service.stop("SIGTERM");
  rmSync(folder, { recursive: true, force: true });
});

interface Replica {
  readonly server: RunningServer;
  readonly engine: FakeEngine;
}

/** Answers at once, unless it is to be played by the test. */
const play = (job: FakeJob): void => {
  if (isSlow(job)) return;
  job.token("quick");
  job.finish();
};
const isSlow = ({ request }: FakeJob): boolean => request.maxTokens === 60;

async function replica(): Promise<Replica> {
  const engine = new FakeEngine(play);
  const config = { keepAliveMs: 400, drainTimeoutMs: 5000 };
  return { engine, server: await serveFake(engine, config) };
}

/** The file in deploy/, with replicas and times of a test. */
function configured(name: string, port: number, hosts: readonly string[], silence = "1h"): string {
  let text = readFileSync(join(packageRoot(), "deploy", name), "utf8").replaceAll("8080", String(port));
  for (const [i, host] of hosts.entries()) text = text.replaceAll(`replica-${i + 1}:8471`, host);
  // Shortened: an hour is what stands there. Without a word for so long an answer would be cut.
  return text
    .replaceAll("1h;", `${silence};`)
    .replaceAll("health_interval 2s", "health_interval 200ms")
    .replace(/fail_(timeout=|duration )5s/g, "fail_$11s");
}

const hostOf = (url: string): string => new URL(url).host;

const proxies: Record<string, (port: number, hosts: readonly string[], silence?: string) => Promise<void>> = {
  async nginx(port, hosts, silence) {
    const own = mkdtempSync(join(folder, "nginx-"));
    const path = join(own, "nginx.conf");
    mkdirSync(join(own, "temp"), { recursive: true });
    const temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
      (kind) => `${kind}_temp_path ${own}/temp/${kind};`,
    );
    writeFileSync(join(own, "site.conf"), configured("nginx.conf", port, hosts, silence));
    writeFileSync(
      path,
      `${process.getuid?.() === 0 ? "user root;" : ""} daemon off; pid ${own}/pid; error_log stderr;\n` +
        `events {}\nhttp { access_log off; ${temp.join(" ")} include ${own}/site.conf; }\n`,
    );
    await begin(port, "nginx", "-p", own, "-e", "stderr", "-c", path);
  },
  async caddy(port, hosts, silence) {
    const path = join(folder, `Caddyfile-${port}`);
    writeFileSync(path, `{\n\tadmin off\n}\n${configured("Caddyfile", port, hosts, silence)}`);
    await begin(port, "caddy", "run", "--config", path, "--adapter", "caddyfile");
  },
};

async function begin(port: number, ...command: string[]): Promise<void> {
  const service = new Service(port, command);
  services.push(service);
  await service.start().catch((error: unknown) => {
    throw new Error(`${String(error)}: ${service.output}`);
  });
}

async function startVictim(port: number): Promise<ChildProcess> {
  const data = mkdtempSync(join(folder, "data-"));
  const child = fork(fileURLToPath(new URL("support/replica-child.js", import.meta.url)), [
    ...[await chatModel(), String(port), data],
  ]);
  children.add(child);
  await firstOf(child, "message");
  return child;
}

const quick = { messages: [{ role: "user", content: "hello" }] };
const slow = { ...quick, max_tokens: 60, stream: true };

describe("replicas are streamed, patient, heard when clients leave, and gone round when they end", {
  concurrency: 2,
}, () => {
  for (const [name, start] of Object.entries(proxies)) {
    const found = name === "caddy" ? missing("caddy", "version") : missing("nginx", "-v");
    it(`behind ${name}`, { skip: found }, async () => {
      const replicas = [await replica(), await replica()];
      const port = await freePort();
      await start(
        port,
        replicas.map(({ server }) => hostOf(server.url)),
        "2s",
      );
      const chat = `http://127.0.0.1:${port}/v1/chat/completions`;
      const slowJob = (): FakeJob | undefined =>
        replicas.flatMap(({ engine }) => engine.jobs).find((job) => isSlow(job) && !job.cancelled && !over.has(job));
      const over = new Set<FakeJob>();
      const statusOf = async (headers: Record<string, string> = {}): Promise<number> => {
        const response = await postJson(chat, quick, { headers });
        await response.text();
        return response.status;
      };
      await patiently(async () => (await statusOf()) === 200, "an answer through the proxy");

      // Tokens as they come, and a silence that is longer than what a proxy bears.
      const streamed = await postJson(chat, slow);
      await until(() => slowJob() !== undefined, "a job");
      const job = slowJob()!;
      const reader = streamed.body!.pipeThrough(new TextDecoderStream()).getReader();
      let text = "";
      const readTo = async (what: string): Promise<void> => {
        while (!text.includes(what)) {
          const part = await reader.read();
          if (part.done) throw new Error(`ended without ${what}: ${text}`);
          text += part.value;
        }
      };
      job.token("first");
      await readTo("first");
      await sleep(2500);
      job.token("second");
      await readTo("second");
      job.finish();
      over.add(job);
      await readTo("[DONE]");

      // An answer in one piece is alive as well.
      const whole = postJson(chat, { ...slow, stream: false });
      await until(() => slowJob() !== undefined, "a job");
      const patient = slowJob()!;
      await sleep(2500);
      patient.token("patient");
      patient.finish();
      over.add(patient);
      assert.match(await (await whole).text(), /patient/);

      // Who leaves frees the engine.
      const leaver = new AbortController();
      await postJson(chat, slow, { signal: leaver.signal });
      await until(() => slowJob() !== undefined, "a job");
      const left = slowJob()!;
      leaver.abort();
      await until(() => left.cancelled, "the end of an answer that nobody reads");

      // One beginning, one replica; without it and with others, all of them.
      const count = (): number[] => replicas.map(({ engine }) => engine.jobs.length);
      const before = count();
      for (let i = 0; i < 6; i++) assert.equal(await statusOf({ "x-prefix-hash": "a1" }), 200);
      const sticky = count().map((jobs, i) => jobs - before[i]!);
      assert.deepEqual([...sticky].sort(), [0, 6]);
      for (let i = 0; i < 16; i++) await statusOf({ "x-prefix-hash": `b${i}` });
      assert.ok(
        count().every((jobs, i) => jobs > before[i]! + sticky[i]!),
        "hashes are spread",
      );

      // A replica drains: what it answers ends, what is new goes to the other.
      const last = await postJson(chat, slow);
      await until(() => slowJob() !== undefined, "a job");
      const running = slowJob()!;
      const drained = replicas.findIndex(({ engine }) => engine.jobs.includes(running));
      const stopped = replicas[drained]!.server.stop();
      if (name === "caddy") await sleep(600); // its look at /ready; nginx asks the other one by itself
      for (let i = 0; i < 4; i++) assert.equal(await statusOf({ "x-prefix-hash": `c${i}` }), 200);
      running.token("whole");
      running.finish();
      assert.match(await last.text(), /whole[\s\S]*\[DONE\]/);
      await stopped;
      // And now it is gone.
      for (let i = 0; i < 4; i++) assert.equal(await statusOf(), 200);
    });

    it(`behind ${name}, when one is killed and comes back`, { skip: found }, async () => {
      const lives = await replica();
      const childPort = await freePort();
      const victim = await startVictim(childPort);
      const port = await freePort();
      await start(port, [hostOf(lives.server.url), `127.0.0.1:${childPort}`]);
      const chat = `http://127.0.0.1:${port}/v1/chat/completions`;
      const ask = async (i: number): Promise<string> => {
        const again = performance.now() + 10_000;
        let response = await postJson(chat, quick, { headers: { "x-prefix-hash": `k${i}` } });
        // Caddy cannot send a body twice, and believes its own questions: clients repeat what gets 502 or 503.
        while (name === "caddy" && response.status !== 200 && performance.now() < again) {
          await sleep(100);
          response = await postJson(chat, quick, { headers: { "x-prefix-hash": `k${i}` } });
        }
        const text = await response.text();
        assert.equal(response.status, 200, text);
        return text;
      };
      // The victim's answers are told by their word.
      const isVictims = (text: string): boolean => text.includes("begun");
      let mine = 0;
      while (!isVictims(await ask(mine))) assert.ok(mine++ < 200, "none of 200 keys is the victim's");
      const broken = await postJson(chat, slow, { headers: { "x-prefix-hash": `k${mine}` } });
      const reader = broken.body!.getReader();
      assert.match(new TextDecoder().decode((await reader.read()).value), /data: /);
      victim.kill("SIGKILL");
      await exited(victim);
      const began = performance.now();
      // An answer that has begun cannot be saved: its reader hears that it is over, at once.
      let rest = "";
      try {
        for (let part = await reader.read(); !part.done; part = await reader.read())
          rest += new TextDecoder().decode(part.value);
      } catch {
        rest += "broken off";
      }
      assert.ok(!rest.includes("[DONE]"), rest);
      assert.ok(performance.now() - began < 20_000); // a minute or more is what proxies wait in silence
      // Nobody else notices: also what was meant for the dead one is answered.
      for (let i = 0; i <= mine + 4; i++) assert.ok(!isVictims(await ask(i)));
      await startVictim(childPort);
      const end = performance.now() + 60_000;
      while (!isVictims(await ask(mine))) {
        assert.ok(performance.now() < end, "the one that came back is not asked");
        await sleep(100);
      }
    });
  }
});
