/**
 * Names, metadata and templates of strangers' files on their way to a terminal: no command lets a control character or
 * an override of direction through, on either stream.
 */
import assert from "node:assert/strict";
import { mkdtempSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { makeTinyModel } from "../src/synth/tiny.js";
import { runCli } from "./support/cli.js";
import { rewriteModel } from "./support/requantize.js";

const evil = "\u001b]0;pwn\u0007\u001b[2J\nerror[X]: fake\u009b31m\u202egnp";
const shown = "\\u001b]0;pwn\\u0007\\u001b[2J";
const folder = mkdtempSync(join(tmpdir(), "hw-foreign-"));
after(() => rmSync(folder, { recursive: true }));
const file = (name: string) => join(folder, name);
// A file's name cannot be everywhere what it is here.
const odd = process.platform === "win32" ? file("odd.gguf") : file("odd\u001b[2J\u009b\u202e.gguf");

before(async () => {
  await makeTinyModel(file("tiny.gguf"), "llama");
  const string = (value: string) => ({ type: "string", value }) as const;
  await rewriteModel(file("tiny.gguf"), file("arch.gguf"), undefined, (m) =>
    m.set("general.architecture", string(evil)),
  );
  await rewriteModel(file("tiny.gguf"), file("named.gguf"), undefined, (m) => {
    m.set("general.name", string(evil));
    m.set(`custom.${evil.replace("\n", "")}`, string(evil));
    m.set("tokenizer.chat_template", string(`{{ raise_exception(${JSON.stringify(evil)}) }}`));
  });
  await rewriteModel(file("tiny.gguf"), file("wrong.gguf"), undefined, (m) => m.set("llama.block_count", string(evil)));
  renameSync(file("tiny.gguf"), odd);
});

/** Characters that would act on a terminal: control characters but line feed and tab, and the override of direction. */
const acts = /(?![\n\t])\p{Cc}|\u202e/u;

test("errors, tables, lists and JSON show it, whatever the command", async () => {
  const cases: [string[], RegExp | undefined][] = [
    [
      ["run", file("arch.gguf"), "hi"],
      /^error\[ARCHITECTURE_UNKNOWN\]: [^\n]*\\u001b\]0;pwn\\u0007[^\n]*\\u202egnp[^\n]*\n$/,
    ],
    [["plan", file("arch.gguf")], /ARCHITECTURE_UNKNOWN/],
    [["inspect", file("arch.gguf")], /architecture +\\u001b/],
    [["run", file("named.gguf"), "hi"], /TEMPLATE_INVALID/],
    [["chat", file("named.gguf")], undefined],
    [["inspect", file("named.gguf"), "--tensors"], /name +\\u001b/],
    [["inspect", file("named.gguf"), "--json"], undefined],
    [["run", file("wrong.gguf"), "hi"], /block_count' is the text '\\u001b/],
    [["plan", odd], /odd\\u001b\[2J\\u009b\\u202e\.gguf/],
    [["inspect", odd], undefined],
    [["run", `${odd}x`, "hi"], /FILE_NOT_FOUND/],
    [["tokenize", odd, evil], undefined],
    [["doctor", odd], undefined],
    [[evil.trim()], /unknown command/],
  ];
  const outputs = await Promise.all(cases.map(async ([args]) => runCli(args, "\n")));
  for (const [i, { out, err }] of outputs.entries()) {
    const [args, expected] = cases[i]!;
    for (const text of [out, err]) assert.doesNotMatch(text, acts, `${args[0]}: ${JSON.stringify(text.slice(0, 400))}`);
    if (expected !== undefined) assert.match(out + err, expected);
  }
  const header = outputs[4]!.err.split("\n")[0]!;
  assert.ok(header.startsWith(shown), header);
});

test("inspect --json: the metadata are what they are", async () => {
  const { out } = await runCli(["inspect", file("named.gguf"), "--json"]);
  assert.equal((JSON.parse(out) as { name: string }).name, evil);
});
