// Generates text with the library.
//   node examples/generate.mjs [model.gguf] [prompt]      without a model: the bundled demonstration model
import { fileURLToPath } from "node:url";
import { load } from "hundredweight";

const path = process.argv[2] ?? fileURLToPath(new URL("../models/demo.gguf", import.meta.url));
const prompt = process.argv[3] ?? "Once upon a time";

const model = await load(path);
try {
  process.stdout.write(prompt);
  const answer = model.generate(prompt, { maxTokens: 120, temperature: 0.7, seed: 1 });
  for await (const piece of answer) process.stdout.write(piece);
  const { timings, tokens, finishReason } = await answer.result();
  console.log(`\n\n${tokens.length} tokens, ${timings.decodeTps.toFixed(1)} per second, ended by ${finishReason}`);
} finally {
  await model.close();
}
