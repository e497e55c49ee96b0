/** Completion in real shells, where they are installed, and the manual page in groff. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { commands } from "../src/cli/commands/index.js";
import { type CommandFacts, commandFacts, wordsOf } from "../src/cli/completion/facts.js";
import { completionScript, type Shell, shells } from "../src/cli/completion/shells.js";
import { packageRoot } from "../src/package-root.js";
import { runCli } from "./support/cli.js";

const folder = mkdtempSync(join(tmpdir(), "hw-completion-"));
const file = (shell: Shell): string => join(folder, `completion.${shell}`);
let facts: CommandFacts[];
before(async () => {
  facts = await commandFacts(commands);
  for (const shell of shells) writeFileSync(file(shell), completionScript(shell, facts));
  writeFileSync(join(folder, "a model.gguf"), "");
});
after(() => rmSync(folder, { recursive: true }));

function missing(program: string): false | string {
  const found = spawnSync(program, ["--version"]).status === 0;
  if (!found) console.log(`SKIPPED completion: no ${program} here`);
  return found ? false : `no ${program} here`;
}

function inShell(program: string, script: string): string[] {
  const run = spawnSync(program, ["-c", script], { cwd: folder, encoding: "utf8" });
  assert.equal(run.stderr, "");
  return run.stdout.split("\n").filter((line) => line !== "");
}

test("bash completes commands, options, their values, and files", { skip: missing("bash") }, () => {
  const complete = (...words: string[]): string[] =>
    inShell(
      "bash",
      `source '${file("bash")}'
       COMP_WORDS=(${words.map((word) => `'${word}'`).join(" ")}); COMP_CWORD=${words.length - 1}
       compopt() { echo files; }
       _hundredweight; printf '%s\\n' "\${COMPREPLY[@]}"`,
    );
  assert.deepEqual(complete("hundredweight", "pl"), ["plan"]);
  assert.deepEqual(
    complete("hundredweight", "").sort(),
    [...facts.map(({ name }) => name), "--help", "--version"].sort(),
  );
  for (const { name, options } of facts)
    assert.deepEqual(
      complete("hundredweight", name, "--").sort(),
      [...options.flatMap(wordsOf).filter((word) => word.startsWith("--")), "--help"].sort(),
    );
  assert.deepEqual(complete("hundredweight", "run", "m.gguf", "--kv", "q"), ["q8_0", "q4_0"]);
  assert.deepEqual(complete("hundredweight", "completion", "f"), ["fish"]);
  assert.deepEqual(complete("hundredweight", "run", "m.gguf", "--seed", ""), []);
  for (const words of [
    ["run", "a"],
    ["run", "--tools", ""],
    ["batch", "in.jsonl", ""],
  ])
    assert.deepEqual(complete("hundredweight", ...words), ["files"]);
});

test("fish completes commands, options and their values", { skip: missing("fish") }, () => {
  const complete = (line: string): string[] =>
    inShell("fish", `source '${file("fish")}'; complete -C '${line}'`).map((each) => each.split("\t")[0]!);
  assert.deepEqual(complete("hundredweight pl"), ["plan"]);
  assert.deepEqual(complete("hundredweight run x --kv q"), ["q4_0", "q8_0"]);
  assert.ok(complete("hundredweight serve --").includes("--parallel"));
  assert.ok(!complete("hundredweight list --").includes("--parallel"));
  assert.deepEqual(complete("hundredweight completion f"), ["fish"]);
  assert.ok(complete("hundredweight run a").includes("a model.gguf"));
});

test("zsh completes commands, options and their values", { skip: missing("zsh") }, () => {
  // Without a line editor the functions of completion do not run: what they are called with is looked at.
  const called = (name: string): string[] =>
    inShell(
      "zsh",
      `_arguments() { if [[ $1 == -C ]]; then state=argument; line=(${name}); else print -rl -- "$@"; fi }
       _describe() { print described; }
       compdef() { :; }
       source '${file("zsh")}'; _hundredweight`,
    );
  for (const { name, options, arguments: given } of facts) {
    const specs = called(name);
    const words = [...options.flatMap(wordsOf), "-h", "--help"];
    assert.equal(specs.length, words.length + given.length, name);
    for (const word of words)
      assert.ok(
        specs.some((spec) => spec.replace(/^\([^)]*\)/, "").startsWith(`${word}[`)),
        `${name} ${word}`,
      );
  }
  const kinds = "keys\\:values apart (q8_0\\:q4_0), +h behind for a Hadamard rotation\\: f16, q8_0, q4_0";
  assert.ok(called("run").includes(`--kv[type of the KV cache, ${kinds}]:type:(f16 q8_0 q4_0)`));
});

test("PowerShell's script names every command, option and choice", () => {
  const script = completionScript("powershell", facts);
  for (const { name, options } of facts)
    for (const word of options.flatMap(wordsOf)) assert.match(script, new RegExp(`'${name}' = [^]*@\\('${word}', '`));
  assert.match(script, /'run --kv' = @\('f16', 'q8_0', 'q4_0'\)/);
  // Every quote is closed where it was opened: what is left between them are names and brackets.
  assert.doesNotMatch(script.replace(/#.*|'(?:[^']|'')*'/g, ""), /'/);
});

test("words behind a colon are taken for choices where they are some, and nowhere else", () => {
  const found = facts.flatMap(({ options }) =>
    options.flatMap(({ long, value }) =>
      value?.choices.length ? [`${long} ${value.choices.slice(0, 3).join(" ")}`] : [],
    ),
  );
  assert.deepEqual([...new Set(found)].sort(), [
    "--folder bf16 f16 f32",
    "--io auto mmap direct",
    "--kv f16 q8_0 q4_0",
    "--numa distribute isolate numactl",
    "--pooling none mean cls",
    "--quant F32 F16 BF16",
  ]);
});

test("the command writes the script of a shell, and no other", async () => {
  const { code, out } = await runCli(["completion", "bash"]);
  assert.equal(code, 0);
  assert.equal(out, completionScript("bash", facts));
  const wrong = await runCli(["completion", "csh"]);
  assert.equal(wrong.code, 2);
  assert.match(wrong.err, /'csh' is not one of bash, zsh, fish, powershell/);
});

test("groff finds no fault with the manual page", { skip: missing("groff") }, () => {
  const page = join(packageRoot(), "man/hundredweight.1");
  const run = spawnSync("groff", ["-man", "-ww", "-Tutf8", page], { encoding: "utf8" });
  assert.equal(run.stderr, "");
  assert.match(run.stdout, /hundredweight/);
});
