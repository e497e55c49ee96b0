/** Lint refuses what it says it refuses: planted imports, circles and a type error of the page. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, test } from "node:test";
import { packageRoot } from "../src/package-root.js";

const root = packageRoot();
const folder = mkdtempSync(join(tmpdir(), "hundredweight-lint-"));
after(() => rmSync(folder, { recursive: true, force: true }));

/** Where the sources are copied to, once: what is planted there is taken away again. */
let copied: string | undefined;
function copyOfSources(): string {
  if (copied !== undefined) return copied;
  copied = mkdtempSync(join(folder, "copy-"));
  for (const part of ["src", "web/src", "bench", "test"])
    cpSync(join(root, part), join(copied, part), { recursive: true });
  return copied;
}

/** The sources with some files replaced or added, judged by check-layers. */
function checkWith(planted: Readonly<Record<string, string>>): {
  readonly status: number | null;
  readonly said: string;
} {
  const copy = copyOfSources();
  for (const [file, text] of Object.entries(planted)) {
    mkdirSync(dirname(join(copy, file)), { recursive: true });
    writeFileSync(join(copy, file), text);
  }
  const { status, stderr } = spawnSync(process.execPath, ["scripts/check-layers.mjs", copy], {
    cwd: root,
    encoding: "utf8",
  });
  for (const file of Object.keys(planted)) {
    if (existsSync(join(root, file))) cpSync(join(root, file), join(copy, file));
    else rmSync(join(copy, file));
  }
  return { status, said: stderr };
}

test("the sources as they are pass; planted imports and circles do not", () => {
  assert.deepEqual(checkWith({}), { status: 0, said: "" });
  const units = readFileSync(join(root, "src/state/units.ts"), "utf8");
  const cases: [string, string, RegExp][] = [
    [
      "src/state/planted.ts",
      'import { planModel } from "../weights/plan-model.js";\n',
      /'state' must not import 'weights'/,
    ],
    [
      "src/state/planted.ts",
      'import {\n  type Plan,\n} from "../weights/plan.js";\n',
      /'state' must not import 'weights'/,
    ],
    ["src/state/planted.ts", 'export * from "../weights/plan.js";\n', /'state' must not import 'weights'/],
    ["src/state/planted.ts", 'const p = await import("../weights/plan.js");\n', /'state' must not import 'weights'/],
    ["src/state/planted.ts", 'import { load } from "../index.js";\n', /rooms may import errors, .* only/],
    ["src/state/planted.ts", 'import "../../test/support/placements.js";\n', /a source must not import test/],
    ["src/surprise/planted.ts", "export const a = 1;\n", /room 'surprise' is not in/],
    [
      "src/state/units.ts",
      `import type { StateCache } from "./cache.js";\n${units}`,
      /a new circle of files: src\/state\/cache/,
    ],
    ["src/state/deep/planted.ts", 'import { x } from "../units.js";\n', /^$/],
    ["web/src/planted.ts", 'import { Engine } from "../../src/engine/engine.js";\n', /'web' must not import/],
    ["bench/planted.ts", 'import "../test/fuzz/dice.js";\n', /'bench' must not import/],
  ];
  for (const [file, text, message] of cases) {
    const { status, said } = checkWith({ [file]: text });
    assert.match(said, message, `${file}: ${text}`);
    assert.equal(status, said === "" ? 0 : 1);
  }
  const folders = checkWith({
    "src/state/deep/planted.ts": 'import { x } from "../units.js";\n',
    "src/state/other.ts": 'import "./deep/planted.js";\n',
  });
  assert.match(folders.said, /a new circle of folders: src\/state src\/state\/deep/);
});

/** A checkout of a few files, judged by one of the scripts. */
function judge(script: string, planted: Readonly<Record<string, string>>): { status: number | null; said: string } {
  const copy = mkdtempSync(join(folder, "few-"));
  for (const [file, text] of Object.entries(planted)) {
    mkdirSync(dirname(join(copy, file)), { recursive: true });
    writeFileSync(join(copy, file), text);
  }
  const { status, stderr } = spawnSync(process.execPath, [script, copy], { cwd: root, encoding: "utf8" });
  return { status, said: stderr };
}

test("docstrings that say nothing and long lines are refused, tables and links are not", () => {
  const long = "x".repeat(70);
  const english = (file: string, text: string) => judge("scripts/check-english.mjs", { [file]: text });
  for (const text of [
    "/** Of the model. */",
    "/**\n * What is kept.\n */",
    "/** Whoever asks. */",
    `// ${long} ${long}`,
  ]) {
    const { status, said } = english("src/a.ts", `${text}\nexport const a = 1;\n`);
    assert.equal(status, 1, text);
    assert.match(said, /^src\/a\.ts:[12]: (begins no sentence|is longer than 120)/, text);
  }
  for (const [file, text] of [
    ["src/a.ts", "/** Bytes of the model. Of the others nothing is kept. */\n"],
    ["docs/a.md", `| ${long} | ${long} |\n[${long}](${long})\nhttps://${long}${long}\n`],
  ] as const)
    assert.deepEqual(english(file, text), { status: 0, said: "" });
  assert.match(english("docs/a.md", `${long} ${long}\n`).said, /is longer than 120/);
  // A line of the list may be anywhere, once.
  const listed = `long ${createHash("sha256").update(`${long} ${long}`).digest("hex").slice(0, 10)} docs/b.md\n`;
  const planted = { "docs/a.md": `${long} ${long}\n`, "scripts/english-baseline.txt": listed };
  assert.deepEqual(judge("scripts/check-english.mjs", planted), { status: 0, said: "" });
  const twice = { ...planted, "docs/a.md": `${long} ${long}\n${long} ${long}\n` };
  assert.equal(judge("scripts/check-english.mjs", twice).status, 1);
});

test("the glossary is held to the code: words in order and in use, none that was replaced in a type", () => {
  const rows = Array.from({ length: 60 }, (_, i) => `| word ${String(i).padStart(2, "0")} | \`Thing\` | It is. | |`);
  const head = "| word | in the code | meaning | instead of |\n| --- | --- | --- | --- |\n";
  const check = (lines: readonly string[], code = "") =>
    judge("scripts/check-glossary.mjs", {
      "docs/glossary.md": `${head}${lines.join("\n")}\n`,
      "src/a.ts": `export interface Thing {}\n${code}`,
    });
  assert.deepEqual(check(rows), { status: 0, said: "" });
  assert.match(check(rows.slice(1)).said, /59 rows/);
  assert.match(check([rows[1]!, rows[0]!, ...rows.slice(2)]).said, /out of order/);
  assert.match(check([rows[0]!, ...rows]).said, /stands twice/);
  assert.match(check([...rows, "| zone | `Nothing` | It is not. | |"]).said, /nothing in the code is called Nothing/);
  const replaced = [...rows, "| zone | `Thing` | It is. | `old area` |"];
  assert.match(check(replaced, "export class TheOldAreaList {}\n").said, /TheOldAreaList says 'old area'/);
  assert.equal(check(replaced, "export class TheOlderArea {}\n").status, 0);
});

test("a type error of the page fails lint", () => {
  const { scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { scripts: { lint: string } };
  assert.match(scripts.lint, /(^|&& )tsc -p web( &&|$)/);
  // The page's own settings, with a file of the page and a planted one.
  const page = mkdtempSync(join(folder, "page-"));
  const config = { extends: join(root, "web/tsconfig.json"), include: [], files: ["planted.ts"] };
  writeFileSync(join(page, "tsconfig.json"), JSON.stringify(config));
  const compile = (argument: string): string => {
    const format = JSON.stringify(join(root, "web/src/format.js"));
    writeFileSync(
      join(page, "planted.ts"),
      `import { bytes } from ${format};\nexport const text = bytes(${argument});\n`,
    );
    const compiler = join(root, "node_modules/typescript/bin/tsc");
    return spawnSync(process.execPath, [compiler, "-p", page], { cwd: root, encoding: "utf8" }).stdout;
  };
  assert.equal(compile("1"), "");
  assert.match(compile('"1"'), /TS2345/);
});
