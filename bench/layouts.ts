/**
 * Products with layouts of several planes beside Q4_K's and BF16's: seconds a byte of weights with one row,
 * operations a second with many. Matrices are random, pinned, and larger than any cache; layouts take turns, so that
 * what else the machine does meets all of them.
 *
 *   node dist/bench/layouts.js [--layouts GPTQ4_G128,AWQ4_G128] [--rows 1,4,16,512] [--mb 96] [--outputs 4096]
 *     [--cols 4096] [--turns 15] [--threads N] [--isa NAME] [--clock wall] [--folder DIR] [--json FILE]
 *
 * Ratios: of the time a byte to Q4_K's, and of the operations to those of Q4_K (integers) or BF16 (floats).
 */
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { median } from "../src/cli/reports/statistics.js";
import { dtypeByName } from "../src/formats/dtypes.js";
import { expertPlaneBytes, type Layout, slicesOf } from "../src/formats/layouts.js";
import {
  awqLayout,
  bnb4Layout,
  fp8Layout,
  gptqLayout,
  int8Layout,
  mxfp4Layout,
  packedLayout,
} from "../src/formats/plane-layouts.js";
import { addonStatus } from "../src/native/addon.js";
import { createOps } from "../src/ops/index.js";
import type { Backend, Matrix, Tensor } from "../src/ops/ops.js";
import { planeFiller } from "../test/support/plane-weights.js";
import { commaList, readArguments, saveJson } from "./support/program.js";

const known: readonly Layout[] = [
  dtypeByName("Q4_K")!,
  dtypeByName("BF16")!,
  gptqLayout({ bits: 4, group: 128, format: 1 }),
  gptqLayout({ bits: 4, group: 128, format: 1, actOrder: true }),
  gptqLayout({ bits: 2, group: 128, format: 1 }),
  gptqLayout({ bits: 3, group: 128, format: 1 }),
  gptqLayout({ bits: 8, group: 128, format: 1 }),
  awqLayout(128),
  packedLayout({ bits: 4, group: 128, symmetric: true, scales: "bf16" }),
  packedLayout({ bits: 8, group: 128, symmetric: true, scales: "bf16" }),
  int8Layout("f32"),
  mxfp4Layout,
  fp8Layout({ codes: "e4m3", by: [128, 128], scales: "f32" }),
  fp8Layout({ codes: "e4m3", by: "row", scales: "f32" }),
  fp8Layout({ codes: "e5m2", by: "row", scales: "f32" }),
  bnb4Layout({ codes: "nf4", block: 64, across: false }),
  bnb4Layout({ codes: "nf4", block: 64, across: false, nestedOffset: Math.fround(0.02) }),
];

const { values } = readArguments(
  "layouts [--layouts GPTQ4_G128] [--rows 1,4,16,512]",
  {
    layouts: { type: "string", default: "" },
    rows: { type: "string", default: "1,4,16,512" },
    mb: { type: "string", default: "96" },
    outputs: { type: "string", default: "4096" },
    cols: { type: "string", default: "4096" },
    turns: { type: "string", default: "15" },
    threads: { type: "string", default: String(availableParallelism()) },
    isa: { type: "string" },
    clock: { type: "string", default: "wall" },
    folder: { type: "string", default: tmpdir() },
    json: { type: "string" },
  },
  0,
);

const [outputs, cols, turns, threads] = [values.outputs, values.cols, values.turns, values.threads].map(Number) as [
  number,
  number,
  number,
  number,
];
const counts = commaList(values.rows).map(Number);
const names = new Set(["Q4_K", "BF16", ...commaList(values.layouts)]);
const layouts = values.layouts === "" ? known : known.filter(({ name }) => names.has(name));

interface Subject {
  readonly layout: Layout;
  readonly ops: Backend;
  readonly matrices: readonly Matrix[];
  readonly x: Tensor;
  readonly out: Tensor;
  readonly bytes: number;
}

/** Random bytes take long: a mebibyte of them, over and over. */
function repeated(fill: ReturnType<typeof planeFiller>, plane: number, bytes: number, name: string): Uint8Array {
  if (name === "index" || bytes <= 2 ** 20) return fill(plane, bytes);
  const [piece, out] = [fill(plane, 2 ** 20), new Uint8Array(bytes)];
  for (let at = 0; at < bytes; at += piece.length) out.set(piece.subarray(0, bytes - at), at);
  return out;
}

/** As many matrices as make `mb`: a model has many of them, none of which a cache holds. */
async function open(layout: Layout, folder: string): Promise<Subject> {
  const slices = slicesOf(layout, outputs, cols);
  const each = slices.count * slices.bytes + slices.wholeBytes;
  const count = Math.max(1, Math.round((Number(values.mb) * 2 ** 20) / each));
  const fill = planeFiller(layout, cols, 7);
  const sources = Array.from({ length: count }, (_, m) => {
    const planes = Object.fromEntries(
      layout.planes.map(({ name }, p) => {
        const file = join(folder, `${layout.name} ${m} ${name}`);
        const bytes = repeated(fill, p, expertPlaneBytes(slices, p), name);
        const fd = openSync(file, "w");
        writeSync(fd, bytes);
        closeSync(fd);
        return [name, [{ file, offset: 0, bytes: bytes.length }]];
      }),
    );
    return { name: `${layout.name} ${m}`, layout, rows: outputs, cols, experts: 1, planes };
  });
  const pinned = new Map(sources.map(({ name }) => [name, slices.count]));
  const ops = createOps({
    kind: "native",
    threads,
    ...(values.isa === undefined ? {} : { isa: values.isa }),
    placement: { io: "buffered", pinned, packed: true, tiles: [], ringBytes: 0, experts: undefined, lock: false },
  });
  const matrices = sources.map((source) => ops.matrix(source));
  const most = Math.max(...counts);
  const [x, out] = [ops.tensor(most, cols), ops.tensor(most, outputs)];
  let seed = 1;
  ops.write(
    x,
    Float32Array.from({ length: most * cols }, () => {
      seed = (Math.imul(seed, 1664525) + 1013904223) | 0;
      return seed / 2 ** 31;
    }),
  );
  await ops.seal();
  return { layout, ops, matrices, x, out, bytes: each * count };
}

/** Seconds of one product with each matrix, or with one of them where there are many rows. */
function seconds({ ops, matrices, x, out }: Subject, n: number): { seconds: number; matrices: number } {
  const used = n > 32 ? matrices.slice(0, 1) : matrices;
  const start = now();
  for (const weight of used) ops.matmul([{ out, weight, bias: null, add: false }], x, n);
  return { seconds: now() - start, matrices: used.length };
}

/** Seconds; with one thread on a busy machine `--clock processor` counts what the products alone took. */
function now(): number {
  if (values.clock === "wall") return performance.now() / 1000;
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

const status = addonStatus();
if (status.state !== "loaded") throw new Error(`no addon: ${status.reason}`);
const folder = mkdtempSync(join(values.folder, "hundredweight-layouts-"));
const results: object[] = [];
try {
  const subjects: Subject[] = [];
  for (const layout of layouts) subjects.push(await open(layout, folder));
  rmSync(folder, { recursive: true });
  for (const n of counts) {
    const times = new Map(subjects.map(({ layout }) => [layout.name, [] as number[]]));
    for (let turn = -1; turn < turns; turn++)
      for (const subject of subjects) {
        const took = seconds(subject, n);
        if (turn >= 0) times.get(subject.layout.name)!.push(took.seconds / took.matrices);
      }
    const bytesEach = ({ bytes, matrices }: Subject) => bytes / matrices.length;
    const perByte = (s: Subject) => median(times.get(s.layout.name)!) / bytesEach(s);
    const each = (s: Subject) => median(times.get(s.layout.name)!);
    const [q4k, bf16] = ["Q4_K", "BF16"].map((name) => subjects.find(({ layout }) => layout.name === name)!) as [
      Subject,
      Subject,
    ];
    for (const subject of subjects) {
      const { name, acts } = subject.layout;
      const gops = (2 * outputs * cols * n) / each(subject) / 1e9;
      const beside = acts === "f32" ? bf16 : q4k;
      const row = {
        layout: name,
        rows: n,
        gigabytesPerSecond: 1e-9 / perByte(subject),
        gops,
        timeAByteToQ4K: perByte(subject) / perByte(q4k),
        operationsTo: beside.layout.name,
        operationsRatio: each(beside) / each(subject),
      };
      results.push(row);
      console.log(
        `${name.padEnd(28)} ${String(n).padStart(4)} rows  ${row.gigabytesPerSecond.toFixed(1).padStart(6)} GB/s  ` +
          `${gops.toFixed(0).padStart(5)} GOP/s  time a byte ${row.timeAByteToQ4K.toFixed(2)} of Q4_K, ` +
          `operations ${row.operationsRatio.toFixed(2)} of ${row.operationsTo}`,
      );
    }
  }
  for (const { ops } of subjects) ops.close();
} finally {
  rmSync(folder, { recursive: true, force: true });
}
if (values.json !== undefined)
  saveJson(values.json, { isa: values.isa ?? status.isas?.at(-1), threads, outputs, cols, results });
