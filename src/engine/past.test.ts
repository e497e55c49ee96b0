/**
 * An engine goes on with what another one left on the disk: the same tokens, sooner. Whatever happens to the
 * files, no answer changes.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { writeRandomModel } from "../../test/support/random-model.js";
import { exited, firstOf } from "../../test/support/wait.js";
import { defaultSampling } from "../sampling/chain.js";
import { seededWords } from "../synth/random.js";
import { Engine } from "./engine.js";
import type { GenerateRequest, JobEvent, SamplerState } from "./jobs.js";
import { openParts } from "./open.js";
import type { EngineOptions } from "./options.js";

const folder = mkdtempSync(join(tmpdir(), "hundredweight-past-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const words = seededWords(5, "past");
const promptTokens = 900;
const prompt = Int32Array.from({ length: promptTokens }, () => words() % 256);

const request = (more: Partial<GenerateRequest> = {}, tokens = prompt): GenerateRequest => ({
  kind: "generate",
  prompt: { kind: "tokens", tokens },
  sampling: { ...defaultSampling, seed: 3, temperature: 0.9 },
  maxTokens: 12,
  stop: [],
  ignoreEos: true,
  ...more,
});

interface Made {
  readonly ids: readonly number[];
  readonly reused: number;
  readonly told: number;
}

/** Opens an engine, answers in turn, closes it. */
async function answers(
  path: string,
  store: string | undefined,
  asked: readonly GenerateRequest[],
  more: EngineOptions = {},
) {
  const options: EngineOptions = {
    contextTokens: 2048,
    chunkRows: 128,
    threads: 1,
    checkpointBytes: 2 ** 24,
    ...(store !== undefined && { pastStore: { folder: store } }),
    ...more,
  };
  const engine = new Engine(await openParts(path, options));
  const made: Made[] = [];
  try {
    for (const [i, one] of asked.entries()) {
      const ids: number[] = [];
      let told = 0;
      const result = await engine.submit(i + 1, one, (event: JobEvent) => {
        if (event.kind === "token") ids.push(event.id);
        if (event.kind === "prefix") told = event.reused;
      });
      assert.ok(result.kind === "generate");
      made.push({ ids, reused: result.reusedTokens, told });
    }
  } finally {
    await engine.close();
  }
  return made;
}

const filesOf = (store: string): string[] =>
  existsSync(store)
    ? readdirSync(store, { recursive: true })
        .map((name) => join(store, String(name)))
        .filter((path) => /[ps]\d+-\d+-[0-9a-f]{40}$/.test(path))
        .sort()
    : [];

type Shape = readonly [arch: string, variant: string];

async function modelOf(arch: string, variant: string): Promise<string> {
  const path = join(folder, `${arch}-${variant}.gguf`);
  if (!existsSync(path)) await writeRandomModel(path, { arch, variant, dims: 64, types: {}, seed: 7 });
  return path;
}

let stores = 0;
const freshStore = (): string => join(folder, `store-${++stores}`);

/** Positions of which nothing is needed but pages; whatever else a model keeps is there at checkpoints only. */
const plain: Shape = ["llama", "dense"];
const windowed: Shape = ["gemma3", "dense"];
const latent: Shape = ["deepseek2", "v2-lite"];
const recurrent: Shape = ["qwen35", "dense"];
const compressed: Shape = ["deepseek4", "flash"];

// Keys and values, a window, latent vectors, states that are replaced, both with experts, rows of several positions.
for (const [arch, variant, least] of [
  [...plain, 899],
  [...windowed, 768],
  [...latent, 899],
  [...recurrent, 896],
  [...compressed, 896],
] as const)
  test(`${arch} ${variant}: the next engine goes on where this one was, with the same tokens`, async () => {
    const path = await modelOf(arch, variant);
    const [alone] = await answers(path, undefined, [request()]);
    const store = freshStore();
    const [first] = await answers(path, store, [request()]);
    assert.deepEqual(first, alone);
    assert.ok(filesOf(store).length > 0);
    const [second, again] = await answers(path, store, [request(), request()]);
    assert.deepEqual(second!.ids, alone!.ids);
    assert.ok(second!.reused >= least, `${second!.reused} tokens were there`);
    assert.equal(second!.told, second!.reused);
    assert.deepEqual(again!.ids, alone!.ids);
  });

test("what the store holds is its user's alone, and of this model, these adapters, this KV type", async () => {
  const path = await modelOf(...plain);
  const store = freshStore();
  await answers(path, store, [request()]);
  if (process.platform !== "win32") {
    for (const file of filesOf(store)) assert.equal(statSync(file).mode & 0o777, 0o600);
    assert.equal(statSync(store).mode & 0o777, 0o700);
  }
  const [scoped] = await answers(path, store, [request({ scope: "another key" })]);
  assert.equal(scoped!.reused, 0);
  const [again] = await answers(path, store, [request({ scope: "another key" })]);
  assert.equal(again!.reused, promptTokens - 1);
  assert.equal((await answers(path, store, [request()], { kvType: "q8_0" }))[0]!.reused, 0);
  assert.equal((await answers(path, store, [request()]))[0]!.reused, promptTokens - 1);
  // The same file, written again.
  writeFileSync(path, readFileSync(path));
  assert.equal((await answers(path, store, [request()]))[0]!.reused, 0);
});

test("a page that is begun serves what begins like it, and one file of it is enough", async () => {
  const path = await modelOf(...plain);
  const store = freshStore();
  await answers(path, store, [request()]);
  const pages = (): number[] => filesOf(store).map((file) => Number(/p(\d+)-/.exec(file)![1]));
  // With the answer, whose last token was not evaluated.
  assert.deepEqual(
    pages().toSorted((a, b) => a - b),
    [256, 512, 768, promptTokens + 11],
  );
  const other = prompt.map((token, i) => (i < 800 ? token : (token + 1) % 256));
  const [alone] = await answers(path, undefined, [request({}, other)]);
  const [made] = await answers(path, store, [request({}, other)]);
  assert.equal(made!.reused, 800);
  assert.deepEqual(made!.ids, alone!.ids);
  // An answer that fills the page and begins the next.
  const [long] = await answers(path, store, [request({ maxTokens: 200 })]);
  assert.equal(long!.reused, promptTokens - 1);
  assert.equal(pages().filter((end) => end > 768).length, 3, "two ends of the second page, one of the third");
});

test("a flipped bit is found, and what it was in is evaluated again", async () => {
  for (const [arch, variant] of [plain, recurrent]) {
    const path = await modelOf(arch, variant);
    const store = freshStore();
    const [alone] = await answers(path, store, [request()]);
    const files = filesOf(store);
    const whole = files.map((file) => readFileSync(file));
    for (const [i, bytes] of whole.entries()) {
      // Cut off, its header, what it holds, its checksums.
      for (const at of i === 0 ? [3, 20, 4096 + (words() % 4096), bytes.length - 6] : [5000 + i]) {
        const other = Buffer.from(bytes);
        other[at] = other[at]! ^ (1 << (words() % 8));
        writeFileSync(files[i]!, at === 3 ? bytes.subarray(0, bytes.length >> 1) : other);
        const [made] = await answers(path, store, [request()]);
        assert.deepEqual(made!.ids, alone!.ids);
        assert.ok(made!.reused < 899, "what is damaged was used");
        // Pages have the same bytes then; one that is only begun may hold something else behind its rows.
        const written = readFileSync(files[i]!);
        assert.equal(written.length, bytes.length);
        if (Number(/p(\d+)-/.exec(files[i]!)?.[1]) % 256 === 0)
          assert.ok(written.equals(bytes), "it was written once more, with other bytes");
      }
    }
    assert.ok((await answers(path, store, [request()]))[0]!.reused >= 768);
  }
});

test("where nothing can be written one warning is told and answers go on", async () => {
  const path = await modelOf(...plain);
  const file = join(folder, "no-folder");
  writeFileSync(file, "");
  const parts = await openParts(path, { contextTokens: 2048, chunkRows: 128, threads: 1, pastStore: { folder: file } });
  const warnings: string[] = [];
  const engine = new Engine({ ...parts, past: { ...parts.past!, warn: (text) => warnings.push(text) } });
  const [alone] = await answers(path, undefined, [request()]);
  for (const id of [1, 2, 3]) {
    const ids: number[] = [];
    const other = prompt.map((token, i) => (i === 0 ? token + id - 1 : token));
    await engine.submit(id, request({}, id === 1 ? prompt : other), (e) => e.kind === "token" && ids.push(e.id));
    if (id === 1) assert.deepEqual(ids, alone!.ids);
    await sleep(20);
  }
  await engine.close();
  assert.equal(warnings.length, 1);
  assert.match(warnings[0]!, /not kept on the disk any more/);
});

test("a budget is kept: what is old goes, and of one past its end", async () => {
  const path = await modelOf(...plain);
  const store = freshStore();
  await answers(path, store, [request()]);
  const bytes = filesOf(store).reduce((sum, file) => sum + statSync(file).size, 0);
  const budgetBytes = Math.ceil((bytes * 5) / 3);
  const other = prompt.map((token) => (token + 1) % 256);
  const made = await answers(path, store, [request({}, other)], { pastStore: { folder: store, budgetBytes } });
  assert.equal(made[0]!.reused, 0);
  assert.ok(filesOf(store).reduce((sum, file) => sum + statSync(file).size, 0) <= budgetBytes);
  const [old] = await answers(path, undefined, [request()]);
  const [found] = await answers(path, store, [request()], { pastStore: { folder: store, budgetBytes } });
  assert.deepEqual(found!.ids, old!.ids);
  assert.equal(found!.reused, 512, "its end went first");
});

/** Kills an engine that answers and writes, at moments from its first pass on. */
test("killed at any moment, the store is readable and no token is another", async () => {
  const kills = Number(process.env.HUNDREDWEIGHT_KILLS ?? 2);
  for (const [arch, variant] of [plain, recurrent]) {
    const path = await modelOf(arch, variant);
    const store = freshStore();
    const child = fileURLToPath(new URL("../../test/support/past-child.js", import.meta.url));
    for (let kill = 0; kill < kills; kill++) {
      const asked = prompt.map((token) => (token + kill) % 256);
      const running = spawn(process.execPath, [child, path, store, asked.join()], {
        stdio: ["ignore", "pipe", "pipe"],
      });
      await firstOf(running, "data");
      await sleep((kill * 60) / kills + (words() % 8));
      running.kill("SIGKILL");
      await exited(running);
      const [alone] = await answers(path, undefined, [request({}, asked)]);
      const [first, second] = [
        (await answers(path, store, [request({}, asked)]))[0]!,
        (await answers(path, store, [request({}, asked)]))[0]!,
      ];
      assert.deepEqual(first.ids, alone!.ids);
      assert.deepEqual(second.ids, alone!.ids);
      assert.ok(second.reused >= 768);
    }
    assert.equal(readdirSync(join(store, readdirSync(store)[0]!)).filter((name) => name.startsWith("tmp-")).length, 0);
  }
});

test("a session that was saved goes on in another engine as if nothing had been between", async () => {
  for (const [arch, variant] of [plain, windowed, latent, recurrent]) {
    const path = await modelOf(arch, variant);
    const file = join(folder, `${arch}.session`);
    const options: EngineOptions = { contextTokens: 2048, chunkRows: 128, threads: 1, checkpointBytes: 2 ** 22 };
    const sampled = { ...defaultSampling, seed: 9, temperature: 1.2, mirostat: 2 as const };
    const ask = async (engine: Engine, id: number, more: Partial<GenerateRequest>) => {
      const ids: number[] = [];
      let sampler: SamplerState | undefined;
      const result = await engine.submit(id, request({ sampling: sampled, resumable: true, ...more }), (e) => {
        if (e.kind !== "token") return;
        ids.push(e.id);
        if (e.sampler !== undefined) sampler = e.sampler;
      });
      assert.ok(result.kind === "generate");
      return { ids, sampler: sampler!, reused: result.reusedTokens };
    };
    const one = new Engine(await openParts(path, options));
    const whole = await ask(one, 1, { maxTokens: 84 });
    await one.close();
    const two = new Engine(await openParts(path, options));
    const first = await ask(two, 1, { maxTokens: 20 });
    const tokens = Int32Array.of(...prompt, ...first.ids);
    const saved = await two.submit(2, { kind: "saveSession", path: file, tokens, about: "mine" });
    await two.close();
    assert.ok(saved.kind === "saveSession" && saved.positions === tokens.length - 1, arch);
    const three = new Engine(await openParts(path, options));
    const loaded = await three.submit(1, { kind: "loadSession", path: file });
    assert.ok(loaded.kind === "loadSession" && loaded.about === "mine" && loaded.positions === tokens.length - 1);
    assert.deepEqual(loaded.tokens, tokens);
    const rest = await ask(three, 2, {
      prompt: { kind: "tokens", tokens },
      maxTokens: 64,
      resume: { tokens: first.ids.length, sampler: first.sampler },
    });
    await three.close();
    assert.equal(rest.reused, tokens.length - 1);
    assert.deepEqual([...first.ids, ...rest.ids], whole.ids, arch);
  }
  const file = join(folder, "llama.session");
  for (const [path, more] of [
    [await modelOf(...windowed), {}],
    [await modelOf(...plain), { kvType: "q8_0" }],
    [await modelOf("llama", "tied-biased"), {}],
  ] as const) {
    const other = new Engine(await openParts(path, { contextTokens: 2048, threads: 1, ...more }));
    await assert.rejects(other.submit(1, { kind: "loadSession", path: file }), { code: "SESSION_MISFIT" });
    const damaged = readFileSync(file);
    damaged[damaged.length >> 1]! ^= 4;
    writeFileSync(`${file}.damaged`, damaged);
    await other.close();
  }
  const same = new Engine(await openParts(await modelOf(...plain), { contextTokens: 2048, threads: 1 }));
  await assert.rejects(same.submit(1, { kind: "loadSession", path: `${file}.damaged` }), { code: "FORMAT_INVALID" });
  await assert.rejects(same.submit(1, { kind: "loadSession", path: `${file}.none` }), { code: "FILE_NOT_FOUND" });
  await same.close();
});

test("a session of the same weights with another vocabulary is refused, whatever else is alike", async () => {
  const path = await modelOf(...plain);
  const bytes = readFileSync(path);
  // A token of the same length: sizes, places and weights stay.
  const at = bytes.indexOf("<|user|>");
  assert.ok(at > 0);
  bytes.write("<|human>", at);
  const other = join(folder, "vocabulary.gguf");
  writeFileSync(other, bytes);
  const file = join(folder, "vocabulary.session");
  const options = { contextTokens: 2048, threads: 1 };
  const engine = new Engine(await openParts(path, options));
  await engine.submit(1, { kind: "saveSession", path: file, tokens: Int32Array.of(1, 2, 3), about: "" });
  assert.equal((await engine.submit(2, { kind: "loadSession", path: file })).kind, "loadSession");
  await engine.close();
  const changed = new Engine(await openParts(other, options));
  await assert.rejects(changed.submit(1, { kind: "loadSession", path: file }), {
    code: "SESSION_MISFIT",
    message: /another vocabulary/,
  });
  await changed.close();
});
