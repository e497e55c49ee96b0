/** Tests of what is made of a list of calls: stages, adapters, taps, other programs, outputs for sequences. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { openCheckpoint } from "../../src/containers/index.js";
import type { Adapter, AdapterPair, PairMatrix } from "../../src/formats/adapter.js";
import { dtypeByName } from "../../src/formats/index.js";
import {
  type BoundModel,
  bindDescription,
  describeModel,
  findArchitecture,
  type ModelOptions,
  withAdapters,
  withTaps,
} from "../../src/models/index.js";
import { addonStatus } from "../../src/native/addon.js";
import { createOps } from "../../src/ops/index.js";
import type { Backend, Ops } from "../../src/ops/ops.js";
import { ReferenceOps } from "../../src/ops/reference.js";
import { randomTokens } from "../support/evaluate.js";
import { randomModelVocab, writeRandomModel } from "../support/random-model.js";
import { findWords, wordsArchitectures } from "./architectures.js";

const status = addonStatus();
const skip = status.state === "loaded" ? false : `SKIPPED: ${status.reason}`;
const folder = mkdtempSync(join(tmpdir(), "hundredweight-lists-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const find = (name: string) => (name.startsWith("words-") ? findWords(name) : findArchitecture(name));
const native = (): Backend => createOps({ kind: "native", threads: 2 });

async function describe(arch: string, variant = "tiny", dtype = "Q8_0") {
  const path = join(folder, `${arch}-${dtype}.gguf`);
  const types = { attention: dtype, ffn: dtype, expert: dtype, embedding: dtype, head: dtype };
  await writeRandomModel(path, { arch, variant, dims: 64, types, seed: 9, find });
  return describeModel(await openCheckpoint(path), find);
}

type Description = Awaited<ReturnType<typeof describe>>;

function bind(description: Description, ops: Ops, more: Partial<ModelOptions> = {}): Promise<BoundModel> {
  const options = { contextTokens: 256, maxRows: 64, sequences: 3, kvType: "f16", maxLogitRows: 64 } as const;
  return bindDescription(description, ops, { ...options, ...more });
}

/** Rows of sequences, each from position 0; one page for each sequence in every pool. */
function table(model: BoundModel, ids: readonly (readonly number[])[]) {
  const flat = ids.flat();
  return {
    count: flat.length,
    ids: Int32Array.from(flat),
    positions: Int32Array.from(ids.flatMap((list) => list.map((_, i) => i))),
    sequences: Int32Array.from(ids.flatMap((list, s) => list.map(() => s))),
    blockTables: model.kvGroups.map(() => ids.map((_, s) => Int32Array.of(s))),
    tokens: ids.map((list) => Int32Array.from(list)),
    slots: Int32Array.from(ids.flatMap((_, s) => [-1, s, -1])),
  };
}

const everyRow = (count: number): Int32Array => Int32Array.from({ length: count }, (_, t) => t);

async function logitsOf(model: BoundModel, ids: readonly (readonly number[])[], inputs?: Record<string, Float32Array>) {
  const rows = table(model, ids);
  let out = new Float32Array();
  const hear = (logits: Float32Array): void => {
    out = logits.slice();
  };
  await model.forward(rows, everyRow(rows.count), hear, undefined, inputs === undefined ? {} : { inputs });
  return out;
}

const prompts = [randomTokens(17, randomModelVocab, 3), randomTokens(9, randomModelVocab, 5)];

/** Layers that read what another layer keeps or chose cannot be in different stages. */
const tiedTogether = ["words-sharing", "words-selected"];

for (const [arch, variant] of [
  ["llama", "dense"],
  ["gpt-oss", "moe"],
  ...wordsArchitectures.map(({ declaration }) => [declaration.name, "tiny"] as const),
] as const)
  test(`${arch}: stages over all layers are the whole pass, bit for bit`, { skip }, async () => {
    const description = await describe(arch, variant);
    if (tiedTogether.includes(arch)) {
      await assert.rejects(bind(description, native(), { stage: [1, 3] }), /another stage keeps/);
      return;
    }
    const whole = await bind(description, native());
    const expected = await logitsOf(whole, prompts);
    whole.close();
    const { layers } = description.config;
    let streams: Float32Array[] = [];
    for (const [from, to] of [
      [0, 1],
      ...(layers > 2 ? [[1, layers - 1] as const] : []),
      [layers - 1, layers],
    ] as const) {
      const stage = await bind(description, native(), { stage: [from, to] });
      const inputs = Object.fromEntries(streams.map((values, i) => [`stream${i}`, values]));
      if (to === layers) assert.deepEqual(await logitsOf(stage, prompts, inputs), expected);
      else {
        const onStreams = (left: Float32Array[]): void => {
          streams = left;
        };
        await stage.forward(table(stage, prompts), new Int32Array(), () => {}, undefined, { inputs, onStreams });
      }
      stage.close();
    }
  });

/** A matrix of f32 in a file of its own. */
function matrix(name: string, rows: number, cols: number, value: (i: number) => number): PairMatrix {
  const path = join(folder, `${name}.bin`);
  const values = Float32Array.from({ length: rows * cols }, (_, i) => value(i));
  writeFileSync(path, values);
  const extents = [{ file: path, offset: 0, bytes: values.byteLength }];
  return { name, layout: dtypeByName("F32")!, rows, cols, experts: 1, extents };
}

test("adapters of zeros change no bit; others change what the pair adds, in the rows they are for", {
  skip,
}, async () => {
  // Without quantized weights nothing is rounded but sums.
  const description = await describe("llama", "dense", "F32");
  const tensors = ["blk.0.attn_q.weight", "blk.1.ffn_down.weight", "blk.2.attn_output.weight", "token_embd.weight"];
  const shapeOf = (name: string) => description.tensors.find((tensor) => tensor.name === name)!.shape;
  const adapter = (size: number): Adapter => {
    const pairs = tensors.map((tensor, i): [string, AdapterPair] => {
      const [cols, rows] = shapeOf(tensor) as [number, number];
      const wave = (k: number): number => Math.fround(0.1 * Math.sin(k + i));
      const [a, b] = tensor.startsWith("token") ? [`t${i}-${size}`, cols] : [`a${i}-${size}`, rows];
      const low = tensor.startsWith("token") ? matrix(a, rows, 4, wave) : matrix(a, 4, cols, wave);
      return [tensor, { a: low, b: matrix(`b${i}-${size}`, b, 4, (k) => size * wave(3 * k)), scale: 0.5 }];
    });
    return { path: "an adapter", format: "gguf", architecture: "llama", pairs: new Map(pairs) };
  };
  const run = async (make: () => Ops, adapters: readonly Adapter[], scales: readonly number[][]) => {
    const model = await bind(withAdapters(description, adapters), make(), {});
    const rows = { ...table(model, prompts), adapters: scales };
    const logits: Float32Array[] = [];
    const wanted = Int32Array.from({ length: rows.count }, (_, t) => t);
    await model.forward(rows, wanted, (values) => logits.push(values.slice()));
    model.close();
    const all = Float32Array.from(logits.flatMap((slice) => [...slice]));
    const vocab = all.length / rows.count;
    return prompts.map((_, s) => {
      const of = [...rows.sequences.keys()].filter((t) => rows.sequences[t] === s);
      return all.slice(of[0]! * vocab, (of.at(-1)! + 1) * vocab);
    });
  };
  const plain = await run(native, [], []);
  const everywhere = prompts.map(() => [1]);
  assert.deepEqual(await run(native, [adapter(0)], everywhere), plain);
  const changed = await run(native, [adapter(1)], everywhere);
  const reference = await run(() => new ReferenceOps(), [adapter(1)], everywhere);
  const largest = (a: Float32Array, b: Float32Array) =>
    a.reduce((most, v, i) => Math.max(most, Math.abs(v - b[i]!)), 0);
  for (const [s, rows] of changed.entries()) {
    const difference = largest(rows, plain[s]!);
    assert.ok(difference > 100 * largest(rows, reference[s]!), `${difference} in ${s}`);
  }
  // For one prompt alone: the other's bits are those of the model without.
  assert.ok(prompts.length > 1);
  const one = await run(native, [adapter(1)], [[1], ...prompts.slice(1).map(() => [])]);
  assert.deepEqual(one, [changed[0], ...plain.slice(1)]);
});

test("taps hear what goes into products: the sums are those of the reference", { skip }, async () => {
  const description = await describe("llama", "moe", "F32");
  const sums = async (ops: Ops) => {
    const squares = new Map<string, Float64Array>();
    const chosen = new Map<string, number>();
    const model = await bind(description, ops, {
      rewrite: (program) =>
        withTaps(program, (tensors, rows, experts) => {
          for (const name of tensors) {
            const cols = description.tensors.find((tensor) => tensor.name === name)!.shape[0]!;
            const sum = squares.get(name) ?? new Float64Array(cols);
            for (const [i, v] of rows.entries()) sum[i % cols] = sum[i % cols]! + v * v;
            squares.set(name, sum);
            for (const id of experts?.ids ?? []) chosen.set(`${name} ${id}`, (chosen.get(`${name} ${id}`) ?? 0) + 1);
          }
        }),
    });
    const logits = await logitsOf(model, prompts);
    model.close();
    return { squares, chosen, logits };
  };
  const [exact, fast] = [await sums(new ReferenceOps()), await sums(native())];
  const plain = await bind(description, native());
  assert.deepEqual(fast.logits, await logitsOf(plain, prompts), "listening changes bits");
  plain.close();
  assert.deepEqual([...fast.squares.keys()], [...exact.squares.keys()]);
  assert.ok(fast.squares.has("blk.1.attn_q.weight") && fast.squares.has("blk.2.ffn_gate_exps.weight"));
  for (const [name, expected] of exact.squares)
    for (const [i, value] of fast.squares.get(name)!.entries())
      assert.ok(Math.abs(value - expected[i]!) <= 1e-3 * expected[i]! + 1e-6, `${name} column ${i}`);
  assert.deepEqual(fast.chosen, exact.chosen);
  const counted = [...fast.chosen]
    .filter(([key]) => key.startsWith("blk.0.ffn_gate_exps"))
    .reduce((n, [, c]) => n + c, 0);
  assert.equal(counted, 2 * prompts.flat().length, "two experts for each row");
});

test("an MTP program is fed with hidden rows, alone and beside the trunk: native agrees with the reference", {
  skip,
}, async () => {
  const description = await describe("words-mtp", "tiny", "F32");
  const hiddenOf = async (ops: Ops) => {
    const trunk = await bind(description, ops);
    const rows = table(trunk, prompts);
    let hidden = new Float32Array();
    const onHidden = (values: Float32Array): void => {
      hidden = values.slice();
    };
    await trunk.forward(rows, new Int32Array(), () => {}, { wanted: everyRow(rows.count), onHidden });
    trunk.close();
    return hidden;
  };
  const hidden = await hiddenOf(native());
  const draft = async (ops: Ops) => {
    const model = await bind(description, ops, { program: "mtp0" });
    const logits = await logitsOf(model, prompts, { hidden });
    model.close();
    return logits;
  };
  const [fast, exact] = [await draft(native()), await draft(new ReferenceOps())];
  for (const [i, value] of fast.entries()) assert.ok(Math.abs(value - exact[i]!) < 1e-2 * (1 + Math.abs(exact[i]!)));
  // Sequence 1 alone: the rows it is fed are its own.
  const alone = await bind(description, native(), { program: "mtp0" });
  const own = await logitsOf(alone, [prompts[1]!], { hidden: hidden.slice(17 * 64) });
  assert.deepEqual(own, fast.slice(17 * randomModelVocab));
  await assert.rejects(logitsOf(alone, [prompts[1]!], { hidden: hidden.slice(1) }), /values of 'hidden'/);
  alone.close();
  await assert.rejects(bind(description, native(), { program: "mtp7" }), /no program 'mtp7'/);

  // Both on one Ops: a weight that both use is there once, values share their memory, a pass has all states' tables.
  assert.equal(description.programs.get("mtp0")!.rows, "all");
  const ops = native();
  const both = await bind(description, ops, { programs: ["mtp0"] });
  const rows = table(both, prompts);
  for (let turn = 0; turn < 2; turn++) {
    let fed = new Float32Array();
    let logits = new Float32Array();
    const onHidden = (values: Float32Array): void => {
      fed = values.slice();
    };
    const onLogits = (values: Float32Array): void => {
      logits = values.slice();
    };
    await both.forward(rows, new Int32Array(), () => {}, { wanted: everyRow(rows.count), onHidden });
    const program = both.programs.get("mtp0")!;
    await program.forward(rows, everyRow(rows.count), onLogits, undefined, { inputs: { hidden: fed } });
    assert.deepEqual([fed, logits], [hidden, fast]);
  }
  const alike = async (program?: string): Promise<number> => {
    const own = native();
    const model = await bind(description, own, program === undefined ? {} : { program });
    const { activationBytes } = own.counters();
    model.close();
    return activationBytes;
  };
  const larger = Math.max(await alike(), await alike("mtp0"));
  assert.ok(ops.counters().activationBytes <= larger, "values of both lie in the same memory");
  // What a block keeps is the same where nothing else is made of its rows.
  const pagesOf = (): Uint8Array[] =>
    both.kvGroups.flatMap(({ pool }) =>
      Array.from({ length: pool.pages }, (_, page) => {
        const bytes = new Uint8Array(pool.pageBytes);
        ops.readUnit(pool, page, 0, bytes);
        return bytes;
      }),
    );
  const kept = pagesOf();
  const cleared = new Uint8Array(both.kvGroups[0]!.pool.pageBytes - both.kvGroups[0]!.firstBytes);
  assert.ok(cleared.length > 0);
  for (const { pool, firstBytes } of both.kvGroups)
    for (let page = 0; page < pool.pages; page++) ops.writeUnit(pool, page, firstBytes, cleared);
  assert.notDeepEqual(pagesOf(), kept);
  both.programs.get("mtp0")!.fill(rows, { hidden });
  assert.deepEqual(pagesOf(), kept);
  both.close();
  await assert.rejects(bind(description, native(), { programs: ["mtp7"] }), /no program 'mtp7'/);
});

test("an encoder gives a vector and scores for each sequence, the same alone and together", { skip }, async () => {
  const description = await describe("words-encoder", "tiny", "F32");
  const run = async (ops: Ops, ids: readonly (readonly number[])[]) => {
    const model = await bind(description, ops);
    const heard: Float32Array[] = [];
    const hear = (values: Float32Array): unknown => heard.push(values.slice());
    await model.forward(table(model, ids), new Int32Array(), () => {}, undefined, { onPooled: hear, onRank: hear });
    model.close();
    return heard as [Float32Array, Float32Array];
  };
  const [pooled, rank] = await run(native(), prompts);
  assert.deepEqual([pooled.length, rank.length], [2 * 64, 2 * 3]);
  const [pooledAlone, rankAlone] = await run(native(), [prompts[1]!]);
  assert.deepEqual(pooled.slice(64), pooledAlone);
  assert.deepEqual(rank.slice(3), rankAlone);
  const exact = await run(new ReferenceOps(), prompts);
  for (const [i, value] of rank.entries()) assert.ok(Math.abs(value - exact[1][i]!) < 1e-2 * (1 + Math.abs(value)));
});
