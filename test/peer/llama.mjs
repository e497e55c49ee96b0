// llama.cpp behind a line protocol, the oracle and the rival of every comparison. Run by test/support/peer.ts.
// One JSON request a line on stdin, one JSON answer a line on stdout: {"id", "ok", ...} or {"id", "error"}.
//   load {path, threads, contextTokens, batch, sequences, mmap, flashAttention, swaFull, lora}   -> {system, vocab}
//   tokenize {text, special}                   -> {ids}
//   logits {ids, from, out}                    writes f32 probabilities [n, vocab] of positions from.. to the file
//   score {ids, from}                          -> {logProbabilities} of ids[from..]
//   greedy {ids, count}                        -> {ids, top: [[p1, p2], ...]}
//   prefill {ids}                              -> {ms}        (clears the state first)
//   decode {count}                             -> {ms}        (continues greedily from the state)
//   rows {rows, count}                         -> {ms}        decode with `rows` sequences in a pass
//   embed {path, ids}                         -> {vector, tokens}   hidden state of the last token, a model of its own
//   embedAll {path, texts}                    -> {vectors}          of token id lists, by the file's pooling
//   rank {path, texts, flashAttention}        -> {vectors}          scores as they come out of the head
//   unload
import { writeFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath, pathToFileURL } from "node:url";

const entry = fileURLToPath(new URL("../../.peer/node_modules/node-llama-cpp/dist/index.js", import.meta.url));
const { getLlama } = await import(pathToFileURL(entry).href);
let llama;
let model;
let context;
let sequences = [];

const wholeText = { contextSize: 1024, batchSize: 1024, threads: 1, ignoreMemorySafetyChecks: true };

/** What the context of a model of its own leaves behind after each text. */
async function vectorsOf(q, open) {
  llama ??= await getLlama({ gpu: false, build: "never", skipDownload: true, logLevel: "error", maxThreads: 1 });
  const own = await llama.loadModel({
    modelPath: q.path,
    checkTensors: false,
    defaultContextFlashAttention: q.flashAttention,
  });
  const made = await open(own);
  const vectors = [];
  for (const ids of q.texts) {
    // As their getEmbeddingFor and rank do behind tokenizing: those would cut scores to one and bend them.
    await made._sequence.eraseContextTokenRanges([{ start: 0, end: made._sequence.nextTokenIndex }]);
    for await (const _ of made._sequence.evaluate(ids, { _noSampling: true })) break;
    vectors.push([...made._llamaContext._ctx.getEmbedding(ids.length)]);
  }
  await made.dispose();
  await own.dispose();
  return { vectors };
}

const handlers = {
  async load(q) {
    await handlers.unload();
    llama ??= await getLlama({
      gpu: false,
      build: "never",
      skipDownload: true,
      logLevel: "error",
      maxThreads: q.threads ?? 1,
    });
    model = await llama.loadModel({
      modelPath: q.path,
      useMmap: q.mmap ?? true,
      vocabOnly: q.vocabOnly ?? false,
      checkTensors: false,
    });
    if (!q.vocabOnly) {
      context = await model.createContext({
        contextSize: q.contextTokens ?? 2048,
        batchSize: q.batch ?? 512,
        sequences: q.sequences ?? 1,
        threads: q.threads ?? 1,
        flashAttention: q.flashAttention ?? true,
        swaFullCache: q.swaFull ?? true,
        ignoreMemorySafetyChecks: true,
        failedCreationRemedy: false,
        ...(q.lora && { lora: { adapters: q.lora } }),
      });
      sequences = Array.from({ length: q.sequences ?? 1 }, () => context.getSequence());
    }
    return { system: llama.systemInfo ?? "", vocab: model.fileInfo?.metadata?.tokenizer?.ggml?.tokens?.length ?? 0 };
  },
  async tokenize(q) {
    return { ids: [...model.tokenize(q.text, q.special ?? false)] };
  },
  async logits(q) {
    await sequences[0].clearHistory();
    const input = q.ids.map((id, i) =>
      i < q.from ? id : [id, { generateNext: { probabilities: true, options: { temperature: 0 } } }],
    );
    const result = await sequences[0].controlledEvaluate(input);
    let out;
    let vocab = 0;
    for (let i = q.from; i < q.ids.length; i++) {
      const map = result[i].next.probabilities;
      vocab = Math.max(map.size, vocab);
      out ??= new Float32Array((q.ids.length - q.from) * vocab);
      for (const [id, p] of map) out[(i - q.from) * vocab + id] = p;
    }
    writeFileSync(q.out, new Uint8Array(out.buffer));
    return { vocab, rows: q.ids.length - q.from };
  },
  async score(q) {
    await sequences[0].clearHistory();
    const want = { generateNext: { probabilities: true, options: { temperature: 0 } } };
    const result = await sequences[0].controlledEvaluate(q.ids.map((id, i) => (i < q.from - 1 ? id : [id, want])));
    const logProbabilities = [];
    for (let i = q.from; i < q.ids.length; i++) {
      const map = result[i - 1].next.probabilities;
      let sum = 0; // their f32 softmax over a large vocabulary is off by 1e-4
      for (const p of map.values()) sum += p;
      logProbabilities.push(Math.log(map.get(q.ids[i]) / sum));
    }
    return { logProbabilities };
  },
  async greedy(q) {
    await sequences[0].clearHistory();
    const ids = [];
    const top = [];
    let next = q.ids;
    while (ids.length < q.count) {
      const input = next.map((id, i) =>
        i < next.length - 1
          ? id
          : [id, { generateNext: { token: true, probabilities: true, options: { temperature: 0 } } }],
      );
      const { next: answer } = (await sequences[0].controlledEvaluate(input)).at(-1);
      const [first, second] = answer.probabilities.values();
      ids.push(answer.token);
      top.push([first, second]);
      next = [answer.token];
    }
    return { ids, top };
  },
  async prefill(q) {
    await sequences[0].clearHistory();
    const started = performance.now();
    await sequences[0].evaluateWithoutGeneratingNewTokens(q.ids);
    return { ms: performance.now() - started };
  },
  async decode(q) {
    const last = q.first ?? 1;
    const generator = sequences[0].evaluate([last], { temperature: 0, yieldEogToken: true });
    await generator.next(); // the first token pays for the sampler
    const started = performance.now();
    let ids = 0;
    for await (const _ of generator) if (++ids >= q.count) break;
    return { ms: performance.now() - started, tokens: ids };
  },
  async rows(q) {
    const used = sequences.slice(0, q.rows);
    for (const s of used) await s.clearHistory();
    // Without a wanted token llama.cpp would leave out the last layer's end and the head.
    const want = { generateNext: { token: true, options: { temperature: 0 } } };
    const next = used.map((_, j) => 100 + j);
    const started = performance.now();
    for (let i = 0; i < q.count; i++) {
      const answers = await Promise.all(used.map((s, j) => s.controlledEvaluate([[next[j], want]])));
      for (const [j, answer] of answers.entries()) next[j] = answer.at(-1).next.token;
    }
    return { ms: performance.now() - started };
  },
  async embed(q) {
    llama ??= await getLlama({ gpu: false, build: "never", skipDownload: true, logLevel: "error", maxThreads: 1 });
    const own = await llama.loadModel({ modelPath: q.path, checkTensors: false });
    const embedding = await own.createEmbeddingContext({
      contextSize: 512,
      threads: 1,
      ignoreMemorySafetyChecks: true,
    });
    const tokens = embedding.calculateInputLength(q.ids);
    const { vector } = await embedding.getEmbeddingFor(q.ids);
    await embedding.dispose();
    await own.dispose();
    return { vector: [...vector], tokens };
  },
  async embedAll(q) {
    return vectorsOf(q, (own) => own.createEmbeddingContext(wholeText));
  },
  async rank(q) {
    return vectorsOf(q, (own) => own.createRankingContext(wholeText));
  },
  async unload() {
    await context?.dispose();
    await model?.dispose();
    context = undefined;
    model = undefined;
    sequences = [];
    return {};
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  if (line.trim() === "") continue;
  const q = JSON.parse(line);
  try {
    process.stdout.write(`${JSON.stringify({ id: q.id, ok: true, ...(await handlers[q.command](q)) })}\n`);
  } catch (error) {
    process.stdout.write(`${JSON.stringify({ id: q.id, error: String(error?.message ?? error) })}\n`);
  }
}
process.exit(0);
