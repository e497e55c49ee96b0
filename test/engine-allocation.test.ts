/** The token loop allocates nothing native and leaves next to nothing on the heap. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { Engine } from "../src/engine/engine.js";
import { openParts } from "../src/engine/open.js";
import type { GenerateRequest, MemoryReport } from "../src/link/protocol.js";
import { addonStatus } from "../src/native/addon.js";
import { defaultSampling } from "../src/sampling/chain.js";
import { makeTinyModel } from "../src/synth/tiny.js";

const folder = mkdtempSync(join(tmpdir(), "hw-allocation-"));
after(() => rmSync(folder, { recursive: true }));

const skip =
  addonStatus().state === "loaded" ? false : `SKIPPED: ${addonStatus().reason}; the reference allocates freely`;

test("1,000 tokens: no native allocation, under 4 KiB of heap growth a token", { skip }, async () => {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  const path = join(folder, "tiny.gguf");
  await makeTinyModel(path, "llama");
  const engine = new Engine(await openParts(path, { contextTokens: 1200, chunkRows: 64 }));
  const heap = (): number => {
    collect();
    const { heapUsed, arrayBuffers } = process.memoryUsage();
    return heapUsed + arrayBuffers;
  };
  const memory = async (id: number): Promise<MemoryReport> => {
    const result = await engine.submit(id, { kind: "memory" });
    assert.ok(result.kind === "memory");
    return result.memory;
  };
  const generate = async (id: number, maxTokens: number): Promise<number> => {
    const request: GenerateRequest = {
      kind: "generate",
      prompt: { kind: "text", text: "the cat" },
      sampling: { ...defaultSampling, seed: 3, repeatPenalty: 1.1 },
      maxTokens,
      stop: ["a text that random weights do not write"],
      ignoreEos: true,
    };
    let tokens = 0;
    await engine.submit(id, request, (event) => {
      if (event.kind === "token") tokens++;
    });
    return tokens;
  };
  try {
    assert.equal(await generate(1, 100), 100);
    const before = { heap: heap(), memory: await memory(2) };
    assert.equal(await generate(3, 1000), 1000);
    const grown = heap() - before.heap;
    const now = await memory(4);
    assert.equal(now.allocations, before.memory.allocations);
    assert.equal(now.activationBytes, before.memory.activationBytes);
    assert.equal(now.kvBytes, before.memory.kvBytes);
    assert.ok(grown < 1000 * 4096, `${grown} bytes`);
  } finally {
    await engine.close();
  }
});
