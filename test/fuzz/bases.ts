/**
 * The sound files that are damaged: small models of every architecture, every tensor type, every kind of tokenizer, a
 * split one.
 */
import { closeSync, openSync, readFileSync, readSync, rmSync } from "node:fs";
import { join } from "node:path";
import { dtypeOf, onlyExtent, openGguf, type TypedValue, writeGguf } from "../../src/formats/index.js";
import { architectures } from "../../src/models/index.js";
import { type RandomModelSpec, randomModelVocab, shallow, writeRandomModel } from "../support/random-model.js";
import { randomUnigram, randomWordPiece } from "../support/random-vocabulary.js";
import { readTokenizerGolden, vocabularyEntries } from "../support/tokenizer-golden.js";
import { type Layout, layoutOf } from "./layout.js";

export interface Base {
  readonly name: string;
  /** One file, or the shards of a split model. */
  readonly files: readonly Layout[];
}

const narrowTypes = ["Q4_0", "Q8_0", "Q5_0", "Q5_1", "MXFP4", "IQ4_NL", "BF16", "Q4_1", "F16", "F32"];
const wideTypes = ["Q4_K", "Q6_K", "Q2_K", "IQ4_XS", "Q3_K", "Q5_K"];

/** Written to `folder`, read back, removed. The same bytes every time. */
export async function makeBases(folder: string): Promise<Base[]> {
  const bases: Base[] = [];
  const path = join(folder, "base.gguf");
  const add = async (name: string, write: (path: string) => Promise<unknown>): Promise<void> => {
    await write(path);
    bases.push({ name, files: [layoutOf(Uint8Array.from(readFileSync(path)))] });
    rmSync(path);
  };
  const variants = architectures.flatMap(({ name, tiny }) => tiny.map(({ variant }) => ({ arch: name, variant })));
  for (const [i, { arch, variant }] of variants.entries()) {
    const type = narrowTypes[i % narrowTypes.length]!;
    const spec = {
      arch,
      variant,
      dims: 64 as const,
      types: allRoles(type),
      seed: 1,
      overrides: shallow(arch, variant),
    };
    await add(`${arch} ${variant} ${type}`, (p) => writeRandomModel(p, spec));
  }
  for (const type of [...wideTypes, ...narrowTypes.slice(variants.length)]) {
    const spec = { arch: "llama", variant: "dense", types: allRoles(type), seed: 2 };
    const dims = wideTypes.includes(type) ? 256 : 64;
    const overrides = { block_count: 1, feed_forward_length: dims };
    await add(`llama ${type}`, (p) => writeRandomModel(p, { ...spec, dims, overrides }));
  }
  const spm = { arch: "llama", variant: "moe", dims: 64, types: allRoles("Q5_0"), seed: 3 } as const;
  await add("llama moe, SentencePiece", (p) =>
    writeRandomModel(p, { ...spm, overrides: { block_count: 1 }, tokenizer: sentencePiece() }),
  );
  await add("vocabulary only", (p) => writeGguf(p, { metadata: sentencePiece(), tensors: [] }));
  for (const [kind, { entries }] of [
    ["word pieces", randomWordPiece(5)],
    ["unigram", randomUnigram(6, { byteTokens: true })],
  ] as const) {
    await add(`vocabulary only, ${kind}`, (p) => writeGguf(p, { metadata: [...entries], tensors: [] }));
  }
  bases.push(await splitModel(folder));
  return bases;
}

function allRoles(type: string): RandomModelSpec["types"] {
  return {
    attention: type,
    ffn: type,
    expert: type,
    embedding: "Q4_0",
    head: "Q8_0",
    ...(type.includes("K") && { embedding: type }),
  };
}

/** A SentencePiece vocabulary that fits the embedding. */
function sentencePiece(): [string, TypedValue][] {
  const golden = readTokenizerGolden().vocabularies.spm;
  const size = Math.min(golden.tokens.length, randomModelVocab);
  const cut = { ...golden, tokens: golden.tokens.slice(0, size), scores: golden.scores!.slice(0, size) };
  return [...vocabularyEntries(cut)];
}

async function splitModel(folder: string): Promise<Base> {
  const whole = join(folder, "whole.gguf");
  const overrides = { block_count: 1 };
  await writeRandomModel(whole, {
    arch: "qwen3",
    variant: "dense",
    dims: 64,
    types: allRoles("Q4_0"),
    seed: 4,
    overrides,
  });
  const checkpoint = openGguf(whole);
  const tensors = [...checkpoint.tensors.values()];
  const half = tensors.length >> 1;
  const fd = openSync(whole, "r");
  const files: Layout[] = [];
  for (const [no, part] of [tensors.slice(0, half), tensors.slice(half)].entries()) {
    const metadata: [string, TypedValue][] = [
      ...(no === 0 ? checkpoint.metadata.entries() : []),
      ["split.no", { type: "u16", value: no }],
      ["split.count", { type: "u16", value: 2 }],
      ["split.tensors.count", { type: "i32", value: tensors.length }],
    ];
    const path = join(folder, shardName(no));
    const sources = part.map(({ name, layout, shape, planes }) => {
      const extent = onlyExtent({ name, planes });
      const data = new Uint8Array(extent.bytes);
      readSync(fd, data, 0, data.length, extent.offset);
      return { name, dtype: dtypeOf(layout)!, shape, data };
    });
    await writeGguf(path, { metadata, tensors: sources });
    files.push(layoutOf(Uint8Array.from(readFileSync(path))));
    rmSync(path);
  }
  closeSync(fd);
  rmSync(whole);
  return { name: "qwen3 in two shards", files };
}

export const shardName = (no: number): string => `model-0000${no + 1}-of-00002.gguf`;
