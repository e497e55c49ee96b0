/**
 * Folders of transformers as GGUF files: the same logits here, bit for bit where rows keep their order, and llama.cpp
 * loads the files and agrees. Every fourth of them; all with `npm run test:sweeps`.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { convertModel } from "../../src/convert/index.js";
import { bestOps } from "../differential/models/compare.js";
import { fixtureNames, readFixture } from "../huggingface/folder.js";
import { evaluate, klOfLogs, logSoftmax, meanKl, openModel } from "../support/evaluate.js";
import { openPeer, type Peer } from "../support/peer.js";
import { sweep } from "../support/sweeps.js";
import { textOutputs } from "../support/vectors.js";
import { writeModelFolder } from "./fixture-folder.js";

/**
 * Products whose inputs or outputs lie in another order there are summed in another one: pairs of RoPE side by side,
 * GPT-2's matrices the right way round, keys of latent attention by heads.
 */
const reordered = /^(llama3?|mistral|mixtral|granite|granitemoe|smollm3|gpt2|deepseek_v[23])$/;
/** Such sums differ by far less than one wrong row makes. */
const mostReordered = 1e-8;

/** Why llama.cpp does not read some models whose kind it knows. */
const notTheirs: Readonly<Record<string, string>> = {
  deepseek_v2: "it tells models without q_lora_rank by their 26 or 27 layers",
  dots1: "it expects as many heads of keys as of queries",
  olmoe: "it expects as many heads of keys as of queries",
  exaone4: "it has windows in models of 64 layers only",
};

describe("folders as GGUF files", () => {
  let folder = "";
  let peer: Peer | undefined;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "hundredweight-convert-"));
    peer = openPeer();
  });
  after(() => {
    peer?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  for (const [i, name] of sweep(fixtureNames(), 4).entries()) {
    const fixture = readFixture(name);
    test(`${name}: the folder's own ${fixture.kind}`, async (t) => {
      // llama.cpp expects tokens of Phi-3 where a name has `phi3`.
      const source = writeModelFolder(join(folder, `model${i}`), fixture);
      const path = join(folder, `${i}.gguf`);
      await convertModel(source, path);
      const rowsOf = async (of: string) => {
        const model = await openModel(of, bestOps());
        try {
          if (of === path) assert.deepEqual(model.unusedTensors, []);
          if (fixture.kind === "hidden") return [(await textOutputs(model, [[...fixture.ids]])).rows];
          return (await evaluate(model, fixture.ids)).map((row) => row.slice());
        } finally {
          model.close();
        }
      };
      const [before, behind] = [await rowsOf(source), await rowsOf(path)];
      if (!reordered.test(name)) assert.deepEqual(behind, before);
      else {
        const kl = meanKl(before, behind);
        t.diagnostic(`KL ${kl.toExponential(2)}`);
        assert.ok(kl >= -1e-9 && kl < mostReordered, `KL ${kl}`);
      }
      if (fixture.kind === "hidden") return;
      if (notTheirs[name] !== undefined) return t.diagnostic(`not held against llama.cpp: ${notTheirs[name]}`);
      if (peer === undefined) return t.diagnostic("llama.cpp is not installed: run scripts/fetch-peer.mjs");
      await peer.load({ path, threads: 2, contextTokens: 512, batch: 512, flashAttention: false });
      const theirs = await peer.logProbabilities(fixture.ids, join(folder, "peer.f32"));
      await peer.ask("unload");
      const kl = klOfLogs(theirs, behind.map(logSoftmax));
      t.diagnostic(`llama.cpp: KL ${kl.toExponential(2)}`);
      assert.ok(kl >= -1e-9 && kl < 1e-6, `llama.cpp: KL ${kl}`);
    });
  }

  test("BF16 in two shards: the same bits, whatever the type holds; F16 and Q8_0 near them", async (t) => {
    const fixture = readFixture("qwen3_moe");
    const source = writeModelFolder(join(folder, "shards"), fixture, "BF16", 2);
    const rowsOf = async (path: string) => {
      const model = await openModel(path, bestOps());
      try {
        return (await evaluate(model, fixture.ids)).map((row) => row.slice());
      } finally {
        model.close();
      }
    };
    const expected = await rowsOf(source);
    // Values of BF16 are all in F32. Each step of F16 or of eight bits is far smaller than a wrong row.
    const most = { keep: 0, f32: 0, f16: 1e-6, q8_0: 1e-2 } as const;
    for (const [type, kl] of Object.entries(most)) {
      const path = join(folder, `shards-${type}.gguf`);
      await convertModel(source, path, { type: type as keyof typeof most });
      const found = await rowsOf(path);
      if (kl === 0) assert.deepEqual(found, expected);
      const distance = meanKl(expected, found);
      t.diagnostic(`${type}: KL ${distance.toExponential(2)}`);
      assert.ok(distance >= -1e-9 && distance <= kl + 1e-9, `${type}: KL ${distance}`);
    }
  });
});
