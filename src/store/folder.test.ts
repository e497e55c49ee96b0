import assert from "node:assert/strict";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { HundredweightError } from "../errors.js";
import { packageRoot } from "../package-root.js";
import { ModelFolder } from "./folder.js";
import { findModels } from "./folder-work.js";

const demo = join(packageRoot(), "models", "demo.gguf");
const folder = mkdtempSync(join(tmpdir(), "hundredweight-folder-"));
after(() => rmSync(folder, { recursive: true, force: true }));

mkdirSync(join(folder, "sub"));
mkdirSync(join(folder, ".hidden"));
copyFileSync(demo, join(folder, "good.gguf"));
copyFileSync(demo, join(folder, ".hidden", "unseen.gguf"));
copyFileSync(demo, join(folder, "sub", "cut.GGUF"));
truncateSync(join(folder, "sub", "cut.GGUF"), 5000);
writeFileSync(join(folder, "sub", "junk.gguf"), "this is not a model");
writeFileSync(join(folder, "notes.txt"), "hello");
// Folders that are models: their weights count, not what lies beside them.
for (const [name, file] of [
  ["torch", "pytorch_model.bin"],
  ["graph", "model.onnx"],
] as const) {
  mkdirSync(join(folder, name));
  writeFileSync(join(folder, name, "config.json"), "{}");
  writeFileSync(join(folder, name, file), Buffer.alloc(20));
}
// Two of three files of a split model.
writeFileSync(join(folder, "split-00001-of-00003.gguf"), Buffer.alloc(100));
writeFileSync(join(folder, "split-00002-of-00003.gguf"), Buffer.alloc(50));
symlinkSync(folder, join(folder, "loop"));
symlinkSync(demo, join(folder, "linked.gguf"));
symlinkSync(join(folder, "nowhere"), join(folder, "dangling.gguf"));

test("models are found; links to files are followed, those to folders are not", async () => {
  const { files, cut } = await findModels(folder);
  assert.equal(cut, false);
  assert.deepEqual(
    files.map(({ file, shards }) => [file, shards]),
    [
      ["good.gguf", 1],
      ["graph", 1],
      ["linked.gguf", 1],
      ["split-00001-of-00003.gguf", 3],
      ["sub/cut.GGUF", 1],
      ["sub/junk.gguf", 1],
      ["torch", 1],
    ],
  );
  assert.equal(files[3]!.bytes, 150);
  assert.equal(files[1]!.bytes, 20);
  await assert.rejects(findModels(join(folder, "absent")), { code: "FILE_NOT_FOUND" });
});

test("what headers say, and what is wrong with a file", async () => {
  const models = new ModelFolder(folder);
  const listing = await models.list(join(folder, "good.gguf"));
  const byFile = new Map(listing.models.map((model) => [model.file, model]));
  const good = byFile.get("good.gguf")!;
  assert.equal(good.architecture, "llama");
  assert.equal(good.parameters, 3_672_320);
  assert.equal(good.fileType, "F16");
  assert.equal(good.contextTokens, 1024);
  assert.equal(good.fault, undefined);
  assert.deepEqual(
    listing.models.filter((model) => model.loaded).map((model) => model.file),
    ["good.gguf"],
  );
  for (const file of ["sub/cut.GGUF", "sub/junk.gguf", "split-00001-of-00003.gguf"])
    assert.match(byFile.get(file)!.fault!.code, /^F/, file);
  assert.equal("path" in good, false); // the page has no use for it

  const report = await models.plan(good.id, {}, 0);
  assert.equal(report.plan!.strategy, "resident");
  assert.equal(report.plan!.map.tensors.length, 38);
  assert.match(report.advice.join("\n"), /conversations at once still fit[\s\S]*a model of about/);
  const small = await models.plan(good.id, { memoryBytes: 2 ** 26 }, 0);
  assert.equal(small.plan, undefined);
  assert.ok(small.minimumBudgetBytes! > 2 ** 26);
  const streamed = await models.plan(good.id, { memoryBytes: small.minimumBudgetBytes! }, 0);
  assert.equal(streamed.plan!.strategy, "streamed");
});

test("ids are looked up, never opened", async () => {
  const models = new ModelFolder(folder);
  for (const id of ["", "..", "../../etc/passwd", "good.gguf", "AAAAAAAAAAAAAAAA"])
    await assert.rejects(models.path(id), (error) => {
      assert.ok(error instanceof HundredweightError);
      return error.code === "FILE_NOT_FOUND";
    });
});
