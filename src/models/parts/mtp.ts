/**
 * Blocks behind the trunk that guess further tokens, each a program of its own. Its row at position p + 1 reads the
 * token there and what the trunk, or the guess before, made of position p; its logits are of position p + 2. No row is
 * before a sequence's first: whoever runs the block gives zeros there, for attention reads every position.
 * @source DeepSeek-AI 2024, "DeepSeek-V3 Technical Report"; how files have it: llama.cpp, src/models
 */
import type { ModelConfig, ProgramSpec } from "../flow/architecture.js";
import type { Flow, Part } from "../flow/flow.js";
import type { MetadataReader } from "../flow/metadata-reader.js";
import { plain } from "../flow/residual.js";
import { layerPrefix } from "../flow/tensors.js";
import { type HeadOptions, rms, tokenHead } from "./transformer.js";

/** The part of a family's configuration that speaks of them. */
export interface MtpConfig extends ModelConfig {
  readonly eps: number;
  /** Numbers of the blocks that the file has; none where it has the trunk alone. */
  readonly mtp: readonly number[];
}

export interface MtpOptions<C> {
  /** Norms of the family where they are not RMSNorm. */
  readonly norm?: (name: string, config: C, tinySize?: number) => Part;
  /** Rows go on as they are before the last norm, from the trunk as well. */
  readonly carried?: boolean;
  readonly head?: Pick<HeadOptions, "scale">;
}

/**
 * Which of the blocks that metadata counts are in the file: it may hold the trunk alone and count them all the same. A
 * block of which anything is there has to be whole.
 */
export function mtpBlocks(m: MetadataReader, layers: number): number[] {
  const count = m.uint("nextn_predict_layers", { min: 0, max: 4096, default: 0 });
  const blocks = Array.from({ length: count }, (_, i) => layers + i);
  return blocks.filter((i) => m.hasBlock(i));
}

/** Blocks of which arrays in metadata have to speak: the trunk's and those behind it that the file has. */
export const blocksOf = (layers: number, mtp: readonly number[]): number => (mtp.at(-1) ?? layers - 1) + 1;

/**
 * `programs` of an architecture: `mtp0`, `mtp1` and so on, by the place behind the trunk. `layer` is the trunk's, which
 * a block is made like unless the family says otherwise.
 */
export const mtpPrograms = <C extends MtpConfig>(
  c: C,
  layer: ProgramSpec["layer"],
  o: MtpOptions<C> = {},
): Record<string, ProgramSpec> => Object.fromEntries(c.mtp.map((i) => [`mtp${i - c.layers}`, block(c, i, layer, o)]));

function block<C extends MtpConfig>(c: C, i: number, layer: ProgramSpec["layer"], o: MtpOptions<C>): ProgramSpec {
  const local = (name: string): string => layerPrefix(i) + name;
  const norm = o.norm ?? ((name: string, { dim, eps }: C, size?: number) => rms(name, { dim, eps }, size));
  return {
    layers: [i],
    begin(f) {
      const own = local("nextn.embed_tokens");
      const table = f.has(`${own}.weight`) ? own : "token_embd";
      const token = f.lookup(f.matrix(table, c.dim, c.vocab, "embedding", { gain: Math.sqrt(c.dim) }));
      const joined = f.join(
        norm(local("nextn.enorm"), c)(f, token),
        norm(local("nextn.hnorm"), c)(f, f.input("hidden", c.dim)),
      );
      return plain(f.linear(joined, f.matrix(local("nextn.eh_proj"), 2 * c.dim, c.dim, "ffn"))[0]!);
    },
    layer,
    end: (f, x) =>
      tokenHead(f, x, c, {
        ...o.head,
        norm: (size) => norm(lastNorm(f, local), c, size),
        own: local("nextn.shared_head_head"),
        carried: o.carried ?? false,
      }),
  };
}

/** Converters have two names for it; without either it is the trunk's. */
const lastNorm = (f: Flow, local: (name: string) => string): string =>
  [local("nextn.shared_head_norm"), local("layer_output_norm")].find((name) => f.has(`${name}.weight`)) ??
  "output_norm";

/** `shapes` of a tiny model whose block of this number guesses: the tensor by which it is known to be there. */
export const tinyMtp =
  (block: number) =>
  (dims: 64 | 256): Readonly<Record<string, readonly number[]>> => ({
    [`${layerPrefix(block)}nextn.eh_proj.weight`]: [2 * dims, dims],
  });
