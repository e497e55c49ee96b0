/**
 * Starts llama.cpp (test/peer/llama.mjs) and asks it things. Absent peer: `openPeer` returns undefined, say so aloud.
 */
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { packageRoot } from "../../src/package-root.js";
import { within } from "./wait.js";

export interface PeerLoad {
  readonly path: string;
  readonly threads?: number;
  readonly contextTokens?: number;
  readonly batch?: number;
  readonly sequences?: number;
  readonly mmap?: boolean;
  readonly flashAttention?: boolean;
  readonly vocabOnly?: boolean;
  readonly lora?: readonly { readonly filePath: string; readonly scale: number }[];
}

export class Peer {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #waiting = new Map<number, { resolve: (a: Record<string, unknown>) => void; reject: (e: Error) => void }>();
  #nextId = 1;

  constructor() {
    this.#child = spawn(process.execPath, [join(packageRoot(), "test/peer/llama.mjs")], {
      stdio: ["pipe", "pipe", "pipe"],
    });
    let errors = "";
    this.#child.stderr.on("data", (data: Buffer) => {
      errors = (errors + data.toString()).slice(-2000);
    });
    createInterface({ input: this.#child.stdout }).on("line", (line) => {
      if (!line.startsWith("{")) return;
      const answer = JSON.parse(line) as { id: number; error?: string };
      const waiter = this.#waiting.get(answer.id);
      this.#waiting.delete(answer.id);
      if (answer.error !== undefined) waiter?.reject(new Error(`llama.cpp: ${answer.error}`));
      else waiter?.resolve(answer as unknown as Record<string, unknown>);
    });
    // A question to one that has ended is answered by the same error.
    this.#child.stdin.on("error", () => {});
    this.#child.on("exit", (code) => {
      for (const w of this.#waiting.values()) w.reject(new Error(`llama.cpp process ended (${code}): ${errors}`));
      this.#waiting.clear();
    });
  }

  ask<T>(command: string, request: object = {}): Promise<T> {
    const id = this.#nextId++;
    if (this.#child.exitCode !== null || this.#child.signalCode !== null)
      return Promise.reject(new Error(`llama.cpp process ended before it was asked: ${command}`));
    const answer = new Promise<T>((resolve, reject) => {
      this.#waiting.set(id, { resolve: resolve as (a: Record<string, unknown>) => void, reject });
      this.#child.stdin.write(`${JSON.stringify({ id, command, ...request })}\n`);
    });
    return within(answer, `llama.cpp: ${command}`, () => JSON.stringify(request).slice(0, 300));
  }

  /**
   * Log-probabilities after each of `ids`, divided by their sum: llama.cpp's f32 softmax over a large vocabulary is off
   * by 1e-4. The context must be larger than the ids: at its very end the binding shifts it.
   * @shape [ids][vocab]
   * @param out a file to pass them through
   */
  async logProbabilities(ids: readonly number[], out: string): Promise<Float64Array[]> {
    const { vocab } = await this.ask<{ vocab: number }>("logits", { ids, from: 0, out });
    const all = new Float32Array(new Uint8Array(readFileSync(out)).buffer);
    return ids.map((_, i) => {
      const row = all.subarray(i * vocab, (i + 1) * vocab);
      let sum = 0;
      for (let j = 0; j < vocab; j++) sum += row[j]!;
      // Float64Array.from with a function is an iterator's walk, ten times as long.
      const logs = new Float64Array(vocab);
      for (let j = 0; j < vocab; j++) logs[j] = Math.log(Math.max(row[j]!, 1e-37) / sum);
      return logs;
    });
  }

  load(request: PeerLoad): Promise<{ system: string; vocab: number }> {
    return this.ask("load", request);
  }

  close(): void {
    this.#child.stdin.end();
    this.#child.kill();
  }
}

export function peerInstalled(): boolean {
  return existsSync(join(packageRoot(), ".peer/node_modules/node-llama-cpp/dist/index.js"));
}

/** HUNDREDWEIGHT_REQUIRE_PEER=1 (set by CI once the registry answered) turns a missing peer into a failure. */
export function openPeer(): Peer | undefined {
  if (peerInstalled()) return new Peer();
  if (process.env.HUNDREDWEIGHT_REQUIRE_PEER === "1") throw new Error("the peer is required and not installed");
  return undefined;
}

/** Path of a fetched model (scripts/fetch-peer.mjs), or undefined. `required`: of those that CI fetches. */
export function fetchedModel(file: string, required = true): string | undefined {
  const path = join(packageRoot(), ".models", file);
  if (existsSync(path)) return path;
  if (required && process.env.HUNDREDWEIGHT_REQUIRE_PEER === "1")
    throw new Error(`${file} is required and not fetched`);
  return undefined;
}
