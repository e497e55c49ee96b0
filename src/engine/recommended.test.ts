import assert from "node:assert/strict";
import { test } from "node:test";
import { TypedMetadata, type TypedValue } from "../formats/metadata.js";
import { type SamplingSettings, samplerNames } from "../sampling/settings.js";
import { recommendedSampling } from "./recommended.js";

function typed(value: string | number | boolean | bigint): TypedValue {
  if (typeof value === "string") return { type: "string", value };
  if (typeof value === "boolean") return { type: "bool", value };
  return typeof value === "bigint" ? { type: "u64", value } : { type: "f32", value };
}

/** Reads settings from these values of a file. */
function read(values: Record<string, string | number | boolean | bigint>): Partial<SamplingSettings> {
  const entries = Object.entries(values).map(([key, value]) => [`general.sampling.${key}`, typed(value)] as const);
  return recommendedSampling(new TypedMetadata(new Map(entries)));
}

test("every key that llama.cpp writes is taken", () => {
  assert.deepEqual(
    read({
      temp: 0.6,
      top_k: 20,
      top_p: 0.95,
      min_p: 0,
      xtc_probability: 0.5,
      xtc_threshold: 0.2,
      penalty_last_n: -1,
      penalty_repeat: 1.05,
      mirostat: 2,
      mirostat_tau: 4,
      mirostat_eta: 0.2,
      sequence: "top_k;temperature",
    }),
    {
      temperature: 0.6,
      topK: 20,
      topP: 0.95,
      minP: 0,
      xtcProbability: 0.5,
      xtcThreshold: 0.2,
      penaltyLastTokens: -1,
      repeatPenalty: 1.05,
      mirostat: 2,
      mirostatTau: 4,
      mirostatEta: 0.2,
      samplers: ["top_k", "temperature"],
    },
  );
  assert.deepEqual(read({}), {});
});

test("values that no sampler could take are left out, the others count", () => {
  const wrong = {
    temp: -1,
    top_k: 2.5,
    top_p: 1.5,
    min_p: Number.NaN,
    xtc_probability: true,
    penalty_repeat: "1.1",
    penalty_last_n: 2 ** 40,
    mirostat: 3,
    mirostat_tau: Infinity,
    mirostat_eta: 5n,
  };
  assert.deepEqual(read(wrong), {});
  for (const [key, value] of Object.entries(wrong))
    assert.deepEqual(read({ [key]: value, top_k: 7 }), { topK: 7 }, key);
});

test("a sequence counts when all its names are known", () => {
  assert.deepEqual(read({ sequence: samplerNames.join(";") }), { samplers: [...samplerNames] });
  for (const sequence of ["", "top_k;", "top_k;guess", "TOP_K", "top_k;".repeat(5000), 5])
    assert.deepEqual(read({ sequence }), {}, String(sequence).slice(0, 20));
});
