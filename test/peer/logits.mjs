// Next-token logits of llama.cpp at every position of a prompt, for comparisons. Run it in the folder that holds the peer:
//   cd .peer && echo '[{"model":"a.gguf","tokens":[1,2],"out":"a.f32"}]' | node ../test/peer/logits.mjs
// Each job's logits go to `out` as little-endian f32 [tokens, vocab]; one JSON line of results goes to stdout. One
// thread, F16 cache, no flash attention. `threads`, `batch` and `context` may be given in a job.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const entry = join(process.cwd(), "node_modules", "node-llama-cpp", "dist", "index.js");
const { getLlama, LlamaLogLevel } = await import(pathToFileURL(entry).href);
const llama = await getLlama({ gpu: false, build: "never", skipDownload: true, logLevel: LlamaLogLevel.error });

let input = "";
for await (const chunk of process.stdin) input += chunk;

const results = [];
for (const job of JSON.parse(input)) {
  try {
    results.push({ model: job.model, ...(await evaluate(job)) });
  } catch (error) {
    results.push({ model: job.model, error: String(error?.message ?? error) });
  }
}
process.stdout.write(`${JSON.stringify(results)}\n`);
process.exit(0);

async function evaluate({ model: path, tokens, out, threads = 1, batch = 512, context: contextSize = 1024 }) {
  const model = await llama.loadModel({ modelPath: path, gpuLayers: 0, useMmap: false });
  const context = await model.createContext({
    contextSize,
    batchSize: batch,
    threads,
    flashAttention: false,
    sequences: 1,
  });
  const sequence = context.getSequence();
  const answers = await sequence.controlledEvaluate(tokens.map((token) => [token, { generateNext: { logits: true } }]));
  const vocab = answers[0].next.logits.size;
  const values = new Float32Array(tokens.length * vocab);
  answers.forEach(({ next }, t) => {
    for (const [token, logit] of next.logits) values[t * vocab + token] = logit;
  });
  writeFileSync(out, new Uint8Array(values.buffer));
  await context.dispose();
  await model.dispose();
  return { tokens: tokens.length, vocab };
}
