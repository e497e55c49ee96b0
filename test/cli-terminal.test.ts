/** `run` in a real terminal: it asks for a prompt, a pasted text is one prompt, and Ctrl-C ends the question. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { loadAddon } from "../src/native/addon.js";
import { packageRoot } from "../src/package-root.js";
import { makeTinyModel } from "../src/synth/tiny.js";
import { finish, runCli } from "./support/cli.js";

// `script` of util-linux runs a command in a terminal of its own and hands on what is typed; others know other options.
const util = spawnSync("script", ["--version"], { encoding: "utf8" });
const skip = /util-linux/.test(util.stdout ?? "")
  ? false
  : "SKIPPED `run` in a terminal: no `script` of util-linux here";
if (skip) console.log(skip);

const folder = mkdtempSync(join(tmpdir(), "hw-terminal-"));
const model = join(folder, "tiny.gguf");
before(async () => {
  await makeTinyModel(model, "llama");
});
after(() => rmSync(folder, { recursive: true }));

const options = ["--raw", "--temperature", "0", "--ignore-eos", "-n", "4", "--json"];

/** Starts `run` in a terminal; its document goes to a file, so that what the terminal shows is the question alone. */
function inTerminal(document: string): ChildProcess {
  const words = [process.execPath, join(packageRoot(), "bin/hundredweight.js"), "run", model, ...options];
  const command = `${words.map((word) => `'${word}'`).join(" ")} > '${document}'`;
  return spawn("script", ["-qefc", command, "/dev/null"], { stdio: ["pipe", "pipe", "pipe"] });
}

async function asked(child: ChildProcess): Promise<void> {
  let shown = "";
  await new Promise<void>((resolve, reject) => {
    child.stdout!.on("data", (chunk) => {
      shown += chunk;
      if (shown.includes("prompt> ")) resolve();
    });
    child.on("close", () => reject(new Error(`it ended without a question: ${shown}`)));
  });
}

async function typed(keys: string): Promise<{ code: number | null; document: string }> {
  const path = join(folder, `${keys.length}.json`);
  const child = inTerminal(path);
  await asked(child);
  child.stdin!.write(keys);
  const { code } = await finish(child);
  return { code, document: readFileSync(path, "utf8") };
}

test("the name alone greets: sizes of models, a line written now, what to type next", { skip }, async () => {
  const words = [process.execPath, join(packageRoot(), "bin/hundredweight.js")];
  const env = { ...process.env, HUNDREDWEIGHT_PROBE: "off", HUNDREDWEIGHT_MODELS: folder };
  const child = spawn("script", ["-qefc", `stty cols 80; ${words.join(" ")}`, "/dev/null"], { env });
  const { code, out } = await finish(child);
  assert.equal(code, 0);
  const shown = out.replace(/\x1b\[\d+m/g, "").replaceAll("\r", "");
  assert.match(shown, /^hundredweight \d+\.\d+\.\d+\n/);
  for (const size of ["8B", "32B", "70B", "120B, 5B a token"]) assert.match(shown, new RegExp(`^  ${size} .*GiB`, "m"));
  assert.match(shown, /\nType next\n {2}hundredweight chat/);
  if (loadAddon() !== undefined)
    assert.match(shown, /says\n {2}(In the beginning|And it came|The wisdom of|Behold|And the king)/);
  for (const line of shown.split("\n")) assert.ok(line.length <= 80, line);
});

test("a typed line is the prompt", { skip }, async () => {
  const { code, document } = await typed("the cat and the dog\r");
  assert.equal(code, 0);
  const plain = await runCli(["run", model, "the cat and the dog", ...options]);
  assert.deepEqual(JSON.parse(document).tokens, JSON.parse(plain.out).tokens);
  assert.deepEqual(JSON.parse(document).promptTokens, JSON.parse(plain.out).promptTokens);
});

test("a pasted text of three lines is one prompt", { skip }, async () => {
  const text = "the cat\nand the dog\nwent home";
  const { code, document } = await typed(`\x1b[200~${text}\x1b[201~\r`);
  assert.equal(code, 0);
  const plain = await runCli(["run", model, text, ...options]);
  assert.deepEqual(JSON.parse(document).promptTokens, JSON.parse(plain.out).promptTokens);
});

test("Ctrl-C ends the question, and nothing was loaded or answered", { skip }, async () => {
  const { code, document } = await typed("the c\x03");
  assert.equal(code, 130);
  assert.equal(document, "");
});
