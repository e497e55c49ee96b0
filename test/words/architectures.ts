/**
 * Tiny architectures that no user loads: each uses words of src/models/flow/flow.ts that no supported model needs
 * yet, so that the words hold when one does. `words` is what docs and the table of DESIGN call them.
 */
import type { Declaration } from "../../src/models/flow/architecture.js";
import { type Flow, type Ids, idsBack, type Part, type Selection, type Value } from "../../src/models/flow/flow.js";
import { bank, gated, hyper, plain, type Residual, scaled } from "../../src/models/flow/residual.js";
import { gatedFfn } from "../../src/models/parts/gated-ffn.js";
import { gqa } from "../../src/models/parts/gqa.js";
import { moe } from "../../src/models/parts/moe.js";
import { embedTokens, rms, tinyTransformer, tokenHead } from "../../src/models/parts/transformer.js";
import { absorbed, blocks, delta, latentAttention, scanned } from "./states.js";
import { ffn, mixer, type TinyConfig, tiny, type WordsArchitecture } from "./tiny.js";

const layerNorm =
  (name: string, { dim, eps }: TinyConfig): Part =>
  (f, x) =>
    f.layerNorm(x, f.vector(name, dim, "norm"), f.vector(`${name}_b`, dim, "norm", { fill: [0, 0.3] }), eps);

/** down(act(up(x))), with biases. */
const plainFfn =
  ({ dim, hidden }: TinyConfig, act: "gelu-tanh" | "relu2", name = "ffn"): Part =>
  (f, x) => {
    const up = f.matrix(`${name}_up`, dim, hidden, "ffn", { bias: "required" });
    const down = f.matrix(`${name}_down`, hidden, dim, "ffn", { bias: "required" });
    return f.linear(f.act(f.linear(x, up)[0]!, act), down)[0]!;
  };

/** The sum of two parts of the same value. */
const both =
  (a: Part, b: Part): Part =>
  (f, x) =>
    f.add(a(f, x), b(f, x));

const parallel = tiny(["parallel residual", "layerNorm", "bias", "act"], {
  name: "words-parallel",
  layer: (c) => [
    {
      site: "both",
      before: layerNorm("attn_norm", c),
      part: both(gqa({ ...c, qkvBias: "required", outputBias: "required" }), plainFfn(c, "gelu-tanh")),
    },
  ],
});

/** Two branches of one site read the same stream through norms of their own. */
const sites = tiny(["branches of one site", "softcap", "headNorm"], {
  name: "words-sites",
  layer: (c) => [
    { ...mixer(c, { qkNorm: "head", softcap: 20 }), site: "one" },
    { ...ffn(c), site: "one" },
  ],
});

const alternating = tiny(["mixer-only and FFN-only layers"], {
  name: "words-alternating",
  layer: (c, i) => (i % 2 === 0 ? [mixer(c)] : [ffn(c)]),
  tiny: [{ variant: "tiny", metadata: (dims) => ({ ...tinyTransformer(dims), block_count: 4 }) }],
});

const mixers = tiny(["two mixers from one norm", "states told apart by name", "window"], {
  name: "words-mixers",
  layer: (c) => [
    { ...mixer(c), part: both(gqa({ ...c, name: "attn" }), gqa({ ...c, name: "local", window: 16 })) },
    ffn(c),
  ],
});

const streams = { streams: 4, iterations: 4, rank: 32, period: 2 } as const;
const streamed = (
  name: string,
  word: string,
  make: (f: Flow, x: Value, c: TinyConfig) => Residual,
): WordsArchitecture =>
  tiny([word], {
    name,
    begin: (f, c) => make(f, embedTokens(f, c).streams[0]!, c),
    tiny: [{ variant: "tiny", metadata: (dims) => ({ ...tinyTransformer(dims), block_count: 5 }) }],
  });

const hyperStreams = streamed("words-hyper", "hyper residual", (f, x, c) =>
  hyper(f, x, { ...c, ...streams, eps: 1e-6 }),
);
const gatedStreams = streamed("words-gated", "gated residual", (f, x, c) => gated(f, x, { ...c, ...streams }));
const scaledStream = streamed("words-scaled", "scaled residual", (_f, x) => scaled(x, 0.5));
const bankStreams = streamed("words-bank", "bank residual", (_f, x, c) => bank(x, { ...c, ...streams }));

/**
 * Experts in a narrower space without a gate, a shared one beside them; the router reads the stream before its norm.
 */
const latent = tiny(
  ["latent experts", "experts without a gate", "shared expert", "foresee", "routed from the un-normed stream"],
  {
    name: "words-latent",
    layer: (c) => [mixer(c), { site: "ffn", before: (_f, x) => x, part: latentExperts(c) }],
    tiny: [
      {
        variant: "tiny",
        metadata: (dims) => ({ ...tinyTransformer(dims), expert_count: 6, expert_used_count: 2, block_count: 3 }),
      },
    ],
  },
);

function latentExperts(c: TinyConfig): Part {
  const narrow = c.dim / 2;
  return (f, stream) => {
    const choose = (f: Flow, x: Value) => {
      const scores = f.linear(x, f.matrix("ffn_gate_inp", c.dim, c.experts, "router"))[0]!;
      return f.route(scores, { topK: c.topK, score: "sigmoid", renormalize: true, scale: 1.5 });
    };
    f.foresee(choose);
    const routes = choose(f, stream);
    const x = rms("ffn_norm", c)(f, stream);
    const low = f.linear(x, f.matrix("ffn_latent_down", c.dim, narrow, "ffn"))[0]!;
    const routed = f.experts(routes, low, (f, x) => {
      const up = f.matrix("ffn_up_exps", narrow, c.hidden, "expert", { bias: "required" });
      return f.linear(f.act(f.linear(x, up)[0]!, "relu2"), f.matrix("ffn_down_exps", c.hidden, narrow, "expert"))[0]!;
    });
    const high = f.linear(routed, f.matrix("ffn_latent_up", narrow, c.dim, "ffn"))[0]!;
    return f.add(high, plainFfn(c, "relu2", "ffn_shexp")(f, x));
  };
}

/** Gated experts in layers of their own kind: what slots and foresee are for. */
const routed = tiny(["experts by an inner function", "foresee"], {
  name: "words-routed",
  layer: (c) => [
    mixer(c),
    { ...ffn(c), part: moe({ ...c, hidden: c.hidden, act: "silu", score: "softmax", renormalize: true }) },
  ],
  tiny: [
    {
      variant: "tiny",
      metadata: (dims) => ({ ...tinyTransformer(dims), expert_count: 6, expert_used_count: 2, block_count: 3 }),
    },
  ],
});

/**
 * Each row attends what the indexer of the first layer chose for it, which the second shares; the last sees its own
 * window as well.
 */
const selected = tiny(["selection of positions", "several sources", "keys alone"], {
  name: "words-selected",
  layer: (c, i) => [{ ...mixer(c), part: chosen(c, i) }, ffn(c)],
});

function chosen(c: TinyConfig, i: number): Part {
  const [indexHeads, indexDim] = [4, 32];
  return (f, x) => {
    const turn = (y: Value): Value => f.rope(y, c.headDim, c.rope);
    if (i === 0) {
      const [q, k, w] = f.linear(
        x,
        f.matrix("indexer_q", c.dim, indexHeads * indexDim, "attention"),
        f.matrix("indexer_k", c.dim, indexDim, "attention"),
        f.matrix("indexer_w", c.dim, indexHeads, "attention"),
      );
      const keys = f.keep("rows", { row: turn(k!), name: "index" });
      f.share("chosen", f.select(turn(q!), w!, keys, 12));
    }
    const selection = f.shared("chosen") as Selection;
    const [q, k, v] = f.linear(x, heads(f, c, "q", c.heads), heads(f, c, "k", c.kvHeads), heads(f, c, "v", c.kvHeads));
    const past = f.keep("kv", { k: turn(k!), v: v!, heads: c.kvHeads });
    const [k2, v2] = i < 2 ? [] : f.linear(x, heads(f, c, "k2", c.kvHeads), heads(f, c, "v2", c.kvHeads));
    const near = k2 && f.keep("kv", { k: turn(k2), v: v2!, heads: c.kvHeads, name: "near" });
    const sources = [{ state: past, selection }, ...(near ? [{ state: near, reach: { window: 9 } }] : [])];
    const sinks = f.vector("attn_sinks", c.heads, "attention", { fill: [1, 1] });
    const o = { heads: c.heads, scale: 1 / Math.sqrt(c.headDim), reach: "all", sinks } as const;
    return f.linear(
      f.attention(turn(q!), sources, o),
      f.matrix("attn_output", c.heads * c.headDim, c.dim, "attention"),
    )[0]!;
  };
}

/** From the second layer on attention reads what the first keeps. */
const sharing = tiny(["share, shared", "K and V shared between layers"], {
  name: "words-sharing",
  layer: (c, i) => [{ ...mixer(c), part: i === 0 ? keeper(c) : reader(c) }, ffn(c)],
});

const heads = (f: Flow, c: TinyConfig, name: string, count: number) =>
  f.matrix(`attn_${name}`, c.dim, count * c.headDim, "attention", { gain: 1.4 });

function attend(f: Flow, c: TinyConfig, q: Value): Value {
  const past = f.shared("past");
  if (!("kind" in past) || past.kind === "recurrent" || past.kind === "rows")
    throw new Error("no state that attention reads");
  const mixed = f.attention(q, [past], { heads: c.heads, scale: 1 / Math.sqrt(c.headDim), reach: "all" });
  return f.linear(mixed, f.matrix("attn_output", c.heads * c.headDim, c.dim, "attention"))[0]!;
}

const keeper =
  (c: TinyConfig): Part =>
  (f, x) => {
    const [q, k, v] = f.linear(x, heads(f, c, "q", c.heads), heads(f, c, "k", c.kvHeads), heads(f, c, "v", c.kvHeads));
    f.share("past", f.keep("kv", { k: f.rope(k!, c.headDim, c.rope), v: v!, heads: c.kvHeads }));
    return attend(f, c, f.rope(q!, c.headDim, c.rope));
  };

const reader =
  (c: TinyConfig): Part =>
  (f, x) =>
    attend(f, c, f.rope(f.linear(x, heads(f, c, "q", c.heads))[0]!, c.headDim, c.rope));

const chunked = tiny(["reach chunk"], {
  name: "words-chunked",
  layer: (c, i) => [mixer(c, i % 2 === 0 ? { reach: { chunk: 48 } } : {}), ffn(c)],
});

/** An encoder: every row sees all of its sequence, or 20 to both sides; a vector and a score for each sequence. */
const encoder = tiny(
  ["reach symmetric", "whole", "output pooled", "output rank"],
  {
    name: "words-encoder",
    layer: (c, i) => [mixer(c, { reach: { symmetric: i % 2 === 0 ? 0 : 20 } }), ffn(c)],
    end(f, x, c) {
      const common = tokenHead(f, x, c);
      const pooled = f.pool(rms("output_norm", c)(f, x.read(f, "end")), "mean");
      const rank = f.linear(f.act(pooled, "tanh"), f.matrix("cls", c.dim, 3, "head", { bias: "required" }))[0]!;
      return { ...common, pooled, rank };
    },
  },
  true,
);

/** A row of a second table for every token, read when it is asked for, gates each layer. */
const table = tiny(["lookup on demand", "multiply", "split, join", "has"], {
  name: "words-table",
  layer: (c) => [
    mixer(c),
    ffn(c),
    {
      site: "table",
      before: rms("table_norm", c),
      part(f, x) {
        const rows = f.lookup(
          f.matrix("per_layer_token_embd", c.dim, c.vocab, "embedding", { gain: Math.sqrt(c.dim) }),
        );
        const gate = f.act(f.linear(x, f.matrix("inp_gate", c.dim, c.dim, "ffn"))[0]!, "gelu-tanh");
        const [a, b] = f.split(f.multiply(gate, rows), c.dim / 2, c.dim / 2);
        const y = f.linear(f.join(b!, a!), f.matrix("proj", c.dim, c.dim, "ffn"))[0]!;
        // A tensor that fine-tunes may have.
        return f.has("proj_norm.weight") ? f.norm(y, f.vector("proj_norm", c.dim, "norm"), c.eps) : y;
      },
    },
  ],
  tiny: [
    {
      variant: "tiny",
      metadata: (dims) => ({ ...tinyTransformer(dims), block_count: 2 }),
      optionalTensors: ["proj_norm.weight"],
    },
  ],
});

/**
 * Rows of further tables by the token before, and by a hash of three, join the stream.
 * @source DeepSeek-AI 2026, "Conditional Memory"
 */
const grams = tiny(["ids of earlier positions", "hashed ids"], {
  name: "words-grams",
  layer: (c, i) => [
    ...(i > 0 ? [] : [{ site: "grams", before: rms("gram_norm", c), part: gramRows(c) }]),
    mixer(c),
    ffn(c),
  ],
  tiny: [{ variant: "tiny", metadata: (dims) => ({ ...tinyTransformer(dims), block_count: 2 }) }],
});

function gramRows(c: TinyConfig): Part {
  const rows = 97;
  const hashed: Ids = {
    back: [0, 1, 2],
    row: ([a, b, d]) => (d! < 0 ? -1 : ((a! * 31) ^ (b! * 57) ^ (d! * 101)) % rows),
  };
  return (f, x) => {
    const gain = Math.sqrt(c.dim);
    const before = f.lookup(f.matrix("bigram_embd", c.dim, c.vocab, "embedding", { gain }), 1, idsBack(1));
    const three = f.lookup(f.matrix("trigram_embd", c.dim, rows, "embedding", { gain }), 1, hashed);
    const gate = f.act(f.linear(x, f.matrix("gram_gate", c.dim, c.dim, "ffn"))[0]!, "sigmoid");
    return f.linear(f.multiply(f.add(before, three), gate), f.matrix("gram_out", c.dim, c.dim, "ffn"))[0]!;
  };
}

/** A block behind the trunk that guesses the token after the next from the trunk's hidden rows and the next token. */
const draft = tiny(["programs: mtp, hidden rows as input", "programs on one Ops"], {
  name: "words-mtp",
  programs: (c) => ({
    mtp0: {
      layers: [c.layers],
      begin(f) {
        const e = f.lookup(f.matrix("token_embd", c.dim, c.vocab, "embedding", { gain: Math.sqrt(c.dim) }));
        const h = f.input("hidden", c.dim);
        const joined = f.join(rms("nextn_enorm", c)(f, e), rms("nextn_hnorm", c)(f, h));
        return plain(f.linear(joined, f.matrix("nextn_eh_proj", 2 * c.dim, c.dim, "ffn"))[0]!);
      },
      layer: () => [mixer(c), ffn(c)],
      end: (f, x) => tokenHead(f, x, c),
    },
  }),
});

/** Rows of two tensors in one matrix, and a matrix that the file has the other way round. */
const assembled = tiny(["from: concat", "from: transpose"], {
  name: "words-assembled",
  layer: (c) => [
    mixer(c),
    {
      ...ffn(c),
      part(f, x) {
        const half = c.hidden / 2;
        const concat = [
          ["ffn_up_a", half],
          ["ffn_up_b", half],
        ] as const;
        const from = f.has("ffn_up.weight") ? undefined : { concat };
        const up = f.matrix("ffn_up", c.dim, c.hidden, "ffn", { from, bias: "required" });
        const down = f.matrix("ffn_down", c.hidden, c.dim, "ffn", { from: { transpose: "ffn_down_t" } });
        return f.linear(f.act(f.linear(x, up)[0]!, "relu2"), down)[0]!;
      },
    },
  ],
});

/**
 * Queries, keys and values in one tensor with their biases, gate and up in one: rows of it where others have tensors.
 */
const fused = tiny(["from: split"], {
  name: "words-fused",
  layer: (c) => [
    mixer(c, { qkvBias: "optional" }),
    {
      ...ffn(c),
      part: (f, x) => {
        const apart = f.has("ffn_gate.weight");
        return gatedFfn({ dim: c.dim, hidden: c.hidden, act: "silu", ...(!apart && { fused: "ffn_up" }) })(f, x);
      },
    },
  ],
  tiny: [
    {
      variant: "tiny",
      metadata: (dims) => ({ ...tinyTransformer(dims), block_count: 3 }),
      optionalTensors: ["attn_qkv.weight", "attn_qkv.bias"],
    },
  ],
});

const madeExperts = (word: string, name: string, optionalTensors: readonly string[]): WordsArchitecture =>
  tiny([word], {
    name,
    layer: (c) => [
      mixer(c),
      { ...ffn(c), part: moe({ ...c, hidden: c.hidden, act: "silu", score: "softmax", renormalize: true }) },
    ],
    tiny: [
      {
        variant: "tiny",
        metadata: (dims) => ({ ...tinyTransformer(dims), expert_count: 5, expert_used_count: 2, block_count: 2 }),
        optionalTensors,
      },
    ],
  });

/** Experts that are tensors of their own. */
const apart = madeExperts(
  "from: stack",
  "words-apart",
  ["gate", "up", "down"].flatMap((name) => Array.from({ length: 5 }, (_, e) => `ffn_${name}.${e}.weight`)),
);
const gateUp = madeExperts("from: split of stacked experts", "words-gate-up", ["ffn_gate_up_exps.weight"]);
export const wordsArchitectures: readonly WordsArchitecture[] = [
  parallel,
  sites,
  alternating,
  mixers,
  hyperStreams,
  gatedStreams,
  scaledStream,
  bankStreams,
  latent,
  routed,
  sharing,
  chunked,
  selected,
  encoder,
  table,
  grams,
  draft,
  absorbed,
  assembled,
  fused,
  apart,
  gateUp,
  delta,
  scanned,
  latentAttention,
  blocks,
];

export function findWords(name: string): Declaration {
  const found = wordsArchitectures.find(({ declaration }) => declaration.name === name);
  if (found === undefined) throw new Error(`no test architecture '${name}'`);
  return found.declaration;
}
