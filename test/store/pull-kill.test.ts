/** `pull` killed again and again, and run of what it fetched: the command line as a person uses it. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { packageRoot } from "../../src/package-root.js";
import { finish, runCli, startCli } from "../support/cli.js";
import { exited, firstOf, until } from "../support/wait.js";
import { sha256, TestHub } from "./test-hub.js";

const here = import.meta.url;
const demo = readFileSync(join(packageRoot(), "models", "demo.gguf"));
const root = mkdtempSync(join(tmpdir(), "hw-kill-"));
const models = join(root, "models");
let hub: TestHub;
let env: NodeJS.ProcessEnv;
before(async () => {
  hub = await TestHub.start();
  env = { HF_ENDPOINT: hub.address, HUNDREDWEIGHT_MODELS: models, HOME: root, HUNDREDWEIGHT_PROBE: "off" };
});
after(async () => {
  await hub.stop();
  rmSync(root, { recursive: true, force: true });
});

test("killed twenty times, every byte is right", async () => {
  // Small parts, so that some of them are whole before most kills, and more than come in twenty lives on a machine that
  // stalls: two seconds each.
  const parts = 181;
  const bytes = randomBytes((parts - 1) * 2 ** 18 + 777);
  hub.add("org/kill", "kill.gguf", bytes);
  const work = join(models, "org", "kill", ".hundredweight", "kill.gguf");
  const path = join(models, "org", "kill", "kill.gguf");
  const partsDone = (): number => readFileSync(`${work}.journal`, "utf8").match(/^part \d+ done$/gm)?.length ?? 0;
  const child = fileURLToPath(new URL(`pull-child.${here.endsWith(".ts") ? "ts" : "js"}`, here));
  const loader = here.endsWith(".ts") ? ["--import", "tsx"] : [];
  const start = () => spawn(process.execPath, [...loader, child, "org/kill"], { env: { ...process.env, ...env } });
  const done: number[] = [];
  hub.faults.rate = 1e6;
  for (let kills = 0; kills < 20; kills++) {
    const running = start();
    await firstOf(running, "data");
    // At any moment: of a part, between two of them, while the hash goes over what lies there.
    await sleep(Math.random() * 500);
    running.kill("SIGKILL");
    await exited(running);
    assert.equal(existsSync(path), false, "the final name only for what is whole");
    done.push(partsDone());
  }
  assert.deepEqual(
    done,
    [...done].sort((a, b) => a - b),
  );
  assert.ok(done[19]! > 0 && done[19]! < parts, `parts after each kill: ${done}`);
  delete hub.faults.rate;
  hub.requests.length = 0;
  const last = await finish(start());
  assert.equal(last.code, 0, last.err);
  assert.equal(sha256(readFileSync(path)), sha256(bytes));
  assert.deepEqual(readdirSync(join(models, "org", "kill")).sort(), [".hundredweight", "kill.gguf"]);
  // What was there is not fetched again.
  assert.equal(hub.requests.filter(({ server }) => server === "cdn").length, parts - done[19]!);
});

test("pull, list, run by every name, rm", async () => {
  hub.add("org/tiny-GGUF", "tiny-Q4_K_M.gguf", demo);
  const only = await runCli(["pull", "org/tiny-GGUF", "--only-plan"], "", env);
  assert.match(only.out, /^org\/tiny-GGUF:Q4_K_M: 7\.\d\d MiB; on this machine [\d.]+ tokens\/s, all of it in/);
  assert.equal(existsSync(join(models, "org", "tiny-GGUF")), false);
  const pulled = await runCli(["pull", "org/tiny-GGUF", "--as", "tiny"], "", env);
  assert.equal(pulled.code, 0, pulled.err);
  assert.equal(pulled.out, "hundredweight run tiny\n");
  const list = JSON.parse((await runCli(["list", "tiny", "--json"], "", env)).out);
  assert.deepEqual(
    list.models.map((m: { name: string; place: string }) => [m.name, m.place]),
    [["org/tiny-GGUF:Q4_K_M", "hundredweight"]],
  );
  for (const name of ["org/tiny-GGUF:Q4_K_M", "org/tiny-gguf", "tiny", "tiny-Q4_K_M", "tiny-Q4_K_M.gguf"]) {
    const ids = await runCli(["tokenize", name, "king", "--json"], "", env);
    assert.equal(ids.code, 0, `${name}: ${ids.err}`);
  }
  const said = await runCli(["run", "org/tiny-GGUF", "And the king", "-n", "4", "--raw", "--json"], "", env);
  assert.equal(JSON.parse(said.out).tokens.length, 4, said.err);
  const gone = await runCli(["rm", "tiny"], "", env);
  assert.match(gone.out, /^org\/tiny-GGUF:Q4_K_M: 7\.\d\d MiB deleted$/m);
  assert.equal(existsSync(join(models, "org", "tiny-GGUF")), false);
  const missing = await runCli(["run", "org/tiny-GGUF", "hi"], "", env);
  assert.match(missing.err, /^error\[FILE_NOT_FOUND\]: .*`hundredweight pull org\/tiny-GGUF` fetches it$/m);
  const found = await runCli(["find", "tiny"], "", env);
  assert.equal(found.out, "org/tiny-GGUF  12,345 downloads\n");
});

test("another process that fetches the same is told apart", async () => {
  hub.add("org/twice", "twice.gguf", randomBytes(20 * 2 ** 20));
  hub.faults.rate = 4e6;
  const child = startCli(["pull", "org/twice", "--no-plan"], env);
  const ended = finish(child);
  const part = join(models, "org", "twice", ".hundredweight", "twice.gguf.part");
  await until(() => existsSync(part), part);
  const second = await runCli(["pull", "org/twice", "--no-plan"], "", env);
  assert.match(second.err, /^error\[FILE_IO\]: .*twice\.gguf: another process is fetching it$/m);
  delete hub.faults.rate;
  child.kill("SIGINT");
  assert.equal((await ended).code, 130);
});
