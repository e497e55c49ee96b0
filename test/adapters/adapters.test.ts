/**
 * Adapters of PEFT beside models of transformers: logits are those of the two libraries, alone and together; rows
 * without an adapter have the bits of a model without, whatever their neighbours have.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { readSafetensors } from "../../src/containers/safetensors/header.js";
import { readFixture, writeFolder } from "../huggingface/folder.js";
import { runCli } from "../support/cli.js";
import { meanKl } from "../support/evaluate.js";
import { logitsOf, openAdapted } from "./adapted.js";
import { adapterFixtures, expectedLogits, readAdapterFixture, type Which, writePeft } from "./fixture.js";

describe("adapters of PEFT beside models of transformers", () => {
  let folder = "";
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "hundredweight-adapters-"));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  for (const name of adapterFixtures()) {
    test(`${name}: KL to transformers and PEFT below 1e-6; rows without have the base's bits`, async (t) => {
      const [base, fixture] = [readFixture(name), readAdapterFixture(name)];
      const path = writeFolder(join(folder, name), base);
      const paths = (["a", "b"] as const).map((w) => writePeft(join(folder, `${name}-${w}`), fixture, w));
      const plain = await openAdapted(path, []);
      const [expected] = await logitsOf(plain, base.ids, [[]]);
      plain.close();
      const model = await openAdapted(path, paths);
      const sets: Readonly<Record<Which, readonly number[]>> = { a: [1], b: [0, 1], ab: [1, 1] };
      // All share a pass, and the base is among them.
      const found = await logitsOf(model, base.ids, [...Object.values(sets), []]);
      for (const [i, which] of (Object.keys(sets) as Which[]).entries()) {
        const rows = found[i]!.slice(-fixture.rows[0]);
        const kl = meanKl(expectedLogits(fixture, which, "values"), rows);
        const rounded = meanKl(expectedLogits(fixture, which, "rounded"), rows);
        t.diagnostic(`${which}: KL ${kl.toExponential(2)}, beside a cache of F16 ${rounded.toExponential(2)}`);
        assert.ok(kl >= -1e-9 && kl < 1e-6, `${which}: KL ${kl}`);
        assert.ok(rounded >= -1e-9 && rounded < 1e-8, `${which}: KL ${rounded}`);
        // It matters which adapter it is.
        assert.ok(meanKl(expectedLogits(fixture, which, "values"), expected!.slice(-fixture.rows[0])) > 0.01, which);
      }
      assert.deepEqual(found[3], expected);
      // Neighbours change nothing.
      assert.deepEqual(await logitsOf(model, base.ids, [sets.ab]), [found[2]]);
      model.close();
    });
  }

  test("a plan has a line for what they take", async () => {
    const path = writeFolder(join(folder, "planned"), readFixture("qwen3_moe"));
    const adapter = writePeft(join(folder, "planned-a"), readAdapterFixture("qwen3_moe"), "a");
    const { tensors } = readSafetensors(join(adapter, "adapter_model.safetensors"));
    const plan = async (...more: string[]) => (await runCli(["plan", path, "--no-probe", ...more])).out;
    const [without, beside] = [JSON.parse(await plan("--json")), JSON.parse(await plan("--json", "--lora", adapter))];
    assert.equal(without.adapterBytes, 0);
    const bytes = tensors.reduce((sum, tensor) => sum + tensor.bytes, 0);
    assert.equal(beside.adapterBytes, bytes);
    assert.equal(beside.pinnedBytes, without.pinnedBytes);
    assert.ok(beside.totalBytes >= without.totalBytes + bytes);
    assert.match(await plan("--lora", adapter), /^ {2}adapters +\d/m);
  });
});
