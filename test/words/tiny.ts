/** Makes tiny architectures for tests: a small llama, but for what each does otherwise. */
import {
  type Architecture,
  type Branch,
  type Declaration,
  defineArchitecture,
} from "../../src/models/flow/architecture.js";
import { type RopeConfig, readRope } from "../../src/models/flow/rope.js";
import { gatedFfn } from "../../src/models/parts/gated-ffn.js";
import { gqa } from "../../src/models/parts/gqa.js";
import {
  embedTokens,
  rms,
  type TransformerConfig,
  tinyTransformer,
  tokenHead,
  transformerConfig,
} from "../../src/models/parts/transformer.js";

export interface WordsArchitecture {
  readonly declaration: Declaration;
  readonly words: readonly string[];
  /** Rows see rows after them: a sequence has to be in one pass. */
  readonly whole?: boolean;
}

export interface TinyConfig extends TransformerConfig {
  readonly rope: RopeConfig;
}

/** The parts of an architecture that differ; the rest is a small llama. */
type Differences = Partial<Architecture<TinyConfig>> & Pick<Architecture<TinyConfig>, "name">;

export function tiny(words: readonly string[], differences: Differences, whole = false): WordsArchitecture {
  const declaration = defineArchitecture<TinyConfig>({
    families: "made for tests",
    config(m) {
      const common = transformerConfig(m);
      return { ...common, rope: readRope(m, common.headDim) };
    },
    begin: (f, c) => embedTokens(f, c),
    layer: (c) => [mixer(c), ffn(c)],
    end: (f, x, c) => tokenHead(f, x, c),
    tiny: [{ variant: "tiny", metadata: (dims) => ({ ...tinyTransformer(dims), block_count: 3 }) }],
    mechanisms: [],
    ...differences,
  });
  return { declaration, words, whole };
}

export const mixer = (c: TinyConfig, o: Partial<Parameters<typeof gqa>[0]> = {}): Branch => ({
  site: "mixer",
  before: rms("attn_norm", c),
  part: gqa({ ...c, ...o }),
});
export const ffn = (c: TinyConfig): Branch => ({
  site: "ffn",
  before: rms("ffn_norm", c),
  part: gatedFfn({ dim: c.dim, hidden: c.hidden, act: "silu" }),
});
