// Token ids by llama.cpp. stdin: {jobs: [{path, pre?, special?, detokenize?, texts}]}; stdout, last line: {results:
// [{ids, texts?, end?} | {error}]}. `detokenize`: also the texts of these ids, control tokens shown. `pre` overrides
// tokenizer.ggml.pre, so every pre-tokenizer can be tried on any byte-level vocabulary. `end` lists the ids that end a
// generation (jobs with listEnd).
import { fileURLToPath, pathToFileURL } from "node:url";

const entry = fileURLToPath(new URL("../../.peer/node_modules/node-llama-cpp/dist/index.js", import.meta.url));
const { getLlama } = await import(pathToFileURL(entry).href);
const input = [];
for await (const chunk of process.stdin) input.push(chunk);
const { jobs } = JSON.parse(Buffer.concat(input).toString("utf8"));
const llama = await getLlama({ gpu: false, build: "never", skipDownload: true, logLevel: "disabled" });
const results = [];
for (const job of jobs) {
  try {
    const model = await llama.loadModel({
      modelPath: job.path,
      vocabOnly: true,
      metadataOverrides: job.pre === undefined ? undefined : { tokenizer: { ggml: { pre: job.pre } } },
    });
    const result = { ids: job.texts.map((text) => [...model.tokenize(text, job.special ?? false)]) };
    if (job.detokenize) result.texts = result.ids.map((ids) => model.detokenize(ids, true));
    if (job.listEnd) {
      result.end = Array.from({ length: job.size }, (_, id) => id).filter((id) => model.isEogToken(id));
    }
    results.push(result);
    await model.dispose();
  } catch (error) {
    results.push({ error: String(error) });
  }
}
process.stdout.write(`\n${JSON.stringify({ results })}\n`, () => process.exit(0));
