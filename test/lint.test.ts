/** Lint refuses what it says it refuses: planted imports, circles and a type error of the page. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, test } from "node:test";
import { packageRoot } from "../src/package-root.js";

const root = packageRoot();
const folder = mkdtempSync(join(tmpdir(), "hundredweight-lint-"));
after(() => rmSync(folder, { recursive: true, force: true }));

/** The sources with some files replaced or added, judged by check-layers. */
function checkWith(planted: Readonly<Record<string, string>>): {
  readonly status: number | null;
  readonly said: string;
} {
  const copy = mkdtempSync(join(folder, "copy-"));
  for (const part of ["src", "web/src", "bench", "test"])
    cpSync(join(root, part), join(copy, part), { recursive: true });
  for (const [file, text] of Object.entries(planted)) {
    mkdirSync(dirname(join(copy, file)), { recursive: true });
    writeFileSync(join(copy, file), text);
  }
  const { status, stderr } = spawnSync(process.execPath, ["scripts/check-layers.mjs", copy], {
    cwd: root,
    encoding: "utf8",
  });
  rmSync(copy, { recursive: true });
  return { status, said: stderr };
}

test("the sources as they are pass; planted imports and circles do not", () => {
  assert.deepEqual(checkWith({}), { status: 0, said: "" });
  const kv = readFileSync(join(root, "src/kv/pages.ts"), "utf8");
  const cases: [string, string, RegExp][] = [
    ["src/kv/planted.ts", 'import { planModel } from "../weights/plan-model.js";\n', /'kv' must not import 'weights'/],
    ["src/kv/planted.ts", 'import {\n  type Plan,\n} from "../weights/plan.js";\n', /'kv' must not import 'weights'/],
    ["src/kv/planted.ts", 'export * from "../weights/plan.js";\n', /'kv' must not import 'weights'/],
    ["src/kv/planted.ts", 'const p = await import("../weights/plan.js");\n', /'kv' must not import 'weights'/],
    [
      "src/kv/planted.ts",
      'import { load } from "../index.js";\n',
      /rooms may import errors, package-root and regular-file only/,
    ],
    ["src/kv/planted.ts", 'import "../../test/support/placements.js";\n', /a source must not import test/],
    ["src/surprise/planted.ts", "export const a = 1;\n", /room 'surprise' is not in/],
    ["src/kv/pages.ts", `import type { KvCache } from "./cache.js";\n${kv}`, /a new circle of files: src\/kv\/cache/],
    ["src/kv/deep/planted.ts", 'import { x } from "../pages.js";\n', /^$/],
    ["web/src/planted.ts", 'import { Engine } from "../../src/engine/engine.js";\n', /'web' must not import/],
    ["bench/planted.ts", 'import "../test/fuzz/dice.js";\n', /'bench' must not import/],
  ];
  for (const [file, text, message] of cases) {
    const { status, said } = checkWith({ [file]: text });
    assert.match(said, message, `${file}: ${text}`);
    assert.equal(status, said === "" ? 0 : 1);
  }
  const folders = checkWith({
    "src/kv/deep/planted.ts": 'import { x } from "../pages.js";\n',
    "src/kv/other.ts": 'import "./deep/planted.js";\n',
  });
  assert.match(folders.said, /a new circle of folders: src\/kv src\/kv\/deep/);
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
