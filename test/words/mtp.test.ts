/**
 * Blocks that guess further tokens: programs of a file, beside a trunk that does not know of them. Their numbers are
 * those of scripts/fixtures/mtp-golden.py, which shares nothing with the engine.
 */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { openCheckpoint } from "../../src/containers/index.js";
import { HundredweightError } from "../../src/errors.js";
import { type Checkpoint, TypedMetadata, type TypedValue } from "../../src/formats/index.js";
import {
  architectures,
  type BoundProgram,
  bindDescription,
  describeModel,
  type ModelDescription,
  type ModelOptions,
} from "../../src/models/index.js";
import { addonStatus } from "../../src/native/addon.js";
import { createOps } from "../../src/ops/index.js";
import type { Ops } from "../../src/ops/ops.js";
import { ReferenceOps } from "../../src/ops/reference.js";
import { packageRoot } from "../../src/package-root.js";
import { randomTokens } from "../support/evaluate.js";
import { guessingFamilies, writeGuessingModel } from "../support/guessing-models.js";
import { writeMtpModel } from "../support/make-mtp-models.js";
import { randomModelVocab } from "../support/random-model.js";

const status = addonStatus();
const skip = status.state === "loaded" ? false : `SKIPPED: ${status.reason}`;
const native = (threads = 2): Ops => createOps({ kind: "native", threads });
const bestOps = (): Ops => (skip === false ? native() : new ReferenceOps());
const folder = mkdtempSync(join(tmpdir(), "hundredweight-mtp-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const dim = 64;
const ids = randomTokens(12, randomModelVocab, 3);
/** Rows in place of the trunk's: of each position that of the one before, zeros at the first. */
const hidden = Float32Array.from({ length: ids.length * dim }, (_, j) => {
  const [p, i] = [Math.floor(j / dim), j % dim];
  return p === 0 ? 0 : Math.sin(0.37 * p + 0.11 * i * (1 + (p % 3)));
});

const opened = new Map<string, Promise<Checkpoint>>();
function open(arch: "glm4moe" | "qwen35"): Promise<Checkpoint> {
  const known = opened.get(arch) ?? writeMtpModel(folder, arch).then(openCheckpoint);
  opened.set(arch, known);
  return known;
}

interface Run {
  readonly ops: Ops;
  readonly program?: string;
  /** Rows of a pass. */
  readonly chunk?: number;
  readonly inputs?: Float32Array;
  /** So many sequences alike, row by row in one pass. */
  readonly sequences?: number;
  readonly of?: "hidden" | "carried";
  readonly more?: Partial<ModelOptions>;
}

/** Logits after each token (or other rows), of the last sequence. */
async function run(description: ModelDescription, o: Run): Promise<Float32Array> {
  const { ops, program, chunk = ids.length, sequences = 1 } = o;
  const options = { contextTokens: 256, maxRows: 64, sequences, kvType: "f16", maxLogitRows: 64, ...o.more } as const;
  const model = await bindDescription(description, ops, program === undefined ? options : { ...options, program });
  try {
    return await walk(model, model.kvGroups.length, description.config.vocab, chunk, o);
  } finally {
    model.close();
  }
}

async function walk(
  program: BoundProgram,
  groups: number,
  vocab: number,
  chunk: number,
  o: Run,
): Promise<Float32Array> {
  const { sequences = 1, inputs } = o;
  const width = o.of === undefined ? vocab : dim;
  const out = new Float32Array(ids.length * width);
  for (let from = 0; from < ids.length; from += chunk) {
    const part = ids.slice(from, from + chunk);
    const all = Array.from({ length: sequences }, (_, s) =>
      part.map((id, i) => ({ s, id, position: from + i })),
    ).flat();
    const slot = from / chunk;
    const rows = {
      count: all.length,
      ids: Int32Array.from(all, ({ id }) => id),
      positions: Int32Array.from(all, ({ position }) => position),
      sequences: Int32Array.from(all, ({ s }) => s),
      blockTables: Array.from({ length: groups }, () => Array.from({ length: sequences }, (_, s) => Int32Array.of(s))),
      tokens: Array.from({ length: sequences }, () => Int32Array.from(ids)),
      slots: Int32Array.of(slot === 0 ? -1 : slot % 2, (slot + 1) % 2, -1),
    };
    const last = Int32Array.from(part, (_, i) => (sequences - 1) * part.length + i);
    const fed = Float32Array.from(all.flatMap(({ position: p }) => [...(inputs ?? []).slice(p * dim, (p + 1) * dim)]));
    const hear = (values: Float32Array, first: number): void => out.set(values, (from + first) * width);
    const extras = inputs === undefined ? {} : { inputs: { hidden: fed } };
    if (o.of === undefined) await program.forward(rows, last, hear, undefined, extras);
    else await program.forward(rows, new Int32Array(), () => {}, { wanted: last, onHidden: hear, of: o.of }, extras);
  }
  return out;
}

interface Golden {
  readonly models: readonly { readonly arch: "glm4moe" | "qwen35"; readonly logits: readonly (readonly number[])[] }[];
}
const golden = JSON.parse(readFileSync(join(packageRoot(), "test/golden/mtp.json"), "utf8")) as Golden;

for (const { arch, logits } of golden.models)
  test(`${arch}: the block's logits are those of an independent computation`, async () => {
    const description = describeModel(await open(arch));
    assert.deepEqual([...description.programs.keys()], ["mtp0"]);
    for (const ops of skip === false ? [native(), new ReferenceOps()] : [new ReferenceOps()]) {
      const found = await run(description, { ops, program: "mtp0", inputs: hidden });
      for (const [p, row] of logits.entries())
        for (const [i, value] of row.entries()) {
          const ours = found[p * randomModelVocab + 16 * i]!;
          // The cache keeps keys and values in F16.
          assert.ok(Math.abs(ours - value) < 5e-3, `position ${p}, token ${16 * i}: ${ours}, expected ${value}`);
        }
    }
  });

for (const arch of ["glm4moe", "qwen35"] as const)
  test(`${arch}: the same bits in chunks, with other threads, in a batch, beside the trunk`, { skip }, async () => {
    const description = describeModel(await open(arch));
    const program = { program: "mtp0", inputs: hidden };
    const whole = await run(description, { ...program, ops: native() });
    for (const chunk of [1, 5]) assert.deepEqual(await run(description, { ...program, ops: native(), chunk }), whole);
    for (const threads of [1, 3]) assert.deepEqual(await run(description, { ...program, ops: native(threads) }), whole);
    assert.deepEqual(await run(description, { ...program, ops: native(), sequences: 3 }), whole);
    const options = { contextTokens: 256, maxRows: 64, sequences: 1, kvType: "f16", maxLogitRows: 64 } as const;
    const both = await bindDescription(description, native(), { ...options, programs: ["mtp0"] });
    const beside = both.programs.get("mtp0")!;
    const { vocab } = description.config;
    const trunk = await walk(both, both.kvGroups.length, vocab, 5, { ops: both.ops });
    assert.deepEqual(await walk(beside, both.kvGroups.length, vocab, 5, { ops: both.ops, inputs: hidden }), whole);
    both.close();
    assert.deepEqual(trunk, await run(description, { ops: native() }));
  });

/** The file without some of its tensors, with some metadata changed. */
function changed(
  checkpoint: Checkpoint,
  keep: (name: string) => boolean,
  metadata: Readonly<Record<string, TypedValue>> = {},
): Checkpoint {
  const values = new Map((checkpoint.metadata as TypedMetadata).entries());
  for (const [key, value] of Object.entries(metadata)) values.set(key, value);
  const tensors = new Map([...checkpoint.tensors].filter(([name]) => keep(name)));
  return { ...checkpoint, metadata: new TypedMetadata(values, checkpoint.path), tensors };
}

for (const [arch, block] of [
  ["glm4moe", 3],
  ["qwen35", 4],
] as const)
  test(`${arch}: the trunk is the same with the block, without it, and where nobody counts it`, async () => {
    const checkpoint = await open(arch);
    const own = (name: string): boolean => name.startsWith(`blk.${block}.`);
    const uncounted = {
      [`${arch}.block_count`]: { type: "u32", value: block },
      [`${arch}.nextn_predict_layers`]: { type: "u32", value: 0 },
    } as const;
    const full = describeModel(checkpoint);
    const without = describeModel(changed(checkpoint, (name) => !own(name)));
    const never = describeModel(changed(checkpoint, (name) => !own(name), uncounted));
    assert.ok(full.programs.get("mtp0")!.tensors.some(({ name }) => own(name)));
    const logits = await run(full, { ops: bestOps() });
    for (const other of [without, never]) {
      assert.equal(other.programs.size, 0);
      // What the trunk reads and keeps, to the byte: the plan is made of these.
      assert.deepEqual([other.weightBytes, other.states], [full.weightBytes, full.states]);
      assert.deepEqual(
        other.tensors.map(({ name }) => name),
        full.tensors.map(({ name }) => name),
      );
      assert.deepEqual(await run(other, { ops: bestOps() }), logits);
    }
    for (const { unusedTensors, warnings } of [full, without, never])
      assert.deepEqual([unusedTensors, warnings], [[], []]);
  });

test("a block that is not whole, or counted wrongly, is refused by name", async () => {
  const checkpoint = await open("glm4moe");
  const refused = (file: Checkpoint, ...parts: readonly RegExp[]): void =>
    assert.throws(
      () => describeModel(file),
      (error: unknown) => {
        assert.ok(error instanceof HundredweightError && error.code === "MODEL_INVALID", String(error));
        for (const part of parts) assert.match(error.message, part);
        return true;
      },
    );
  for (const name of ["nextn.eh_proj", "nextn.hnorm", "attn_k", "ffn_down_exps"]) {
    const gone = `blk.3.${name}.weight`;
    refused(
      changed(checkpoint, (known) => known !== gone),
      new RegExp(`'${gone}' is missing`),
    );
    const tensors = new Map(checkpoint.tensors);
    const info = tensors.get(gone)!;
    tensors.set(gone, { ...info, shape: info.shape.map((size) => size / 2) });
    refused({ ...checkpoint, tensors }, new RegExp(`'${gone}' is \\[.*, expected`));
  }
  const two = ["blk.1.attn_k.weight", "blk.3.nextn.enorm.weight"];
  refused(
    changed(checkpoint, (name) => !two.includes(name)),
    /blk\.1\.attn_k/,
    /blk\.3\.nextn\.enorm/,
  );
  for (const value of [4, 5, 4096, 2 ** 31])
    refused(
      changed(checkpoint, () => true, { "glm4moe.nextn_predict_layers": { type: "u32", value } }),
      /nextn_predict_layers/,
    );
  refused(
    changed(checkpoint, () => true, { "glm4moe.nextn_predict_layers": { type: "string", value: "1" } }),
    /nextn_predict_layers/,
  );
});

test("every family that has such blocks is tried", () => {
  const named = architectures.filter(({ hasPrograms }) => hasPrograms).map(({ name }) => name);
  assert.deepEqual(named.toSorted(), guessingFamilies.map(([arch]) => arch).toSorted());
});

for (const [arch, variant, count] of guessingFamilies)
  test(`${arch}: its blocks are bound to the last tensor and run, each with a state of its own`, { skip }, async () => {
    const description = describeModel(await openCheckpoint(await writeGuessingModel(folder, [arch, variant, count])));
    const names = Array.from({ length: count }, (_, i) => `mtp${i}`);
    assert.deepEqual([...description.programs.keys()], names);
    assert.deepEqual([description.unusedTensors, description.warnings], [[], []]);
    const seen: Float32Array[] = [];
    for (const program of names) {
      const { program: list } = description.programs.get(program)!;
      assert.equal(list.states.filter(({ kind }) => kind === "kv" || kind === "latent").length, 1);
      assert.ok(list.states.every(({ kind }) => kind !== "recurrent" && kind !== "rows"));
      const fast = await run(description, { ops: native(), program, inputs: hidden });
      const parted = await run(description, { ops: native(), program, inputs: hidden, chunk: 5 });
      assert.deepEqual(parted, fast);
      assert.ok(fast.every(Number.isFinite));
      const exact = await run(description, { ops: new ReferenceOps(), program, inputs: hidden });
      for (const [i, value] of fast.entries())
        assert.ok(Math.abs(value - exact[i]!) < 1e-2 * (1 + Math.abs(exact[i]!)));
      for (const other of seen) assert.notDeepEqual(other, fast);
      seen.push(fast);
    }
    // Rows go on as they are before the last norm where the family says so, from the trunk and from a block.
    const carried = arch === "step35" || arch === "mimo2";
    assert.equal(description.program.outputs.carried !== undefined, carried);
    if (!carried) return;
    for (const program of [undefined, "mtp0"]) {
      const own = { ops: native(), inputs: hidden, ...(program !== undefined && { program }) };
      const rows = await run(description, { ...own, of: "carried" });
      const normed = await run(description, { ...own, ops: native(), of: "hidden" });
      assert.ok(rows.every(Number.isFinite) && rows.some((value, i) => Math.abs(value - normed[i]!) > 1e-2));
    }
  });
