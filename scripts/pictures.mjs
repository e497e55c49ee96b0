// Takes the pictures of docs/images anew: the page in Chromium, with models that are there or made for it.
//   node scripts/pictures.mjs CHAT.gguf STREAMED.gguf [MODELS_FOLDER]
// CHAT answers questions (SmolLM2: node scripts/fetch-peer.mjs); STREAMED is read from disk in part (synth llama-1b, in
// 700 MiB); a small mixture of experts is made. Takes about two minutes. Measure first, on a quiet machine:
// hundredweight doctor --probe.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const [chatModel, streamedModel, folder] = process.argv.slice(2);
if (streamedModel === undefined) {
  console.error("usage: node scripts/pictures.mjs CHAT.gguf STREAMED.gguf [MODELS_FOLDER]");
  process.exit(2);
}
const root = fileURLToPath(new URL("..", import.meta.url));
const { api, launch, openPage, until } = await import(join(root, "dist/test/support/page.js"));
const { layOutSynth, writeSynth } = await import(join(root, "dist/src/synth/synth.js"));
const { parseSpec } = await import(join(root, "dist/src/synth/presets.js"));
const out = (name) => join(root, "docs/images", name);
const made = mkdtempSync(join(tmpdir(), "hundredweight-pictures-"));
const browser = await launch();
const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));

/** The server as anybody starts it. */
async function serve(model, ...options) {
  const data = mkdtempSync(join(made, "data-"));
  const command = ["bin/hundredweight.js", "serve", model, "--port", "0", "--data", data, ...options];
  const child = spawn(process.execPath, command, { cwd: root, stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  child.stderr.on("data", (chunk) => {
    said += chunk;
  });
  await until(async () => /ready: /.test(said));
  return { url: /listening on (\S+),/.exec(said)[1], stop: () => child.kill("SIGKILL") };
}

async function view(served, path, { width, height, colorScheme = "light" }) {
  const { page } = await openPage(browser, served.url, { viewport: { width, height }, colorScheme });
  await page.goto(`${served.url}/#/${path}`);
  await page.waitForSelector(path.startsWith("c/") ? ".message.assistant .block" : "main");
  return page;
}

async function shot(page, name, options = {}) {
  await pause(0.5);
  await page.screenshot({ path: out(name), ...options });
  await page.context().close();
}

/** Greedy, so that the picture is the same next time. */
async function ask(served, content, maxTokens) {
  const sampling = { temperature: 0, maxTokens };
  const { id } = await api(served.url, "POST", "/ui/conversations", { sampling });
  await api(served.url, "POST", `/ui/conversations/${id}/messages`, { parent: null, content });
  return id;
}

const chat = await serve(chatModel, "--models", folder ?? dirname(chatModel));
const id = await ask(chat, "Write a Python function that checks whether a number is prime, and explain it.", 400);
await until(async () => {
  const { messages } = await api(chat.url, "GET", `/ui/conversations/${id}`);
  return messages.length === 2 && messages[1].state !== "running";
});
await shot(await view(chat, `c/${id}`, { width: 1180, height: 830 }), "chat.png");
await api(chat.url, "PATCH", `/ui/conversations/${id}`, { sampling: { seed: 4, maxTokens: 300 } });
await api(chat.url, "POST", `/ui/conversations/${id}/answers`, {
  parent: (await api(chat.url, "GET", `/ui/conversations/${id}`)).messages[0].id,
  sampling: { temperature: 0.8 },
});
await until(async () => {
  const { messages } = await api(chat.url, "GET", `/ui/conversations/${id}`);
  return messages.length === 3 && messages[2].state !== "running";
});
const beside = await view(chat, `c/${id}`, { width: 1180, height: 830 });
await beside.click("[aria-label='Other answers']");
await beside.click(".menu :text('Side by side')");
await beside.waitForSelector(".column >> nth=1");
await beside.evaluate("document.querySelector('.messages').scrollTop = 0");
await shot(beside, "side-by-side.png");
await shot(await view(chat, `c/${id}`, { width: 360, height: 720, colorScheme: "dark" }), "narrow.png");
const models = await view(chat, "models", { width: 1180, height: 1210 });
await models.click(".model-list button >> nth=-2");
await models.waitForSelector(".facts");
await shot(models, "models.png");
chat.stop();

/** A long answer while it is made. */
async function atWork(served, maxTokens) {
  await ask(served, "Tell me about the weight of a hundredweight.", maxTokens);
  const page = await view(served, "machine", { width: 1200, height: 990, colorScheme: "dark" });
  await pause(25);
  return page;
}

const streamed = await serve(streamedModel, "--memory", "700MiB", "--ctx", "3072", "--parallel", "1");
const machine = await atWork(streamed, 2800);
const [{ id: busy, leaf }] = await Promise.all(
  (await api(streamed.url, "GET", "/ui/conversations")).map(({ id }) =>
    api(streamed.url, "GET", `/ui/conversations/${id}`),
  ),
);
const next = "And how much is a stone of it?";
await api(streamed.url, "POST", `/ui/conversations/${busy}/next`, { after: leaf, content: next });
const draft = "Compare it with the other units of weight that merchants used, one by one. ".repeat(12);
const waiting = await view(streamed, `c/${busy}`, { width: 1180, height: 620 });
await waiting.fill(".composer textarea", draft);
await waiting.waitForSelector(".price");
await shot(waiting, "waiting.png");
const narrow = await view(streamed, `c/${busy}`, { width: 390, height: 720, colorScheme: "dark" });
await narrow.waitForSelector(".next li");
await shot(narrow, "waiting-narrow.png");
await machine.screenshot({ path: out("machine.png") });
await machine.setViewportSize({ width: 1200, height: 760 });
await machine.hover(".map-bars .bar-split >> nth=-1");
await shot(machine, "map.png");
streamed.stop();

const experts = join(made, "experts.gguf");
const { name, shape } = parseSpec(
  "qwen3moe,layers=16,dim=512,heads=8,kv-heads=2,head-dim=64,vocab=8192,experts=64,top-k=8,expert-hidden=640," +
    "context=8192",
);
await writeSynth(experts, layOutSynth(name, shape), { routerSkew: 0.6 });
const mixed = await serve(experts, "--memory", "420MiB", "--ctx", "8192", "--parallel", "1");
const slots = await atWork(mixed, 6000);
await slots.setViewportSize({ width: 1180, height: 1500 });
await slots.hover(".map-bars .bar-slots >> nth=4");
await pause(0.5);
await shot(slots, "experts.png", { clip: { x: 264, y: 56, width: 916, height: 1440 } });
mixed.stop();
await browser.close();
rmSync(made, { recursive: true });
