import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { openCheckpoint } from "../containers/index.js";
import { type ErrorCode, HundredweightError } from "../errors.js";
import {
  type Checkpoint,
  dtypeByName,
  PackedStrings,
  type TensorInfo,
  TypedMetadata,
  type TypedValue,
} from "../formats/index.js";
import { storedBytes } from "../formats/layouts.js";
import { ReferenceOps } from "../ops/reference.js";
import { makeTinyModel } from "../synth/tiny.js";
import { localName, storedTensors } from "./flow/tensors.js";
import { architectures, bindModel, describeModel } from "./index.js";

type Values = Map<string, TypedValue>;

/** The checkpoint with other metadata or tensors, as a damaged or hostile file would give. */
function changed(
  checkpoint: Checkpoint,
  metadata: (values: Values) => void,
  tensors: (map: Map<string, TensorInfo>) => void = () => {},
): Checkpoint {
  const values: Values = new Map((checkpoint.metadata as TypedMetadata).entries());
  const map = new Map(checkpoint.tensors);
  metadata(values);
  tensors(map);
  return { ...checkpoint, metadata: new TypedMetadata(values, checkpoint.path), tensors: map };
}

function rejects(checkpoint: Checkpoint, code: ErrorCode, ...parts: RegExp[]): void {
  assert.throws(
    () => describeModel(checkpoint),
    (error: unknown) => {
      assert.ok(error instanceof HundredweightError, String(error));
      assert.equal(error.code, code, error.message);
      for (const part of parts) assert.match(error.message, part);
      return true;
    },
  );
}

const u32 = (value: number): TypedValue => ({ type: "u32", value });
const f32 = (value: number): TypedValue => ({ type: "f32", value });

describe("models", () => {
  let folder = "";
  const files = new Map<string, Checkpoint>();
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "hundredweight-bind-"));
    for (const { name, tiny } of architectures)
      for (const { variant } of tiny) {
        const path = join(folder, `${name}-${variant}.gguf`);
        await makeTinyModel(path, name, { variant });
        files.set(`${name} ${variant}`, await openCheckpoint(path));
      }
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  test("rates of decay are below zero, in tiny models as in others: no state grows without bound", () => {
    let rates = 0;
    for (const [name, { path, tensors }] of files)
      for (const { name: tensor, planes } of tensors.values()) {
        if (localName(tensor) !== "ssm_a") continue;
        const declared = describeModel(files.get(name)!).tensors.find((one) => one.name === tensor)!.fill;
        // Those above zero are factors inside of a bound.
        const sign = declared.mean < 0 ? -1 : 1;
        assert.equal(declared.negative ?? false, sign < 0, `${name} ${tensor}`);
        for (const { offset, bytes } of Object.values(planes).flat()) {
          const values = new Float32Array(readFileSync(path).buffer.slice(offset, offset + bytes));
          assert.ok(
            values.every((value) => Math.sign(value) === sign),
            `${name} ${tensor}`,
          );
          rates += values.length;
        }
      }
    assert.ok(rates > 2000, `${rates} rates`);
  });

  test("every declaration describes its own tiny model, to the last tensor", () => {
    for (const [name, checkpoint] of files) {
      const model = describeModel(checkpoint);
      const [arch, variant] = name.split(" ");
      const tiny = architectures.find((a) => a.name === arch)!.tiny.find((t) => t.variant === variant)!;
      const spare = Object.keys(tiny.spare?.(64) ?? {});
      assert.deepEqual(model.unusedTensors, spare, name);
      const stored = new Set(model.tensors.flatMap(storedTensors).map((tensor) => tensor.name));
      const others = [...model.programs.values()].flatMap((other) => other.tensors.flatMap(storedTensors));
      const behind = [...new Set(others.map((tensor) => tensor.name))].filter((tensor) => !stored.has(tensor));
      assert.equal(stored.size + behind.length + spare.length, checkpoint.tensors.size, name);
      // What is read twice in a pass is counted twice.
      const twice = model.tensors.filter((tensor) => tensor.name.includes("_again")).map(({ info }) => info);
      const bytesOf = (infos: readonly TensorInfo[]): number =>
        infos.reduce((sum, info) => sum + storedBytes(info.planes), 0);
      const again = bytesOf(twice);
      const unread = bytesOf([...spare, ...behind].map((tensor) => checkpoint.tensors.get(tensor)!));
      const bytes = Object.values(model.weightBytes).reduce((a, b) => a + b, 0);
      assert.equal(bytes - again + unread, checkpoint.tensorBytes, name);
      assert.equal(model.weightBytes.embedding === 0, model.tied, "a tied embedding counts as head");
      // Layers may read what others keep, or keep what is replaced.
      assert.ok(model.states.length + model.slotLayers.length > 0 && model.states.length <= 3 * model.config.layers);
      assert.equal(model.program.layers.length, model.config.layers + 1);
    }
  });

  test("missing metadata is named, all of it at once", () => {
    for (const [name, checkpoint] of files) {
      const arch = name.split(" ")[0]!;
      const epsilons = ["attention.layer_norm_rms_epsilon", "attention.layer_norm_epsilon"];
      const has = (key: string): boolean => checkpoint.metadata.get(`${arch}.${key}`) !== undefined;
      const own = epsilons.filter(has);
      // Where a family has both kinds of norm the key says which, so either may be missed.
      const known = own.length > 1 || arch === "cohere2moe" ? [] : own;
      // Where no layer has attention nothing is said of heads.
      const heads = has("attention.head_count") ? ["attention.head_count"] : [];
      const keys = ["block_count", "embedding_length", ...heads, ...known];
      const damaged = changed(checkpoint, (values) => {
        for (const key of keys) values.delete(`${arch}.${key}`);
      });
      rejects(damaged, "MODEL_INVALID", ...keys.map((key) => new RegExp(`'${arch}\\.${key}' is missing`)));
    }
  });

  test("hostile metadata is refused before anything is sized by it", () => {
    const hostile: [string, TypedValue, RegExp][] = [
      ["attention.head_count", u32(0), /head_count' is 0/],
      ["attention.head_count_kv", u32(3), /4 heads cannot be shared among 3/],
      ["attention.head_count_kv", u32(0), /head_count_kv' is 0/],
      ["attention.key_length", u32(0), /key_length' is 0/],
      ["attention.key_length", u32(4294967295), /key_length' is 4294967295/],
      ["block_count", u32(1e9), /block_count' is 1000000000/],
      ["block_count", u32(4000), /block_count' is 4000 but the file has only/],
      ["embedding_length", u32(0), /embedding_length' is 0/],
      ["embedding_length", f32(2.5), /embedding_length' is 2.5/],
      ["embedding_length", { type: "u64", value: 2n ** 63n }, /embedding_length' is 9223372036854775808, expected/],
      ["embedding_length", { type: "string", value: "64" }, /embedding_length' is the text '64', expected/],
      ["embedding_length", { type: "bool", value: true }, /embedding_length' is the boolean true, expected/],
      ["rope.freq_base", { type: "string", value: "x".repeat(99) }, /freq_base' is the text 'x{40}\.\.\.', expected/],
      [
        "embedding_length",
        { type: "array", element: "string", value: ["64"] as never },
        /embedding_length' is an array of strings, expected/,
      ],
      [
        "embedding_length",
        { type: "array", element: "u64", value: BigUint64Array.from([2n ** 60n, 2n ** 60n]) },
        /embedding_length' is 1152921504606846976, expected/,
      ],
      ["attention.layer_norm_rms_epsilon", f32(Number.NaN), /rms_epsilon' is NaN/],
      ["attention.layer_norm_rms_epsilon", f32(-1), /rms_epsilon' is -1/],
      ["rope.freq_base", f32(0), /freq_base' is 0/],
      ["rope.dimension_count", u32(31), /RoPE over 31 values/],
      ["rope.scaling.type", { type: "string", value: "longrope" }, /longrope/],
      ["rope.scaling.type", u32(3), /rope.scaling.type/],
      ["expert_count", u32(1e6), /expert_count' is 1000000/],
      ["context_length", u32(0), /context_length' is 0/],
      [
        "feed_forward_length",
        { type: "array", element: "u32", value: Uint32Array.from([128, 128, 64]) },
        /differs between layers/,
      ],
    ];
    for (const [key, value, message] of hostile)
      rejects(
        changed(files.get("llama dense")!, (values) => values.set(`llama.${key}`, value)),
        "MODEL_INVALID",
        message,
      );
  });

  test("a per-layer array of equal values is a scalar", () => {
    const checkpoint = changed(files.get("llama dense")!, (values) =>
      values.set("llama.feed_forward_length", { type: "array", element: "u32", value: new Uint32Array(3).fill(128) }),
    );
    describeModel(checkpoint);
  });

  test("missing, misshapen and unexpected tensors are reported together", () => {
    const checkpoint = changed(
      files.get("qwen3 dense")!,
      () => {},
      (map) => {
        map.delete("blk.1.attn_k.weight");
        map.delete("output_norm.weight");
        map.set("blk.0.ffn_up.weight", { ...map.get("blk.0.ffn_up.weight")!, shape: [64, 64] });
        map.set("blk.2.attn_q_norm.weight", { ...map.get("blk.2.attn_q_norm.weight")!, shape: [32, 2] });
      },
    );
    rejects(
      checkpoint,
      "MODEL_INVALID",
      /'blk\.1\.attn_k\.weight' is missing/,
      /'output_norm\.weight' is missing/,
      /'blk\.0\.ffn_up\.weight' is \[64, 64\], expected \[64, 128\]/,
      /'blk\.2\.attn_q_norm\.weight' is \[32, 2\]/,
    );
    const extra = changed(
      files.get("qwen3 dense")!,
      () => {},
      (map) => map.set("blk.0.surprise.weight", { ...map.get("blk.0.ffn_up.weight")!, name: "blk.0.surprise.weight" }),
    );
    assert.deepEqual(describeModel(extra).unusedTensors, ["blk.0.surprise.weight"]);
    assert.match(describeModel(extra).warnings.join(), /surprise/);
  });

  test("unknown architectures, unknown types and parts that do not fit have errors of their own", () => {
    const base = files.get("llama dense")!;
    const named = (value: string) =>
      changed(base, (values) => values.set("general.architecture", { type: "string", value }));
    rejects(named("mamba"), "ARCHITECTURE_UNKNOWN", /'mamba'.*llama.*gpt-oss/);
    rejects(
      changed(base, (values) => values.delete("general.architecture")),
      "MODEL_INVALID",
      /general.architecture/,
    );
    const q8k = dtypeByName("Q8_K")!;
    const retyped = changed(
      base,
      () => {},
      (map) => map.set("output.weight", { ...map.get("output.weight")!, layout: q8k }),
    );
    rejects(retyped, "FORMAT_UNSUPPORTED", /'output.weight' has type Q8_K/);
    const nvfp4 = { ...base.tensors.get("output.weight")!, layout: dtypeByName("NVFP4")! };
    const withFactor = changed(
      base,
      () => {},
      (map) => map.set("output.weight", nvfp4).set("output.scale", map.get("output_norm.weight")!),
    );
    rejects(withFactor, "FORMAT_UNSUPPORTED", /'output.scale' is to be multiplied with 'output.weight'/);
    // Experts that are tensors of their own, as files from before they were stacked have them.
    const moe = files.get("llama moe")!;
    const apart = (count: number, last: Partial<TensorInfo> = {}) =>
      changed(
        moe,
        () => {},
        (map) => {
          const { layout, planes } = map.get("blk.1.ffn_up_exps.weight")!;
          map.delete("blk.1.ffn_up_exps.weight");
          const bytes = planes.blocks![0]!.bytes / 6;
          for (let e = 0; e < count; e++) {
            const name = `blk.1.ffn_up.${e}.weight`;
            const extent = { ...planes.blocks![0]!, bytes };
            const more = e === count - 1 ? last : {};
            map.set(name, { name, layout, shape: [64, 128], planes: { blocks: [extent] }, ...more });
          }
        },
      );
    assert.deepEqual(describeModel(apart(6)).unusedTensors, []);
    rejects(apart(4), "MODEL_INVALID", /'blk.1.ffn_up.4.weight' is missing/);
    rejects(
      apart(6, { shape: [64, 96] }),
      "MODEL_INVALID",
      /'blk.1.ffn_up.5.weight' is \[64, 96\], expected \[64, 128\]/,
    );
    const mixed = /'blk.1.ffn_up_exps.weight' is made of tensors of the types F32 and F16/;
    rejects(apart(6, { layout: dtypeByName("F16")! }), "FORMAT_UNSUPPORTED", mixed);
  });

  test("more tokens than embedding rows is an error, fewer is padding", () => {
    const withTokens = (count: number) =>
      changed(files.get("llama dense")!, (values) =>
        values.set("tokenizer.ggml.tokens", {
          type: "array",
          element: "string",
          value: PackedStrings.from(Array.from({ length: count }, (_, i) => `t${i}`)),
        }),
      );
    rejects(withTokens(10_000), "TOKENIZER_INVALID", /10000 tokens.*rows/);
    assert.ok(describeModel(withTokens(10)).config.vocab > 10);
  });

  test("KV groups follow the windows; a pass refuses ids and positions out of range", async () => {
    const ops = new ReferenceOps();
    const model = await bindModel(files.get("gpt-oss moe")!, ops, {
      contextTokens: 4096,
      maxRows: 64,
      sequences: 2,
      kvType: "f16",
      maxLogitRows: 1,
    });
    const groups = model.kvGroups.map(({ window, pool }) => [window, pool.layers, pool.pages]);
    // Windowed: 16 + 64 + 256 positions are two pages, and one for copies; full: 4096 are 16 pages, and one.
    assert.deepEqual(groups, [
      [16, 2, 6],
      [0, 2, 34],
    ]);
    const pass = (id: number, position: number) =>
      model.forward(
        {
          count: 1,
          ids: Int32Array.of(id),
          positions: Int32Array.of(position),
          sequences: Int32Array.of(0),
          blockTables: [[Int32Array.of(0)], [Int32Array.of(0)]],
        },
        Int32Array.of(0),
        () => {},
      );
    const code = (expected: ErrorCode) => (e: unknown) => e instanceof HundredweightError && e.code === expected;
    await assert.rejects(pass(model.config.vocab, 0), code("OPTION_INVALID"));
    await assert.rejects(pass(-1, 0), code("OPTION_INVALID"));
    await assert.rejects(pass(0, 4096), code("CONTEXT_EXCEEDED"));
    model.close();
    const bad = { contextTokens: 0, maxRows: 1, sequences: 1, kvType: "f16", maxLogitRows: 1 } as const;
    await assert.rejects(bindModel(files.get("llama dense")!, new ReferenceOps(), bad), code("OPTION_INVALID"));
  });

  test("the docs table names exactly the supported architectures", async () => {
    const { readFile } = await import("node:fs/promises");
    const { packageRoot } = await import("../package-root.js");
    const page = await readFile(join(packageRoot(), "docs/add-a-model.md"), "utf8");
    const rows = [...page.matchAll(/^\| `([^`]+)` +\|/gm)].map((match) => match[1]);
    assert.deepEqual(
      rows,
      architectures.map((a) => a.name),
    );
  });
});
