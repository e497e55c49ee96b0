/** Adapters that PEFT made (scripts/fixtures/adapters.py), as folders and as GGUF files. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { dtypeByName, writeGguf } from "../../src/formats/index.js";
import { packageRoot } from "../../src/package-root.js";
import { type Entry, type Stored, safetensorsBytes, storedBytes, valuesOf } from "../huggingface/folder.js";

export type Which = "a" | "b" | "ab";

interface MadeAdapter {
  readonly config: Readonly<Record<string, unknown>>;
  /** [name, shape, scale] */
  readonly tensors: readonly (readonly [string, readonly number[], number])[];
}

export interface AdapterFixture {
  readonly made: string;
  readonly rows: readonly [count: number, width: number];
  readonly adapters: Readonly<Record<"a" | "b", MadeAdapter>>;
  /** Base64 of f32, of the last positions; with a cache of F16 as well. */
  readonly logits: Readonly<Record<Which, { readonly values: string; readonly rounded: string }>>;
}

const folder = join(packageRoot(), "test", "adapters", "fixtures");

export const adapterFixtures = (): string[] => readdirSync(folder).map((name) => name.replace(/\.json$/, ""));

export const readAdapterFixture = (name: string): AdapterFixture =>
  JSON.parse(readFileSync(join(folder, `${name}.json`), "utf8")) as AdapterFixture;

/** @shape [rows][width] */
export function expectedLogits(fixture: AdapterFixture, which: Which, kind: "values" | "rounded"): Float32Array[] {
  const [count, width] = fixture.rows;
  const bytes = Buffer.from(fixture.logits[which][kind], "base64");
  const all = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
  return Array.from({ length: count }, (_, i) => all.slice(i * width, (i + 1) * width));
}

export function peftEntries(fixture: AdapterFixture, which: "a" | "b", dtype: Stored = "F32"): Entry[] {
  return fixture.adapters[which].tensors.map(([name, shape, scale]) => {
    const count = shape.reduce((product, size) => product * size, 1);
    return { name, dtype, shape, bytes: storedBytes(valuesOf(`${which} ${name}`, count, 0, scale), dtype) };
  });
}

/** A folder of PEFT. */
export function writePeft(
  at: string,
  fixture: AdapterFixture,
  which: "a" | "b",
  { dtype = "F32", config = {}, entries }: { dtype?: Stored; config?: object; entries?: readonly Entry[] } = {},
): string {
  mkdirSync(at, { recursive: true });
  writeFileSync(join(at, "adapter_config.json"), JSON.stringify({ ...fixture.adapters[which].config, ...config }));
  const bytes = safetensorsBytes(entries ?? peftEntries(fixture, which, dtype));
  writeFileSync(join(at, "adapter_model.safetensors"), bytes);
  return at;
}

interface GgufHalf {
  readonly rows: number;
  readonly cols: number;
  /** 1 where none is given. */
  readonly experts?: number;
  readonly values: Float32Array;
}

/** A pair of a GGUF adapter, of f32. */
export interface GgufPair {
  /** `blk.0.attn_q.weight` */
  readonly name: string;
  /** [rank, cols] and [rows, rank], of each expert; of token_embd [tokens, rank] and [dim, rank]. */
  readonly a: GgufHalf;
  readonly b: GgufHalf;
}

/** As convert_lora_to_gguf.py of llama.cpp writes it. */
export async function writeGgufAdapter(
  path: string,
  arch: string,
  alpha: number,
  pairs: readonly GgufPair[],
  metadata: readonly [string, { type: "string"; value: string }][] = [],
): Promise<string> {
  const dtype = dtypeByName("F32")!;
  const text = (value: string) => ({ type: "string", value }) as const;
  await writeGguf(path, {
    metadata: new Map<string, { type: "string"; value: string } | { type: "f32"; value: number }>([
      ["general.type", text("adapter")],
      ["general.architecture", text(arch)],
      ["adapter.type", text("lora")],
      ["adapter.lora.alpha", { type: "f32", value: alpha }],
      ...metadata,
    ]),
    tensors: pairs.flatMap(({ name, a, b }) =>
      [a, b].map(({ rows, cols, experts = 1, values }, i) => ({
        name: `${name}.lora_${"ab"[i]}`,
        dtype,
        shape: experts === 1 ? [cols, rows] : [cols, rows, experts],
        data: new Uint8Array(values.buffer, values.byteOffset, values.byteLength),
      })),
    ),
  });
  return path;
}

/** An adapter for the first layers of a small GGUF model, that changes what it says. */
export async function demoAdapter(
  path: string,
  tensors: ReadonlyMap<string, { readonly shape: readonly number[] }>,
  seed: number,
): Promise<string> {
  const names = ["token_embd", "output", ...["attn_q", "attn_v", "ffn_down"].map((name) => `blk.0.${name}`)];
  const rank = 4;
  const pairs = names.flatMap((local): GgufPair[] => {
    const name = `${local}.weight`;
    const shape = tensors.get(name)?.shape;
    if (shape === undefined) return [];
    const [cols, rows] = shape as [number, number];
    const values = (what: string, count: number): Float32Array =>
      valuesOf(`${seed} ${what} ${name}`, count, 0, 1.5 / Math.sqrt(what === "a" ? cols : rank));
    const table = local === "token_embd";
    const a = table
      ? { rows: rows, cols: rank, values: values("a", rows * rank) }
      : { rows: rank, cols, values: values("a", rank * cols) };
    const out = table ? cols : rows;
    return [{ name, a, b: { rows: out, cols: rank, values: values("b", out * rank) } }];
  });
  return writeGgufAdapter(path, "llama", 2 * rank, pairs);
}
