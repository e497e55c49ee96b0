/** Ollama's API over the models of this computer: pull, tags, show, and a change to the model a request names. */
import assert from "node:assert/strict";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { networkInterfaces, tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { packageRoot } from "../../src/package-root.js";
import type { RunningServer } from "../../src/server/index.js";
import { FakeEngine } from "../server/fake-engine.js";
import { postJson, serveFake } from "../server/support.js";
import { sha256, TestHub } from "./test-hub.js";

const demo = readFileSync(join(packageRoot(), "models", "demo.gguf"));
const root = mkdtempSync(join(tmpdir(), "hw-ollama-"));
const models = join(root, "models");
const saved = { ...process.env };
let hub: TestHub;
let server: RunningServer;

before(async () => {
  hub = await TestHub.start();
  hub.registry.set("library/tiny:latest", demo);
  hub.add("org/tiny-GGUF", "tiny-Q4_K_M.gguf", demo);
  process.env.HOME = root;
  process.env.HUNDREDWEIGHT_MODELS = models;
  process.env.HF_ENDPOINT = hub.address;
  process.env.HUNDREDWEIGHT_OLLAMA_REGISTRY = hub.address;
  mkdirSync(join(models, "me", "first"), { recursive: true });
  copyFileSync(join(packageRoot(), "models", "demo.gguf"), join(models, "me", "first", "first.gguf"));
  const engine = new FakeEngine((job) => {
    job.token("Yes.");
    job.finish();
  });
  server = await serveFake(engine, { computerModels: true }, join(models, "me", "first", "first.gguf"));
});
after(async () => {
  await server.stop();
  await hub.stop();
  process.env = saved;
  rmSync(root, { recursive: true, force: true });
});

const lines = async (body: object): Promise<Record<string, unknown>[]> => {
  const response = await postJson(`${server.url}/api/pull`, body);
  return (await response.text())
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
};
const names = async (): Promise<string[]> => {
  const { models: found } = (await (await fetch(`${server.url}/api/tags`)).json()) as { models: { name: string }[] };
  return found.map(({ name }) => name).sort();
};

test("what is pulled is listed, shown, and answers when it is named", async () => {
  assert.deepEqual(await names(), ["me/first:first"]);
  const told = await lines({ model: "tiny" });
  assert.deepEqual(told[0], { status: "pulling manifest" });
  assert.deepEqual(told.at(-1), { status: "success" });
  const moving = told.filter(({ digest }) => digest === `sha256:${sha256(demo)}`);
  assert.deepEqual([moving.at(-1)!.completed, moving.at(-1)!.total], [demo.length, demo.length]);
  assert.deepEqual(readFileSync(join(models, "ollama.com", "library", "tiny-latest.gguf")), demo);
  assert.deepEqual(await names(), ["me/first:first", "tiny:latest"]);

  const json = async (path: string, body: object) =>
    (await (await postJson(server.url + path, body)).json()) as Record<string, Record<string, unknown>>;
  const shown = await json("/api/show", { model: "tiny" });
  assert.equal(shown.details!.family, "llama");
  assert.equal(shown.details!.quantization_level, "F16");
  const answer = await json("/api/generate", { model: "tiny", prompt: "hi", raw: true, stream: false });
  assert.equal(answer.response, "Yes.");
  assert.equal(server.context.model.state.path, join(models, "ollama.com", "library", "tiny-latest.gguf"));
});

test("the same bytes under another name are not fetched again", async () => {
  hub.requests.length = 0;
  const told = await lines({ model: "hf.co/org/tiny-GGUF", stream: true });
  assert.deepEqual(told.at(-1), { status: "success" });
  assert.equal(hub.requests.filter(({ range }) => range !== undefined).length, 0);
  assert.ok((await names()).includes("org/tiny-GGUF:Q4_K_M"));
});

test("what cannot be pulled is said, in a line or by the status", async () => {
  assert.match(String((await lines({ model: "none" })).at(-1)!.error), /ollama:none:latest: Ollama has no such model/);
  const whole = await postJson(`${server.url}/api/pull`, { model: "none", stream: false });
  assert.equal(whole.status, 404);
  for (const model of ["", "../x", "http://127.0.0.1/x.gguf", "a/b/c"])
    assert.equal((await postJson(`${server.url}/api/pull`, { model })).status, 400, model);
});

const outside = Object.values(networkInterfaces())
  .flat()
  .find((each) => each?.family === "IPv4" && !each.internal)?.address;

test("from the network it wants a key", { skip: outside === undefined && "no address but loopback" }, async () => {
  const engine = new FakeEngine();
  const path = join(models, "me", "first", "first.gguf");
  const open = await serveFake(engine, { host: "0.0.0.0", apiKeys: ["k"] }, path);
  try {
    const port = new URL(open.url).port;
    const send = (key: string) =>
      postJson(
        `http://${outside}:${port}/api/pull`,
        { model: "none", stream: false },
        { headers: { authorization: key } },
      );
    assert.equal((await send("Bearer wrong")).status, 401);
    assert.equal((await send("Bearer k")).status, 404);
  } finally {
    await open.stop();
  }
});
