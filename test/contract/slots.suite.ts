/** The contract of states that are replaced: recurrences, short convolutions, and going back into a pass. */
import assert from "node:assert/strict";
import type { Ops, RecurInputs, RowTable, SlotLayer, Tensor } from "../../src/ops/ops.js";
import { filled, near, randomValues, ulp } from "./fixture.js";

type WithOps = (title: string, body: (ops: Ops) => void | Promise<void>) => void;
type Matrix = Extract<SlotLayer, { readonly kind: "matrix" }>;

const tail = { kind: "tail", rows: 3, columns: 530 } as const;
const matrices: readonly Matrix[] = [
  // Qwen's delta net, Kimi's with a decay for each key, Mamba-2; values that are no whole vectors.
  { kind: "matrix", heads: 4, keys: 24, values: 70, keyHeads: 2, pairing: "tiled", decays: 1, correct: true },
  { kind: "matrix", heads: 3, keys: 40, values: 33, keyHeads: 3, pairing: "consecutive", decays: 40, correct: true },
  { kind: "matrix", heads: 6, keys: 16, values: 5, keyHeads: 2, pairing: "consecutive", decays: 1, correct: false },
];

/** Rows of a sequence in a pass, and where its state is read, written and its inputs kept. */
interface Part {
  readonly position: number;
  readonly rows: number;
  readonly places: readonly [from: number, to: number, keep: number];
}

function table(parts: readonly Part[]): RowTable {
  const of = (value: (part: Part, s: number, i: number) => number): Int32Array =>
    Int32Array.from(parts.flatMap((part, s) => Array.from({ length: part.rows }, (_, i) => value(part, s, i))));
  return {
    count: parts.reduce((sum, { rows }) => sum + rows, 0),
    ids: of(() => 0),
    positions: of(({ position }, _s, i) => position + i),
    sequences: of((_part, s) => s),
    blockTables: [],
    slots: Int32Array.from(parts.flatMap(({ places }) => places)),
  };
}

interface Numbers {
  readonly q: Float32Array;
  readonly k: Float32Array;
  readonly v: Float32Array;
  readonly decay: Float32Array;
  readonly beta: Float32Array;
}

function numbersFor({ heads, keys, values, keyHeads, decays }: Matrix, rows: number, seed: number): Numbers {
  const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
  return {
    q: randomValues(rows * keyHeads * keys, seed, 1 / Math.sqrt(keys)),
    k: randomValues(rows * keyHeads * keys, seed + 1, 1 / Math.sqrt(keys)),
    v: randomValues(rows * heads * values, seed + 2),
    decay: randomValues(rows * heads * decays, seed + 3, 2).map((x) => sigmoid(3 + x)),
    beta: randomValues(rows * heads, seed + 4).map(sigmoid),
  };
}

/** In doubles, as the formula stands. @shape [rows, heads * values] */
function expected(layer: Matrix, n: Numbers, rows: number, skip: Float32Array | null): Float64Array {
  const { heads, keys, values, keyHeads, pairing, decays, correct } = layer;
  const out = new Float64Array(rows * heads * values);
  for (let h = 0; h < heads; h++) {
    const kh = pairing === "tiled" ? h % keyHeads : Math.floor((h * keyHeads) / heads);
    for (let c = 0; c < values; c++) {
      const m = new Float64Array(keys);
      for (let t = 0; t < rows; t++) {
        const at = (t * keyHeads + kh) * keys;
        const v = n.v[(t * heads + h) * values + c]!;
        for (let i = 0; i < keys; i++) m[i]! *= n.decay[(t * heads + h) * decays + (decays === 1 ? 0 : i)]!;
        const read = m.reduce((sum, value, i) => sum + value * n.k[at + i]!, 0);
        const written = n.beta[t * heads + h]! * (correct ? v - read : v);
        for (let i = 0; i < keys; i++) m[i]! += n.k[at + i]! * written;
        const y = m.reduce((sum, value, i) => sum + value * n.q[at + i]!, 0);
        out[(t * heads + h) * values + c] = y + (skip?.[h] ?? 0) * v;
      }
    }
  }
  return out;
}

/** Marks of a row table. */
const marked = (rows: RowTable, ...marks: readonly number[]): RowTable => ({ ...rows, marks: Int32Array.from(marks) });

export function slotsSuite(withOps: WithOps): void {
  /** Values of rows [from, from + count) put into tensors. */
  const inputsOf = (ops: Ops, layer: Matrix, n: Numbers, from: number, count: number): RecurInputs => {
    const put = (values: Float32Array, cols: number): Tensor =>
      filled(ops, count, cols, values.slice(from * cols, (from + count) * cols));
    const { heads, keys, values, keyHeads, decays } = layer;
    return {
      q: put(n.q, keyHeads * keys),
      k: put(n.k, keyHeads * keys),
      v: put(n.v, heads * values),
      decay: put(n.decay, heads * decays),
      beta: put(n.beta, heads),
    };
  };

  withOps("recur: the formula, and the same bits however rows are cut into passes", async (ops) => {
    const pool = ops.slotPool({ layers: [tail, ...matrices], slots: 4, keeps: 0 });
    const rows = 20;
    for (const [i, layer] of matrices.entries()) {
      const n = numbersFor(layer, rows, 10 * i);
      const skip = i === 2 ? randomValues(layer.heads, 99) : null;
      const factors = skip && ops.vector(skip);
      const wanted = expected(layer, n, rows, skip);
      const cols = layer.heads * layer.values;
      const run = async (chunk: number): Promise<Float32Array> => {
        const all = new Float32Array(rows * cols);
        for (let from = 0, to = 0; from < rows; from += chunk, to = 1 - to) {
          const count = Math.min(chunk, rows - from);
          const places = [from === 0 ? -1 : 1 - to, to, -1] as const;
          ops.begin(table([{ position: from, rows: count, places }]));
          const out = ops.tensor(count, cols);
          ops.recur(out, inputsOf(ops, layer, n, from, count), pool, 1 + i, factors, count);
          all.set(await ops.read(out, count), from * cols);
        }
        return all;
      };
      const whole = await run(rows);
      // Rounding of the state adds up over rows.
      for (const [at, value] of whole.entries()) near(value, wanted[at]!, rows * layer.keys * ulp * 4, `layer ${i}`);
      for (const chunk of [1, 7]) assert.deepEqual(await run(chunk), whole, `layer ${i}, chunk ${chunk}`);
    }
  });

  withOps("recur: without strengths they are ones; sequences of a pass do not touch each other", async (ops) => {
    const [layer] = matrices as readonly [Matrix];
    const pool = ops.slotPool({ layers: [layer], slots: 6, keeps: 0 });
    const cols = layer.heads * layer.values;
    const [a, b] = [numbersFor(layer, 5, 50), numbersFor(layer, 3, 70)];
    const joined = Object.fromEntries(
      (["q", "k", "v", "decay", "beta"] as const).map((name) => [name, Float32Array.from([...a[name], ...b[name]])]),
    ) as unknown as Numbers;
    const alone = async (n: Numbers, rows: number, slot: number): Promise<Float32Array> => {
      ops.begin(table([{ position: 0, rows, places: [-1, slot, -1] }]));
      const out = ops.tensor(rows, cols);
      ops.recur(out, inputsOf(ops, layer, n, 0, rows), pool, 0, null, rows);
      return ops.read(out, rows);
    };
    const [first, second] = [await alone(a, 5, 0), await alone(b, 3, 1)];
    ops.begin(
      table([
        { position: 0, rows: 5, places: [-1, 2, -1] },
        { position: 0, rows: 3, places: [-1, 3, -1] },
      ]),
    );
    const out = ops.tensor(8, cols);
    ops.recur(out, inputsOf(ops, layer, joined, 0, 8), pool, 0, null, 8);
    assert.deepEqual(await ops.read(out, 8), Float32Array.from([...first, ...second]));
    const ones = { ...a, beta: a.beta.map(() => 1) };
    ops.begin(table([{ position: 0, rows: 5, places: [-1, 4, -1] }]));
    const plain = ops.tensor(5, cols);
    ops.recur(plain, { ...inputsOf(ops, layer, a, 0, 5), beta: null }, pool, 0, null, 5);
    assert.deepEqual(await ops.read(plain, 5), await alone(ones, 5, 5));
  });

  withOps("shortConv: the formula, and the same bits however rows are cut", async (ops) => {
    const pool = ops.slotPool({ layers: [tail], slots: 2, keeps: 0 });
    const [rows, cols, taps] = [11, tail.columns, tail.rows + 1];
    const [x, w, b] = [randomValues(rows * cols, 1), randomValues(taps * cols, 2), randomValues(cols, 3)];
    const [weight, bias] = [ops.vector(w), ops.vector(b)];
    const run = async (chunk: number): Promise<Float32Array> => {
      const all = new Float32Array(rows * cols);
      for (let from = 0, to = 0; from < rows; from += chunk, to = 1 - to) {
        const count = Math.min(chunk, rows - from);
        ops.begin(table([{ position: from, rows: count, places: [from === 0 ? -1 : 1 - to, to, -1] }]));
        const out = ops.tensor(count, cols);
        const input = filled(ops, count, cols, x.slice(from * cols, (from + count) * cols));
        ops.shortConv(out, input, pool, 0, weight, bias, count);
        all.set(await ops.read(out, count), from * cols);
      }
      return all;
    };
    const whole = await run(rows);
    for (let t = 0; t < rows; t++)
      for (let c = 0; c < cols; c++) {
        let [sum, size] = [b[c]!, Math.abs(b[c]!)];
        for (let i = 0; i < taps; i++) {
          const from = t - tail.rows + i;
          const product = from < 0 ? 0 : w[i * cols + c]! * x[from * cols + c]!;
          sum += product;
          size += Math.abs(product);
        }
        near(whole[t * cols + c]!, sum, taps * ulp * size + 1e-30, `row ${t}, column ${c}`);
      }
    for (const chunk of [1, 2, 5]) assert.deepEqual(await run(chunk), whole, `chunk ${chunk}`);
  });

  withOps("replay: what is left when drafts are refused has the bits of a pass without them", async (ops) => {
    const layers = [tail, ...matrices];
    const pool = ops.slotPool({ layers, slots: 6, keeps: 2 });
    const n = matrices.map((layer, i) => numbersFor(layer, 40, 10 * i));
    const x = randomValues(40 * tail.columns, 8);
    const weight = ops.vector(randomValues(4 * tail.columns, 9));
    /** One pass of all layers over rows [from, from + count). */
    const pass = async (
      from: number,
      count: number,
      places: Part["places"],
      ...marks: readonly number[]
    ): Promise<Float32Array[]> => {
      ops.begin(marked(table([{ position: from, rows: count, places }]), ...marks));
      const outs = matrices.map((layer, i) => {
        const out = ops.tensor(count, layer.heads * layer.values);
        ops.recur(out, inputsOf(ops, layer, n[i]!, from, count), pool, 1 + i, null, count);
        return out;
      });
      const convolved = ops.tensor(count, tail.columns);
      const input = filled(ops, count, tail.columns, x.slice(from * tail.columns, (from + count) * tail.columns));
      ops.shortConv(convolved, input, pool, 0, weight, null, count);
      return Promise.all([...outs, convolved].map(async (out) => (await ops.read(out, count)).slice()));
    };
    for (const [from, accepted] of [
      [0, 1],
      [0, 2],
      [4, 5],
      [1, 8],
    ] as const) {
      // Slots hold what was there before: it must not matter.
      if (from > 0) await pass(0, from, [-1, 0, -1]);
      const before = from === 0 ? -1 : 0;
      await pass(from, 8, [before, 1, 1]);
      ops.replay(pool, before, 2, 1, accepted);
      await pass(from, accepted, [before, 3, -1]);
      const replayed = await pass(from + accepted, 3, [2, 4, -1]);
      assert.deepEqual(replayed, await pass(from + accepted, 3, [3, 5, -1]), `${accepted} rows behind ${from}`);
    }
    // States after rows within a pass.
    await pass(0, 6, [-1, 0, -1], 0, 1, 3, 2);
    for (const [at, slot] of [
      [1, 1],
      [4, 2],
    ] as const) {
      const behind = await pass(at, 2, [slot, 3, -1]);
      await pass(0, at, [-1, 4, -1]);
      assert.deepEqual(behind, await pass(at, 2, [4, 5, -1]), `behind a mark after ${at} rows`);
    }
  });

  for (const overlap of [false, true])
    withOps(
      `compress${overlap ? ", blocks that overlap" : ""}: formula, passes, marks, refused drafts`,
      async (ops) => {
        const [every, columns, rows] = [5, 700, 33];
        const width = overlap ? 2 * columns : columns;
        const pool = ops.slotPool({ layers: [{ kind: "block", every, columns, overlap }], slots: 5, keeps: 1 });
        const [values, gates] = [randomValues(rows * width, 1), randomValues(rows * width, 2, 3)];
        const added = randomValues(every * width, 3);
        const positions = ops.vector(added);
        const pass = async (
          from: number,
          to: number,
          places: Part["places"],
          ...marks: readonly number[]
        ): Promise<Float32Array> => {
          ops.begin(marked(table([{ position: from, rows: to - from, places }]), ...marks));
          const [v, g] = [values, gates].map((all) =>
            filled(ops, to - from, width, all.slice(from * width, to * width)),
          );
          const out = ops.tensor(to - from, columns);
          ops.compress(out, v!, g!, pool, 0, positions, to - from);
          return (await ops.read(out, to - from)).slice();
        };
        const whole = await pass(0, rows, [-1, 0, -1]);
        for (let t = 0; t < rows; t++)
          for (let c = 0; c < columns; c++) {
            const own = Array.from(
              { length: every },
              (_, i) => [t - every + 1 + i, (overlap ? columns : 0) + c] as const,
            );
            const before = own.map(([row]) => [row - every, c] as const).filter(([row]) => overlap && row >= 0);
            const cells = (t + 1) % every === 0 ? [...before, ...own] : [];
            const scores = cells.map(([row, i]) => gates[row * width + i]! + added[(row % every) * width + i]!);
            const weights = scores.map((score) => Math.exp(score - Math.max(...scores)));
            const sum = weights.reduce((a, b) => a + b, 0);
            const want = cells.reduce((all, [row, i], j) => all + (weights[j]! / sum) * values[row * width + i]!, 0);
            near(whole[t * columns + c]!, want, 40 * ulp, `row ${t}, column ${c}`);
          }
        const rest = (from: number): Float32Array => whole.slice(from * columns);
        for (const cut of [1, 4, 5, 12]) {
          await pass(0, cut, [-1, 0, -1]);
          await pass(cut, cut + 3, [0, 1, -1]);
          assert.deepEqual(await pass(cut + 3, rows, [1, 2, -1]), rest(cut + 3), `cut at ${cut}`);
          // Of eleven rows three hold.
          await pass(cut, cut + 11, [0, 1, 0]);
          ops.replay(pool, 0, 2, 0, 3);
          assert.deepEqual(await pass(cut + 3, rows, [2, 3, -1]), rest(cut + 3), `refused behind ${cut}`);
        }
        await pass(0, 20, [-1, 0, -1], 6, 1, 14, 2);
        assert.deepEqual(await pass(7, rows, [1, 3, -1]), rest(7));
        assert.deepEqual(await pass(15, rows, [2, 3, -1]), rest(15));
        const narrow = ops.tensor(1, width - 1);
        assert.throws(() => ops.compress(narrow, narrow, narrow, pool, 0, null, 1));
      },
    );
}
