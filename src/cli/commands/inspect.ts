/**
 * `inspect MODEL`: what a model file says about itself. Works on any readable file, also a vocabulary without tensors.
 */
import type { Command } from "commander";
import { openCheckpoint } from "../../containers/index.js";
import {
  type Checkpoint,
  fileTypeName,
  storedBytes,
  type TensorInfo,
  type VerifyReport,
  verifyCheckpoint,
} from "../../formats/index.js";
import { modelFile } from "../../store/model-word.js";
import { columnsOf, cut } from "../terminal/columns.js";
import { withInterrupt } from "../terminal/interrupt.js";
import { printColoured, printJson, printText, standardOutput } from "../terminal/output.js";
import { printable } from "../terminal/printable.js";
import { Progress } from "../terminal/progress.js";
import { type Cell, type Column, type TableOptions, table } from "../terminal/table.js";

interface InspectOptions {
  readonly json?: boolean;
  readonly tensors?: boolean;
  readonly arrays?: boolean;
  readonly verify?: boolean;
  readonly progress?: boolean;
}

export function register(program: Command): void {
  program
    .command("inspect")
    .description("Show metadata, tensors and sizes of a model file.")
    .argument("<model>", "GGUF file, or any shard of a split one")
    .option("--json", "print one JSON document (always with all tensors)")
    .option("--tensors", "list every tensor")
    .option("--arrays", "print metadata arrays in full")
    .option("--verify", "read all of it and name blocks whose scales are not finite; exit code 1 when there are some")
    .option("--progress", "show progress of --verify also when stderr is no terminal")
    .action(async (model: string, options: InspectOptions) => {
      const checkpoint = await openCheckpoint(modelFile(model));
      const report = inspect(checkpoint, options.arrays === true);
      const verified = options.verify ? await verify(checkpoint, options.progress === true) : undefined;
      if (options.json) printJson({ ...report, ...(verified !== undefined && { verified }) });
      else if (verified === undefined) printColoured(describe(report, options.tensors === true, standardOutput()));
      else printText(`${verifiedText(verified)}\n`);
    });
}

type Verified = VerifyReport & { readonly seconds: number };

async function verify(checkpoint: Checkpoint, forced: boolean): Promise<Verified> {
  const progress = new Progress("verifying", { forced, bytes: true });
  const began = performance.now();
  try {
    const report = await withInterrupt((signal) =>
      verifyCheckpoint(checkpoint, {
        signal,
        onProgress: (done, total, bad) =>
          progress.update(done, total, { facts: bad === 0 ? [] : [`${bad} bad blocks`] }),
      }),
    );
    if (report.badBlocks > 0) process.exitCode = 1;
    return { ...report, seconds: (performance.now() - began) / 1000 };
  } finally {
    progress.end();
  }
}

const shownBlocks = 20;

function verifiedText({ tensors, bytes, badBlocks, bad, unchecked, seconds }: Verified): string {
  const rate = `${(bytes / 1e9 / Math.max(seconds, 1e-3)).toFixed(2)} GB/s`;
  const lines = [`${tensors} tensors, ${size(bytes)} read in ${seconds.toFixed(1)} s (${rate})`];
  if (unchecked.length > 0) lines.push(`not looked at: tensors of type ${unchecked.join(", ")}`);
  if (badBlocks === 0) return [...lines, "every scale is finite"].join("\n");
  lines.push(`${badBlocks} blocks are not finite; the file is damaged or was badly converted: get it again`);
  for (const block of bad.slice(0, shownBlocks)) {
    const expert = block.expert === undefined ? "" : `expert ${block.expert}, `;
    const where = `${expert}row ${block.row}, values from ${block.column}`;
    lines.push(
      `  ${printable(block.tensor)} (${block.dtype}): ${where}; byte ${block.offset} of ${printable(block.file)}`,
    );
  }
  if (badBlocks > shownBlocks) lines.push(`  and ${badBlocks - shownBlocks} more`);
  return lines.join("\n");
}

/** A metadata array that was cut. */
interface CutArray {
  readonly length: number;
  readonly first: readonly unknown[];
}

interface Total {
  tensors: number;
  parameters: number;
  bytes: number;
}

/** The JSON document. `null` where the file does not say. */
export interface InspectReport {
  readonly path: string;
  readonly format: string;
  readonly version: number | null;
  readonly architecture: string | null;
  readonly name: string | null;
  /** Name of general.file_type, e.g. Q4_K_M. */
  readonly fileType: string | null;
  readonly files: readonly { readonly path: string; readonly bytes: number }[];
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly tensors: readonly TensorRow[];
  readonly parameters: number;
  readonly tensorBytes: number;
  readonly bitsPerWeight: number | null;
  readonly dtypes: Readonly<Record<string, Readonly<Total>>>;
}

/** `offset` is absolute in `file`; of several planes that of the first. */
interface TensorRow {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: number;
  readonly offset: number;
  readonly file: string;
}

function row(tensor: TensorInfo): TensorRow {
  const { name, layout, shape, planes } = tensor;
  const { offset, file } = Object.values(planes)[0]![0]!;
  return { name, dtype: layout.name, shape, bytes: storedBytes(planes), offset, file };
}

/** Everything known from the file alone. */
export function inspect(checkpoint: Checkpoint, wholeArrays = false): InspectReport {
  const { metadata } = checkpoint;
  const tensors = [...checkpoint.tensors.values()];
  const dtypes: Record<string, Total> = {};
  let parameters = 0;
  for (const tensor of tensors) {
    const count = tensor.shape.reduce((product, size) => product * size, 1);
    dtypes[tensor.layout.name] ??= { tensors: 0, parameters: 0, bytes: 0 };
    const total = dtypes[tensor.layout.name]!;
    total.tensors++;
    total.parameters += count;
    total.bytes += storedBytes(tensor.planes);
    parameters += count;
  }
  // A wrongly typed key is shown under metadata like any other; a report must not fail over it.
  const text = (key: string) => asString(metadata.get(key));
  const fileType = metadata.get("general.file_type");
  return {
    path: checkpoint.path,
    format: checkpoint.format,
    version: checkpoint.formatVersion ?? null,
    architecture: text("general.architecture"),
    name: text("general.name"),
    fileType: (typeof fileType === "number" ? fileTypeName(fileType) : undefined) ?? null,
    files: checkpoint.files,
    metadata: Object.fromEntries([...metadata.keys()].map((key) => [key, plain(metadata.get(key), wholeArrays)])),
    tensors: tensors.map(row),
    parameters,
    tensorBytes: checkpoint.tensorBytes,
    bitsPerWeight: parameters === 0 ? null : (8 * checkpoint.tensorBytes) / parameters,
    dtypes,
  };
}

const asString = (value: unknown): string | null => (typeof value === "string" ? value : null);

const wholeBelow = 64;

/** A value as JSON can hold it: 64-bit integers beyond 2^53, NaN and infinities as text, long arrays cut. */
function plain(value: unknown, wholeArrays: boolean): unknown {
  if (typeof value === "bigint" || (typeof value === "number" && !Number.isFinite(value))) return String(value);
  if (typeof value !== "object" || value === null) return value;
  const array = value as ArrayLike<unknown>;
  const whole = wholeArrays || array.length <= wholeBelow;
  const kept = Array.from({ length: whole ? array.length : 8 }, (_, i) => plain(array[i], wholeArrays));
  return whole ? kept : ({ length: array.length, first: kept } satisfies CutArray);
}

function describe(report: InspectReport, listTensors: boolean, shape: TableOptions): string {
  const bits = report.bitsPerWeight === null ? "" : `, ${report.bitsPerWeight.toFixed(2)} bits per weight`;
  const files = report.files.length > 1 ? report.files : [];
  const facts: Cell[][] = [
    ["file", report.path],
    ...files.map((file) => ["", `${file.path} ${size(file.bytes)}`]),
    ["format", `${report.format}${report.version === null ? "" : ` version ${report.version}`}`],
    ["architecture", report.architecture ?? "not given"],
    ...(report.name === null ? [] : [["name", report.name]]),
    ...(report.fileType === null ? [] : [["file type", report.fileType]]),
    ["parameters", `${report.parameters.toLocaleString("en")}${bits}`],
    ["tensors", `${report.tensors.length}, ${size(report.tensorBytes)}`],
  ];
  const parts = [table([{ least: 12 }, {}], facts, shape)];
  const types = Object.entries(report.dtypes)
    .sort((a, b) => b[1].bytes - a[1].bytes)
    .map(([name, total]) => [
      name,
      ...[total.tensors, total.parameters, total.bytes].map((n) => n.toLocaleString("en")),
    ]);
  const numbers = ["tensors", "parameters", "bytes"].map((title): Column => ({ title, align: "right" }));
  if (types.length > 0) parts.push(table([{ title: "type" }, ...numbers], types, shape));
  const keys = Object.entries(report.metadata).map(([key, value]) => metadataLine(key, value, shape.edge));
  parts.push(`metadata\n${keys.join("")}`);
  if (listTensors) {
    const columns: Column[] = [
      { title: "offset", align: "right" },
      { title: "bytes", align: "right" },
      { title: "type" },
      { title: "shape" },
      { title: "name", cut: "end" },
    ];
    const rows = report.tensors.map((t) => [`${t.offset}`, `${t.bytes}`, t.dtype, `[${t.shape.join(", ")}]`, t.name]);
    parts.push(table(columns, rows, shape));
  }
  return parts.join("\n");
}

/** Columns of a value in files and pipes. */
const valueColumns = 160;
/** A long key leaves so much to its value. */
const leastColumns = 16;

/** A value loses its end at the edge, and a list still tells how long it is. */
function metadataLine(key: string, value: unknown, edge: number | undefined): string {
  const head = `  ${printable(key)} = `;
  const list = typeof value === "object" && value !== null && "first" in value ? (value as CutArray) : undefined;
  const tail = list === undefined ? "" : ` ${list.length.toLocaleString("en")} in all`;
  const text = printable(JSON.stringify(list === undefined ? value : list.first));
  const whole = list === undefined ? text : `${text} ...`;
  const room = edge === undefined ? valueColumns : edge - columnsOf(head) - columnsOf(tail);
  return `${head}${cut(whole, Math.max(leastColumns, room))}${tail}\n`;
}

function size(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`;
  const units = ["KiB", "MiB", "GiB", "TiB"];
  const power = Math.min(units.length, Math.floor(Math.log2(bytes) / 10));
  return `${(bytes / 2 ** (10 * power)).toFixed(2)} ${units[power - 1]}`;
}
