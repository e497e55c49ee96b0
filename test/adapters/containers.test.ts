/**
 * Adapters of one container beside models of the other: rows of heads are brought into the model's order. The oracle is
 * PEFT beside transformers, and llama.cpp where everything is GGUF.
 */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { openAdapter, openCheckpoint } from "../../src/containers/index.js";
import { convertModel } from "../../src/convert/index.js";
import type { PairMatrix } from "../../src/formats/adapter.js";
import { writeModelFolder } from "../convert/fixture-folder.js";
import { readFixture } from "../huggingface/folder.js";
import { klOfLogs, logSoftmax, meanKl } from "../support/evaluate.js";
import { openPeer, type Peer } from "../support/peer.js";
import { logitsOf, openAdapted } from "./adapted.js";
import { expectedLogits, type GgufPair, readAdapterFixture, writeGgufAdapter, writePeft } from "./fixture.js";

function valuesOf({ rows, cols, experts, extents, turned }: PairMatrix): Float32Array {
  const bytes = Buffer.concat(
    extents.map(({ file, offset, bytes }) => readFileSync(file).subarray(offset, offset + bytes)),
  );
  const stored = new Float32Array(new Uint8Array(bytes).buffer);
  if (experts > 1) assert.equal(stored.length, rows * cols * experts);
  if (!turned) return stored;
  return Float32Array.from({ length: rows * cols }, (_, i) => stored[(i % cols) * rows + Math.floor(i / cols)]!);
}

/** Rows of heads as converters of llama put them: the halves' values by turns. */
function byTurns(values: Float32Array, rows: number, headDim: number): Float32Array {
  const cols = values.length / rows;
  const out = new Float32Array(values.length);
  for (let row = 0; row < rows; row++) {
    const [head, at] = [row - (row % headDim), row % headDim];
    const from = head + Math.floor(at / 2) + (at % 2) * (headDim / 2);
    out.set(values.subarray(from * cols, (from + 1) * cols), row * cols);
  }
  return out;
}

describe("adapters and models of different containers", () => {
  let folder = "";
  let peer: Peer | undefined;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "hundredweight-adapter-containers-"));
    peer = openPeer();
  });
  after(() => {
    peer?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  for (const name of ["llama", "qwen3", "phi3", "gpt2", "gptneox", "mixtral"])
    test(`${name}: PEFT beside a GGUF file, a GGUF adapter beside either`, async (t) => {
      const [base, fixture] = [readFixture(name), readAdapterFixture(name)];
      const source = writeModelFolder(join(folder, `base-${name.length}${name[0]}`), base);
      const gguf = join(folder, `${name[0]}${name.length}.gguf`);
      await convertModel(source, gguf);
      const peft = (["a", "b"] as const).map((which) => writePeft(join(folder, `${name}-${which}`), fixture, which));
      // What convert_lora_to_gguf.py would make of "a".
      const { pairs } = openAdapter(peft[0]!, await openCheckpoint(source));
      const headDim = (base.config.head_dim as number | null | undefined) ?? 16;
      const paired = name === "llama" || name === "mixtral";
      const made = [...pairs].map(([tensor, { a, b }]): GgufPair => {
        const turns = paired && /attn_[qk]\.weight$/.test(tensor);
        const high = turns ? byTurns(valuesOf(b), b.rows, headDim) : valuesOf(b);
        return { name: tensor, a: { ...a, values: valuesOf(a) }, b: { ...b, values: high } };
      });
      const arch = (await openCheckpoint(gguf)).metadata.string("general.architecture")!;
      const adapter = await writeGgufAdapter(join(folder, `${name}-a.gguf`), arch, 8, made);
      const last = (rows: readonly Float32Array[]) => rows.slice(-fixture.rows[0]);
      const ours = new Map<string, Float32Array[]>();
      for (const [model, adapters, ways] of [
        [gguf, peft, ["a", "b", "ab"]],
        [gguf, [adapter, peft[1]!], ["a", "ab"]],
        [source, [adapter, peft[1]!], ["a", "ab"]],
      ] as const) {
        const bound = await openAdapted(model, adapters);
        for (const which of ways) {
          const scales = [which.includes("a") ? 1 : 0, which.includes("b") ? 1 : 0];
          const [rows] = await logitsOf(bound, base.ids, [scales]);
          const kl = meanKl(expectedLogits(fixture, which, "values"), last(rows!));
          assert.ok(kl >= -1e-9 && kl < 1e-6, `${which}: KL ${kl}`);
          if (model === gguf && adapters[0] === adapter) ours.set(which, rows!);
        }
        bound.close();
      }
      if (peer === undefined) return t.diagnostic("llama.cpp is not installed: run scripts/fetch-peer.mjs");
      // llama.cpp multiplies with fused projections as they are: a pair of a part has no tensor there.
      if (!paired && name !== "qwen3") return;
      const lora = [{ filePath: adapter, scale: 1 }];
      await peer.load({ path: gguf, threads: 2, contextTokens: 512, batch: 512, flashAttention: false, lora });
      const theirs = await peer.logProbabilities(base.ids, join(folder, "peer.f32"));
      await peer.ask("unload");
      const kl = klOfLogs(theirs, ours.get("a")!.map(logSoftmax));
      t.diagnostic(`llama.cpp: KL ${kl.toExponential(2)}`);
      assert.ok(kl >= -1e-9 && kl < 1e-6, `llama.cpp: KL ${kl}`);
      const plain = await openAdapted(gguf, []);
      const [without] = await logitsOf(plain, base.ids, [[]]);
      plain.close();
      assert.ok(klOfLogs(theirs, without!.map(logSoftmax)) > 0.01, "llama.cpp did not use the adapter");
    });
});
