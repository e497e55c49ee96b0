/**
 * Qwen3.8-Flash-Next: the layers of Qwen3.5 with experts between four residual streams; attention sees blocks of
 * positions that an indexer chooses; a table of n-grams joins the streams before one layer. A block that guesses the
 * next token but one is left out. Where rows before a query do not fill whole blocks llama.cpp lets it see up to three
 * positions of one block more; here it sees whole blocks, as the model was trained.
 * @source Qwen Team 2026, "Qwen3.8-Flash-Next"
 */

import { defineArchitecture } from "../flow/architecture.js";
import type { Flow, Selection, Value } from "../flow/flow.js";
import type { MetadataReader } from "../flow/metadata-reader.js";
import { gated, wholeSite } from "../flow/residual.js";
import { deltaNet } from "../parts/delta-net.js";
import { checkSections, deltaNetMechanisms } from "../parts/gated-hybrid.js";
import { gatedHybridExperts, gatedHybridMoeConfig, tinyGatedHybridMoe } from "../parts/gated-hybrid-moe.js";
import { gqa } from "../parts/gqa.js";
import { indexerConfig } from "../parts/indexer.js";
import { nGramConfig, nGrams, shareNGrams, tableRows } from "../parts/n-grams.js";
import { embedTokens, tokenHead, unnormed } from "../parts/transformer.js";
import { tinySections } from "./qwen35.js";

function config(m: MetadataReader) {
  const common = gatedHybridMoeConfig(m);
  checkSections(m, common.rope);
  const grams = nGramConfig(m, common.layers);
  if (grams !== undefined && !common.recurrent(grams.layer))
    m.fault(`'${m.arch}.ple.layers': layer ${grams.layer} is not a recurrent one`);
  const indexer = indexerConfig(m, common.rope);
  const every = m.uints("attention.compress_ratios", common.layers, { min: 0, max: 64, default: 0 });
  for (const size of every)
    if (size > 0 && (indexer.topK % size !== 0 || indexer.topK < size))
      m.fault(`${indexer.topK} positions of blocks of ${size}`);
  const table = m.rowsOf("per_layer_token_embd.weight");
  const rows = grams === undefined ? 0 : (table ?? tableRows(grams));
  if (grams !== undefined && rows < tableRows(grams))
    m.fault(`'per_layer_token_embd.weight' has ${rows} rows, its heads name ${tableRows(grams)}`);
  return {
    ...common,
    grams,
    tableRows: rows,
    indexer,
    every,
    streams: m.uint("hyper_connection.count", { min: 2, max: 16 }),
    rank: m.uint("hyper_connection.low_rank", { max: 2 ** 16 }),
  };
}
type Config = ReturnType<typeof config>;

/** The blocks of positions whose mean index key fits best, and the positions behind the last whole block. */
const choose = (c: Config, every: number) =>
  every === 0
    ? undefined
    : (f: Flow, x: Value): Selection => {
        const { heads, width, topK, rope } = c.indexer;
        const [q, k] = f.linear(
          x,
          f.matrix("indexer.q_proj", c.dim, heads * width, "attention"),
          f.matrix("indexer.k_proj", c.dim, width, "attention"),
        );
        const normed = (y: Value, name: string) => f.headNorm(y, f.vector(name, width, "norm"), c.eps);
        // Gates that are all alike make means.
        const mean = f.compress(k!, f.scale(k!, 0), { every, name: "index block" });
        const turned = f.rope(normed(mean, "indexer.k_norm"), width, rope, null, every - 1);
        const keys = f.keep("rows", { name: "index", row: turned, every });
        const query = f.rope(normed(q!, "indexer.q_norm"), width, rope);
        return f.select(query, null, keys, topK / every, { positions: true });
      };

export const qwen4exp = defineArchitecture({
  name: "qwen4exp",
  families: "Qwen3.8-Flash-Next 125B-A6B",
  config,
  begin(f, c) {
    const x = embedTokens(f, c).streams[0]!;
    if (c.grams !== undefined) shareNGrams(f, c.grams, c.tableRows);
    return gated(f, x, c);
  },
  layer(c, i) {
    const net = deltaNet({ ...c, ...c.net, pairing: "tiled", gateAct: "sigmoid" });
    const attention = gqa({ ...c, qkNorm: "head", gate: "query", choose: choose(c, c.every[i]!) });
    const grams =
      c.grams?.layer === i ? [{ site: wholeSite, before: unnormed, part: nGrams({ ...c, ...c.grams }) }] : [];
    return [
      ...grams,
      { site: "attn", before: unnormed, part: c.recurrent(i) ? net : attention },
      { site: "ffn", before: unnormed, part: gatedHybridExperts(c) },
    ];
  },
  end: (f, x, c) => wideHead(f, x, c),
  mechanisms: [
    "rope",
    "rope-dims",
    "attention-norm",
    "gate",
    ...deltaNetMechanisms,
    "selection",
    "streams",
    "n-grams",
    "router-norm",
    "shared-expert",
  ],
  tiny: [
    {
      variant: "moe",
      metadata: (dims) => tiny(dims, 128),
      lacks: ["selection"],
      shallow: { "attention.compress_ratios": [0, 4] },
    },
    {
      // From the twentieth position on rows see four blocks of four, in the last layer alone: what differs from
      // llama.cpp goes no further than its own row.
      variant: "chosen",
      metadata: (dims) => ({ ...tiny(dims, 16), "attention.compress_ratios": [0, 0, 0, 4] }),
      shallow: { "attention.compress_ratios": [0, 4] },
      promptTokens: 64,
      spare: (dims) => indexerOf(dims),
      comparable: (position) => position < 19 || position % 4 === 2,
    },
  ],
});

/** An indexer that nobody asks, as files have it in layers that see everything. */
const indexerOf = (dims: 64 | 256) => ({
  "blk.1.indexer.q_proj.weight": [dims, 4 * 32],
  "blk.1.indexer.k_proj.weight": [dims, 32],
  "blk.1.indexer.q_norm.weight": [32],
  "blk.1.indexer.k_norm.weight": [32],
});

/** The last mixture of the streams is the norm of the head. */
const wideHead: typeof tokenHead = (f, x, c) => tokenHead(f, x, c, { norm: () => unnormed });

const tiny = (dims: 64 | 256, topK: number) => ({
  ...tinyGatedHybridMoe(dims),
  ...tinySections,
  "hyper_connection.count": 4,
  "hyper_connection.low_rank": 32,
  "attention.indexer.head_count": 4,
  "attention.indexer.key_length": 32,
  "attention.indexer.top_k": topK,
  "attention.compress_ratios": [0, 4, 0, 4],
  embedding_length_per_layer_input: 16,
  "ple.layers": [0],
  "ple.ngram_size": 3,
  "ple.heads_per_ngram": 2,
  "ple.conv_kernel": 4,
  "ple.eos_token_id": 2,
  "ple.layer_multipliers": [0x9e3779b97f4a7c15n, 0xbf58476d1ce4e5b9n, 0x94d049bb133111ebn],
  "ple.head_offsets": [0n, 101n, 204n, 311n],
  "ple.head_vocab_sizes": [101n, 103n, 107n, 109n],
});
