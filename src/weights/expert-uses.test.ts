/** Uses of experts between runs: shares, fading, and files that say nothing. */
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { rememberedUses, rememberUses } from "./expert-uses.js";

const folder = mkdtempSync(join(tmpdir(), "hundredweight-uses-"));
const probe = process.env.HUNDREDWEIGHT_PROBE;
process.env.HUNDREDWEIGHT_PROBE = "on";
after(() => {
  process.env.HUNDREDWEIGHT_PROBE = probe;
  rmSync(folder, { recursive: true, force: true });
});

const env = { XDG_CACHE_HOME: folder };
const model = join(folder, "model.gguf");
writeFileSync(model, "four");
const kept = join(folder, "hundredweight", "experts");
const uses = (passes: number, ...asked: number[]) => ({ passes, asked: Float32Array.from(asked) });
const shares = (...values: number[]) => Float32Array.from(values);

test("shares of passes come back, and runs add up", () => {
  assert.equal(rememberedUses(model, 3, env), undefined);
  rememberUses(model, uses(100, 100, 50, 0), env);
  assert.deepEqual(rememberedUses(model, 3, env), shares(1, 0.5, 0));
  rememberUses(model, uses(100, 0, 50, 100), env);
  const [first, second, third] = rememberedUses(model, 3, env)!;
  // The earlier run counts a little less.
  assert.ok(first! < 0.5 && first! > 0.49 && second === 0.5 && third! > 0.5 && third! < 0.51, `${first} ${third}`);
  rememberUses(model, uses(4096 * 8, 0, 0, 4096 * 8), env);
  assert.ok(rememberedUses(model, 3, env)![0]! < 0.001, "long ago");
});

test("a short run, another model and switched-off memory leave no trace", () => {
  const other = join(folder, "other.gguf");
  writeFileSync(other, "four");
  rememberUses(other, uses(15, 15, 0), env);
  assert.equal(rememberedUses(other, 2, env), undefined);
  assert.equal(rememberedUses(model, 4, env), undefined, "as many experts as it has not");
  process.env.HUNDREDWEIGHT_PROBE = "off";
  rememberUses(other, uses(100, 15, 0), env);
  assert.equal(rememberedUses(model, 3, env), undefined);
  process.env.HUNDREDWEIGHT_PROBE = "on";
  assert.equal(rememberedUses(other, 2, env), undefined);
});

test("files that make no sense are as none, and are written again", () => {
  const [name] = readdirSync(kept);
  const good = readFileSync(join(kept, name!), "utf8");
  for (const text of [
    "",
    "[]",
    "{",
    good.replace('"version":1', '"version":2'),
    good.replace(/"passes":[\d.]+/, '"passes":0'),
    good.replace(/"asked":\[/, '"asked":[-1,'),
    '{"version":1,"passes":5,"asked":[1,null,2]}',
  ]) {
    writeFileSync(join(kept, name!), text);
    assert.equal(rememberedUses(model, 3, env), undefined, text);
  }
  rememberUses(model, uses(20, 20, 10, 5), env);
  assert.deepEqual(rememberedUses(model, 3, env), shares(1, 0.5, 0.25));
});

test("of many models the newest are kept, and a folder that cannot be written is no fault", () => {
  for (let i = 0; i < 40; i++) {
    const path = join(folder, `m${i}.gguf`);
    writeFileSync(path, "x");
    rememberUses(path, uses(20, 1), env);
  }
  assert.equal(readdirSync(kept).length, 32);
  assert.deepEqual(rememberedUses(join(folder, "m39.gguf"), 1, env), shares(0.05));
  rememberUses(model, uses(20, 1), { XDG_CACHE_HOME: model });
});
