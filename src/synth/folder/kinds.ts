/**
 * Matrices as quantizers leave them, without quantizing anything: codes are random, and scales are such that the values
 * have the deviation asked for. Which tensors a module has is said in docs/formats.md.
 */
import type { SourceTensor } from "../../containers/stored/write-source.js";
import { fp4Values, fp8Values, nf4Values } from "../../formats/decode-planes.js";
import { toBf16, toF16, writeU16 } from "../../formats/float16.js";
import type { Pools } from "./pools.js";

/** A matrix to make. */
export interface Module {
  readonly name: string;
  readonly rows: number;
  readonly cols: number;
  readonly deviation: number;
}

type Make = (module: Module, pools: Pools) => SourceTensor[];

/** A way in which matrices are stored. */
export interface FolderKind {
  /** `quantization_config` of config.json. */
  readonly quantization?: Readonly<Record<string, unknown>>;
  readonly make: Make;
  /** Inputs that belong together: rows of other lengths stay BF16. */
  readonly group: number;
}

const product = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);
const elementBytes = { F32: 4, F16: 2, BF16: 2, I32: 4, I64: 8, I8: 1, U8: 1, F8_E4M3: 1, F8_E5M2: 1 } as const;
type Type = keyof typeof elementBytes;

/** A tensor of bytes from a pool. */
function drawn(pools: Pools, name: string, dtype: Type, shape: readonly number[], pool: Uint8Array): SourceTensor {
  const bytes = product(shape) * elementBytes[dtype];
  return { name, dtype, shape, bytes, data: () => pools.run(pool, name, bytes) };
}

/** A small tensor. */
function given(name: string, dtype: Type, shape: readonly number[], values: ArrayBufferView): SourceTensor {
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  return { name, dtype, shape, bytes: bytes.length, data: () => [bytes] };
}

const randomBytes = (pools: Pools, keep: (byte: number) => number = (byte) => byte, name = ""): Uint8Array =>
  pools.of(`bytes ${name}`, (out, words) => {
    for (let i = 0; i < out.length; i++) out[i] = keep(words() >>> 24);
  });

/** A code again and again, low bits first; of three bits, which run on over the ends of words. */
const sameCodes = (pools: Pools, bits: number, code: number): Uint8Array =>
  pools.of(`code ${code} of ${bits}`, (out) => {
    for (let at = 0; at < 8 * out.length; at++) out[at >> 3]! |= ((code >> (at % bits)) & 1) << (at & 7);
  });

/** Positive numbers around a mean, a quarter of it up and down. */
function scales(pools: Pools, dtype: "F32" | "F16" | "BF16", mean: number): Uint8Array {
  return pools.of(`scales ${dtype} ${mean}`, (out, words) => {
    const view = new DataView(out.buffer);
    for (let at = 0; at < out.length; at += elementBytes[dtype]) {
      const value = mean * (0.75 + words() / 2 ** 33);
      if (dtype === "F32") view.setFloat32(at, value, true);
      else writeU16(out, at, dtype === "F16" ? toF16(value) : toBf16(value));
    }
  });
}

/** Deviation of numbers that are met equally often. */
const spread = (values: ArrayLike<number>): number => {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i]! ** 2;
  return Math.sqrt(sum / values.length);
};
/** The same of codes of so many bits around their middle; scales add a little of their own. */
const codeSpread = (bits: number): number => spread(Array.from({ length: 2 ** bits }, (_, q) => q - 2 ** (bits - 1)));

/** Plain BF16, F16 or F32. */
export function plain(
  dtype: "BF16" | "F16" | "F32",
  { name, rows, cols, deviation }: Module,
  pools: Pools,
  mean = 0,
): SourceTensor {
  const pool = pools.of(`normal ${dtype} ${mean} ${deviation}`, (out, words) => {
    const view = new DataView(out.buffer);
    const uniform = () => (words() + 0.5) / 2 ** 32;
    for (let at = 0; at < out.length; at += elementBytes[dtype]) {
      const value = mean + deviation * Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
      if (dtype === "F32") view.setFloat32(at, value, true);
      else writeU16(out, at, dtype === "F16" ? toF16(value) : toBf16(value));
    }
  });
  return drawn(pools, `${name}.weight`, dtype, [rows, cols], pool);
}

function gptq(bits: 2 | 3 | 4 | 8, group: number, actOrder: boolean): FolderKind {
  const quantization = {
    ...{ quant_method: "gptq", bits, group_size: group, desc_act: actOrder, sym: true, checkpoint_format: "gptq" },
  };
  // Format 1 stores offsets less one; those of the middle.
  const zero = 2 ** (bits - 1) - 1;
  const make: Make = ({ name, rows, cols, deviation }, pools) => {
    const groups = cols / group;
    const index = Int32Array.from({ length: cols }, (_, i) =>
      actOrder ? (i * 7 + 3) % groups : Math.floor(i / group),
    );
    return [
      drawn(pools, `${name}.qweight`, "I32", [(cols * bits) / 32, rows], randomBytes(pools)),
      drawn(pools, `${name}.qzeros`, "I32", [groups, (rows * bits) / 32], sameCodes(pools, bits, zero)),
      drawn(pools, `${name}.scales`, "F16", [groups, rows], scales(pools, "F16", deviation / codeSpread(bits))),
      given(`${name}.g_idx`, "I32", [cols], index),
    ];
  };
  return { quantization, make, group };
}

const awq: FolderKind = {
  quantization: { quant_method: "awq", bits: 4, group_size: 128, version: "gemm", zero_point: true },
  group: 128,
  make: ({ name, rows, cols, deviation }, pools) => [
    drawn(pools, `${name}.qweight`, "I32", [cols, rows / 8], randomBytes(pools)),
    drawn(pools, `${name}.qzeros`, "I32", [cols / 128, rows / 8], sameCodes(pools, 4, 8)),
    drawn(pools, `${name}.scales`, "F16", [cols / 128, rows], scales(pools, "F16", deviation / codeSpread(4))),
  ],
};

function bnb(codes: "nf4" | "fp4", nested: boolean): FolderKind {
  const quantization = {
    ...{ quant_method: "bitsandbytes", load_in_4bit: true, bnb_4bit_quant_type: codes },
    ...{ bnb_4bit_use_double_quant: nested, bnb_4bit_compute_dtype: "bfloat16" },
  };
  const book = codes === "nf4" ? nf4Values : fp4Values;
  const make: Make = ({ name, rows, cols, deviation }, pools) => {
    const weight = `${name}.weight`;
    const blocks = Math.ceil((rows * cols) / 64);
    const mean = deviation / spread(book);
    const state: Record<string, unknown> = { quant_type: codes, blocksize: 64, dtype: "bfloat16", shape: [rows, cols] };
    if (nested) Object.assign(state, { nested_blocksize: 256, nested_dtype: "float32", nested_offset: mean });
    const json = new Uint8Array(Buffer.from(JSON.stringify(state)));
    const table = Float32Array.from({ length: 256 }, (_, i) => (i - 127.5) / 127.5);
    return [
      drawn(pools, weight, "U8", [(rows * cols) / 2, 1], randomBytes(pools)),
      nested
        ? drawn(pools, `${weight}.absmax`, "U8", [blocks], randomBytes(pools))
        : drawn(pools, `${weight}.absmax`, "F32", [blocks], scales(pools, "F32", mean)),
      given(`${weight}.quant_map`, "F32", [16], book),
      ...(nested
        ? [
            drawn(pools, `${weight}.nested_absmax`, "F32", [Math.ceil(blocks / 256)], scales(pools, "F32", mean / 4)),
            given(`${weight}.nested_quant_map`, "F32", [256], table),
          ]
        : []),
      given(`${weight}.quant_state.bitsandbytes__${codes}`, "U8", [json.length], json),
    ];
  };
  return { quantization, make, group: 2 };
}

const llmInt8: FolderKind = {
  quantization: { quant_method: "bitsandbytes", load_in_8bit: true },
  group: 32,
  make: ({ name, rows, cols, deviation }, pools) => [
    drawn(pools, `${name}.weight`, "I8", [rows, cols], randomBytes(pools)),
    drawn(pools, `${name}.SCB`, "F32", [rows], scales(pools, "F32", (127 * deviation) / codeSpread(8))),
    given(`${name}.weight_format`, "U8", [], Uint8Array.of(0)),
  ],
};

const groupConfig = (weights: object, format: string) => ({
  ...{ quant_method: "compressed-tensors", format, quantization_status: "compressed", ignore: ["lm_head"] },
  config_groups: { group_0: { targets: ["Linear"], weights } },
});

function packed(bits: 4 | 8, group: number): FolderKind {
  const strategy = group === 0 ? "channel" : "group";
  const weights = { num_bits: bits, type: "int", symmetric: true, strategy, group_size: group || null };
  const make: Make = ({ name, rows, cols, deviation }, pools) => [
    drawn(pools, `${name}.weight_packed`, "I32", [rows, (cols * bits) / 32], randomBytes(pools)),
    drawn(
      ...([pools, `${name}.weight_scale`, "BF16", [rows, group === 0 ? 1 : cols / group]] as const),
      scales(pools, "BF16", deviation / codeSpread(bits)),
    ),
    given(`${name}.weight_shape`, "I64", [2], BigInt64Array.of(BigInt(rows), BigInt(cols))),
  ];
  return { quantization: groupConfig(weights, "pack-quantized"), make, group: group || 32 };
}

const int8: FolderKind = {
  quantization: groupConfig({ num_bits: 8, type: "int", symmetric: true, strategy: "channel" }, "int-quantized"),
  group: 32,
  make: ({ name, rows, cols, deviation }, pools) => [
    drawn(pools, `${name}.weight`, "I8", [rows, cols], randomBytes(pools)),
    drawn(pools, `${name}.weight_scale`, "BF16", [rows, 1], scales(pools, "BF16", deviation / codeSpread(8))),
  ],
};

/** Codes of FP8 up to 2 in size: no NaNs, and none so large that it stands alone. */
function fp8(codes: "e4m3" | "e5m2", by: "row" | "block"): FolderKind {
  const table = fp8Values[codes];
  const keep = (byte: number) => (byte & 0x80) | ((byte & 0x7f) % 0x41);
  const size = spread(Array.from({ length: 256 }, (_, byte) => table[keep(byte)]!));
  const dtype = codes === "e4m3" ? "F8_E4M3" : "F8_E5M2";
  const quantization =
    by === "block"
      ? { quant_method: "fp8", activation_scheme: "dynamic", weight_block_size: [128, 128] }
      : groupConfig({ num_bits: 8, type: "float", symmetric: true, strategy: "channel" }, "float-quantized");
  const make: Make = ({ name, rows, cols, deviation }, pools) => {
    const values = drawn(pools, `${name}.weight`, dtype, [rows, cols], randomBytes(pools, keep, codes));
    const mean = deviation / size;
    const shape = [Math.ceil(rows / 128), Math.ceil(cols / 128)];
    return by === "block"
      ? [values, drawn(pools, `${name}.weight_scale_inv`, "F32", shape, scales(pools, "F32", mean))]
      : [values, drawn(pools, `${name}.weight_scale`, "BF16", [rows, 1], scales(pools, "BF16", mean))];
  };
  return { quantization, make, group: 1 };
}

const unquantized = (dtype: "BF16" | "F16" | "F32"): FolderKind => ({
  make: (module, pools) => [plain(dtype, module, pools)],
  group: 1,
});

/** By the name that `synth --folder` takes. */
export const folderKinds: Readonly<Record<string, FolderKind>> = {
  bf16: unquantized("BF16"),
  f16: unquantized("F16"),
  f32: unquantized("F32"),
  pytorch: unquantized("BF16"),
  gptq: gptq(4, 128, false),
  "gptq-act-order": gptq(4, 128, true),
  gptq2: gptq(2, 64, false),
  gptq3: gptq(3, 128, false),
  gptq8: gptq(8, 128, false),
  awq,
  nf4: bnb("nf4", false),
  "nf4-double": bnb("nf4", true),
  fp4: bnb("fp4", false),
  "llm-int8": llmInt8,
  int8,
  "packed-int4": packed(4, 128),
  "packed-int8": packed(8, 0),
  fp8: fp8("e4m3", "block"),
  "fp8-rows": fp8("e4m3", "row"),
  "fp8-e5m2": fp8("e5m2", "row"),
};
