/** An engine of its own process that answers and writes pasts until it is killed: MODEL STORE TOKENS. */
import { Engine } from "../../src/engine/engine.js";
import { openParts } from "../../src/engine/open.js";
import { defaultSampling } from "../../src/sampling/chain.js";

const [path, folder, tokens] = process.argv.slice(2) as [string, string, string];
const options = { contextTokens: 2048, chunkRows: 128, threads: 1, checkpointBytes: 2 ** 24, pastStore: { folder } };
const engine = new Engine(await openParts(path, options));
let told = false;
const answer = (id: number, ids: Int32Array) =>
  engine.submit(
    id,
    {
      kind: "generate",
      prompt: { kind: "tokens", tokens: ids },
      sampling: { ...defaultSampling, seed: 3, temperature: 0.9 },
      maxTokens: 40,
      stop: [],
      ignoreEos: true,
    },
    (event) => {
      if (event.kind !== "pass" || told) return;
      told = true;
      process.stdout.write("begun\n");
    },
  );
const asked = Int32Array.from(tokens.split(","), Number);
for (let id = 1; ; id++)
  await answer(
    id,
    asked.map((token, i) => (i < 300 ? token : (token + id - 1) % 256)),
  );
