/** `chat` as a process: a full context, commands, and in a real terminal (tmux, where it is) a pasted text. */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { packageRoot } from "../src/package-root.js";
import { makeTinyModel } from "../src/synth/tiny.js";
import { runCli } from "./support/cli.js";
import { rewriteModel } from "./support/requantize.js";

const folder = mkdtempSync(join(tmpdir(), "hw-chat-"));
const model = join(folder, "chat.gguf");
after(() => rmSync(folder, { recursive: true }));
before(async () => {
  await makeTinyModel(join(folder, "plain.gguf"), "llama");
  const template = "{% for m in messages %}{{ m.role[0] }}:{{ m.content }};{% endfor %}a:";
  await rewriteModel(join(folder, "plain.gguf"), model, undefined, (metadata) =>
    metadata.set("tokenizer.chat_template", { type: "string", value: template }),
  );
});

const greedy = ["--temperature", "0", "--ignore-eos"];

test("a full context: a warning, then the oldest turns are left out and the conversation goes on", async () => {
  const said = Array.from({ length: 12 }, (_, i) => `the cat and the dog ${i} went home`);
  const lines = ["/set system be brief", ...said, "/ctx", "/show system", "/clear", "/ctx", "/bye", "not read"];
  const { code, out, err } = await runCli(
    ["chat", model, ...greedy, "-n", "8", "--ctx", "128"],
    `${lines.join("\n")}\n`,
  );
  assert.equal(code, 0, err);
  assert.match(err, /\(the context is \d\d % full, \d+ of 128 tokens/);
  const left = err.match(/oldest turns? (is|are) left out\)/g) ?? [];
  assert.ok(left.length >= 3, err);
  assert.ok(err.indexOf("% full") < err.indexOf("left out)"), err);
  assert.doesNotMatch(err, /error\[/);
  const [used, turns] = (/(\d+) of 128 tokens \(\d+ %\), (\d+) turns/.exec(out) ?? []).slice(1).map(Number);
  assert.ok(used! <= 128 && turns! >= 1 && turns! < 12, out);
  assert.match(out, /be brief/);
  assert.match(out, /\d+ of 128 tokens \(\d+ %\), 0 turns/);
});

test("a message that cannot fit is refused and does not stay in the way", async () => {
  const { code, out, err } = await runCli(
    ["chat", model, ...greedy, "-n", "4", "--ctx", "64"],
    `${"dog ".repeat(300)}\nthe cat\n/ctx\n`,
  );
  assert.equal(code, 0, err);
  assert.match(err, /error\[CONTEXT_EXCEEDED\]/);
  assert.match(out, /of 64 tokens \(\d+ %\), 1 turn;/);
});

test("several lines make one message; parameters are set and shown", async () => {
  const lines = [
    '"""the cat',
    'and the dog"""',
    "one \\",
    "two",
    "/set parameter temperature 0.5",
    "/show parameters",
    "/ctx",
  ];
  const { code, out, err } = await runCli(["chat", model, ...greedy, "-n", "4"], `${lines.join("\n")}\n`);
  assert.equal(code, 0, err);
  assert.match(out, /, 2 turns;/);
  assert.match(out, /^temperature 0\.5$/m);
});

const tmux = spawnSync("tmux", ["-V"]).status === 0;
const skip = tmux ? false : "SKIPPED a pasted text in a terminal: tmux is not here";
if (skip) console.log(skip);

test("a text pasted into a terminal is one message with one answer", { skip }, async () => {
  const socket = `hw-chat-${process.pid}`;
  const run = (...args: string[]) => execFileSync("tmux", ["-L", socket, ...args], { encoding: "utf8" });
  const paste = join(folder, "paste.txt");
  writeFileSync(paste, "Fix this code:\ndef f(x):\n    return x+1\n");
  const quoted = [
    process.execPath,
    join(packageRoot(), "bin", "hundredweight.js"),
    "chat",
    model,
    ...greedy,
    "-n",
    "6",
  ];
  try {
    run("new-session", "-d", "-x", "100", "-y", "40", quoted.map((word) => `'${word}'`).join(" "));
    const until = async (what: RegExp) => {
      for (const deadline = performance.now() + 60_000; ; ) {
        const screen = run("capture-pane", "-p");
        if (what.test(screen)) return screen;
        assert.ok(performance.now() < deadline, `${what}:\n${screen}`);
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    };
    await until(/^> *$/m);
    run("load-buffer", paste);
    run("paste-buffer", "-p");
    await until(/return x\+1[\s\S]*\n> *\n/);
    run("send-keys", "/ctx", "Enter");
    const screen = await until(/tokens \(\d+ %\)/);
    assert.match(screen, /, 1 turn;/);
    assert.match(screen, /^> Fix this code:.def f\(x\):. {4}return x\+1$/m);
  } finally {
    spawnSync("tmux", ["-L", socket, "kill-server"]);
  }
});
