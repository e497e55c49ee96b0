/** Experts that add least go, and llama.cpp reads what is left as we do. */
import assert from "node:assert/strict";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { fitRidge, solveRidge } from "../src/compress/ridge.js";
import { openGguf } from "../src/formats/index.js";
import { describeModel, type ExpertListener, expertLayers, withExpertTaps } from "../src/models/index.js";
import { gluValue } from "../src/ops/reference-math.js";
import { pruneExperts } from "../src/quality/prune/experts/prune.js";
import { expertReader, expertSaliency } from "../src/quality/prune/experts/saliency.js";
import { visit } from "../src/quality/prune/visit.js";
import { compareModels } from "../src/quality/quality.js";
import { ScoredModel } from "../src/quality/scored-model.js";
import { makeTinyModel } from "../src/synth/tiny.js";
import { skipAddon } from "./support/addon.js";
import { klOfLogs, logSoftmax, randomTokens } from "./support/evaluate.js";
import { logitsOf } from "./support/logits-of.js";
import { openPeer } from "./support/peer.js";
import { wholeSweeps } from "./support/sweeps.js";

const folder = mkdtempSync(join(tmpdir(), "hundredweight-prune-experts-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const chunkTokens = 64;
const options = { chunkTokens, threads: 2 };
const file = (name: string): string => join(folder, `${name}.gguf`);

async function tiny(arch: string, of: Parameters<typeof makeTinyModel>[2] = {}) {
  const path = file(`${arch}-${JSON.stringify(of).replace(/\W+/g, "-")}`);
  const overrides = { block_count: 2, ...of.overrides };
  const { vocab } = await makeTinyModel(path, arch, { seed: 3, ...of, overrides });
  const chunks = (first: number, count: number) =>
    Array.from({ length: count }, (_, i) => Int32Array.from(randomTokens(chunkTokens, vocab, first + i)));
  return { path, checkpoint: openGguf(path), chunks };
}

async function divergence(paths: readonly [string, string], chunks: readonly Int32Array[]) {
  const opened = await ScoredModel.openAll(paths.map(openGguf), options);
  const { all } = await compareModels(opened[0]!, opened.slice(1), [{ name: "text", chunks }], { chunkTokens });
  for (const model of opened) model.close();
  return all.models[0]!.kl;
}

describe("pruning experts", { skip: skipAddon }, () => {
  test("scores are means of weights times norms, by plain sums over what the experts read", async () => {
    const { checkpoint, chunks } = await tiny("qwen3moe");
    const text = chunks(1, 1);
    const found = await expertSaliency(checkpoint, text, options);
    const description = describeModel(checkpoint);
    const reader = expertReader(description);
    const sums = new Map<string, { sum: number; count: number }>();
    const listener: ExpertListener = {
      scores: () => {},
      inputs: (layer, rows, { ids, weights, body: { gate, up, down } }) => {
        for (const [slot, expert] of ids.entries()) {
          const x = rows.subarray(Math.floor((slot * rows.length) / ids.length / up.cols) * up.cols);
          const times = (matrix: typeof up, v: ArrayLike<number>) => {
            const values = reader.values(matrix, expert);
            return Float64Array.from({ length: matrix.rows }, (_, row) =>
              values.subarray(row * matrix.cols, (row + 1) * matrix.cols).reduce((sum, w, i) => sum + w * v[i]!, 0),
            );
          };
          const [g, u] = [times(gate!, x), times(up, x)];
          const out = times(
            down,
            g.map((v, i) => gluValue("silu", v, u[i]!)),
          );
          const into = sums.get(`${layer} ${expert}`) ?? { sum: 0, count: 0 };
          into.sum += weights[slot]! * Math.hypot(...out);
          into.count++;
          sums.set(`${layer} ${expert}`, into);
        }
      },
    };
    await visit(checkpoint, text, {
      ...options,
      ops: "reference",
      rewrite: (program) => withExpertTaps(program, listener),
    });
    reader.close();
    assert.deepEqual(
      found.map(({ layer }) => layer),
      [0, 1],
    );
    for (const { layer, scores, tokens } of found)
      for (const [expert, score] of scores.entries()) {
        const { sum = 0, count = 0 } = sums.get(`${layer} ${expert}`) ?? {};
        assert.equal(tokens[expert], count);
        assert.ok(Math.abs(score - sum / Math.max(1, count)) <= 1e-4 * score, `${layer} ${expert}: ${score} ${sum}`);
      }
  });

  test("an expert that nobody chooses goes first, and no bit of a logit changes", async () => {
    const { path, checkpoint, chunks } = await tiny("glm4moe", { variant: "normed", overrides: { block_count: 4 } });
    const refused = 5;
    const handle = openSync(path, "r+");
    const biases = [...checkpoint.tensors.values()].filter(({ name }) => name.endsWith("exp_probs_b.bias"));
    for (const { planes } of biases)
      writeSync(handle, new Uint8Array(Float32Array.of(-9).buffer), 0, 4, planes.blocks![0]!.offset + 4 * refused);
    closeSync(handle);
    const to = file("unchosen");
    const found = await pruneExperts(openGguf(path), chunks(1, 2), to, { ...options, keep: 7, repair: false });
    for (const kept of found.kept.values()) assert.deepEqual([...kept], [0, 1, 2, 3, 4, 6, 7]);
    assert.ok(found.kept.size > 0 && found.blocks === 1);
    const written = openGguf(to);
    assert.equal(written.metadata.number("glm4moe.expert_count"), 7);
    assert.equal(written.metadata.number("glm4moe.nextn_predict_layers"), 0);
    assert.ok(![...written.tensors.keys()].some((name) => name.includes("nextn")));
    assert.equal((await divergence([path, to], chunks(9, 2))).largest, 0);
  });

  test("what stays makes good a part of what went, whatever memory there is", async () => {
    const { path, checkpoint, chunks } = await tiny("qwen3moe");
    const [seen, unseen] = [chunks(1, 16), chunks(90, 4)];
    const to = (name: string) => file(`fitted-${name}`);
    const { saliency } = await pruneExperts(checkpoint, seen, to("no"), { ...options, keep: 5, repair: false });
    const fit = { ...options, keep: 5, repair: true, saliency };
    await pruneExperts(checkpoint, seen, to("yes"), fit);
    await pruneExperts(checkpoint, seen, to("layers"), { ...fit, rowBytes: 1, threads: 1 });
    assert.ok(readFileSync(to("yes")).equals(readFileSync(to("layers"))), "bytes depend on memory or threads");
    const [cut, fitted] = [await divergence([path, to("no")], unseen), await divergence([path, to("yes")], unseen)];
    assert.ok(fitted.mean < 0.85 * cut.mean, `${fitted.mean} ${cut.mean}`);
  });

  test("llama.cpp says of pruned files what we say", async (t) => {
    const peer = openPeer();
    if (peer === undefined) return t.skip("llama.cpp is not installed: run scripts/fetch-peer.mjs");
    try {
      for (const [arch, keep, of] of [
        ["qwen3moe", 5, {}],
        ["glm4moe", 6, { variant: "normed", overrides: { block_count: 4 } }],
        ["deepseek2", 8, { overrides: { expert_count: 16, block_count: 2 } }],
        // Fewer than are chosen: all of them are then.
        ["granitemoe", 2, {}],
        ...(wholeSweeps ? ([["gpt-oss", 6, { dtype: "F16" }]] as const) : []),
      ] as const) {
        const { checkpoint, chunks } = await tiny(arch, of);
        const to = file(`peer-${arch}`);
        const found = await pruneExperts(checkpoint, chunks(1, 2), to, {
          ...options,
          keep,
          repair: arch !== "gpt-oss",
        });
        const ids = [...chunks(50, 1)[0]!.subarray(0, 24)];
        await peer.load({ path: to, threads: 2, contextTokens: 256, batch: 256, flashAttention: false });
        const theirs = await peer.logProbabilities(ids, join(folder, "peer.f32"));
        const ours = await logitsOf(to, ids);
        for (const [i, row] of ours.entries()) {
          const kl = klOfLogs([logSoftmax(row)], [theirs[i]!]);
          assert.ok(kl < 1e-5, `${arch} row ${i}: ${kl}`);
        }
        assert.ok([...found.kept.values()].every(({ length }) => length === keep));
        assert.equal(openGguf(to).metadata.number(`${arch}.expert_used_count`), Math.min(keep, 3));
      }
    } finally {
      peer.close();
    }
  });

  test("what cannot be pruned is refused by name", async () => {
    const { checkpoint, chunks } = await tiny("qwen3moe");
    const refuses = async (model: typeof checkpoint, keep: number, message: RegExp, repair = false) =>
      assert.rejects(pruneExperts(model, chunks(1, 1), file("never"), { ...options, keep, repair }), {
        code: "OPTION_INVALID",
        message,
      });
    await refuses(checkpoint, 8, /8 of 8/);
    await refuses((await tiny("llama", { variant: "dense" })).checkpoint, 2, /no experts/);
    const groups = (await tiny("deepseek2")).checkpoint;
    assert.ok(expertLayers(describeModel(groups).program)[0]!.route.spec.groups !== undefined);
    await refuses(groups, 6, /divide into the 4 groups/);
    await refuses(groups, 4, /too few/);
    await refuses((await tiny("qwen3moe", { dtype: "Q8_0" })).checkpoint, 5, /quantized.*--no-repair/, true);
  });

  test("ridge solutions are those of elimination", () => {
    const n = 24;
    const base = Float64Array.from({ length: 40 * n }, (_, i) => Math.sin(i * i + 1));
    const square = new Float32Array(n * n);
    for (let i = 0; i < n; i++)
      for (let j = 0; j < n; j++)
        for (let t = 0; t < 40; t++) square[i * n + j]! += base[t * n + i]! * base[t * n + j]!;
    const right = Float32Array.from({ length: 2 * n }, (_, i) => Math.cos(3 * i));
    const found = solveRidge(square, n, right, 0.5);
    for (let row = 0; row < 2; row++)
      for (let i = 0; i < n; i++) {
        let sum = 0.5 * found[row * n + i]!;
        for (let j = 0; j < n; j++) sum += square[i * n + j]! * found[row * n + j]!;
        assert.ok(Math.abs(sum - right[row * n + i]!) < 2e-3, `${row} ${i}: ${sum} ${right[row * n + i]}`);
      }
    for (const rows of [9, 40]) {
      const inputs = Float32Array.from(base.subarray(0, rows * n));
      const wanted = Float32Array.from({ length: rows * 2 }, (_, i) => Math.cos(5 * i));
      const made = fitRidge(inputs, n, wanted, 0.3);
      const ridge = (0.3 * inputs.reduce((sum, value) => sum + value * value, 0)) / n;
      // No small change makes it better: the slope along every value is nothing.
      for (const [at, value] of made.entries()) {
        let slope = ridge * value;
        for (let t = 0; t < rows; t++) {
          const x = inputs.subarray(t * n, (t + 1) * n);
          const first = Math.floor(at / n) * n;
          const off = x.reduce((sum, v, i) => sum + v * made[first + i]!, 0) - wanted[t * 2 + first / n]!;
          slope += off * x[at % n]!;
        }
        assert.ok(Math.abs(slope) < 2e-3, `${rows} rows, value ${at}: ${slope}`);
      }
    }
    assert.deepEqual(solveRidge(new Float32Array(4), 2, new Float32Array(2), 0), new Float32Array(2));
  });
});
