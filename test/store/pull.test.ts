/** Fetching from a hub of this machine that cuts connections, lies, refuses and changes its mind. */
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, beforeEach, test } from "node:test";
import { openCheckpoint } from "../../src/containers/index.js";
import { HundredweightError } from "../../src/errors.js";
import { packageRoot } from "../../src/package-root.js";
import type { Surroundings } from "../../src/store/local/places.js";
import { modelFile } from "../../src/store/model-word.js";
import type { Preview } from "../../src/store/pull/preview-types.js";
import { type Pulled, type PullOptions, pull } from "../../src/store/pull/pull.js";
import { readFixture, writeFolder } from "../huggingface/folder.js";
import { sha256, TestHub } from "./test-hub.js";

const demo = readFileSync(join(packageRoot(), "models", "demo.gguf"));
const partBytes = 2 ** 20;
/** Three whole parts and some bytes. */
const large = randomBytes(3 * partBytes + 12_345);
const root = mkdtempSync(join(tmpdir(), "hw-pull-"));
after(() => rmSync(root, { recursive: true, force: true }));

let hub: TestHub;
let home: string;
let system: Surroundings;
beforeEach(async () => {
  hub = await TestHub.start();
  home = mkdtempSync(join(root, "home-"));
  system = {
    env: { HF_ENDPOINT: hub.address, HF_TOKEN: "hf_secret", HUNDREDWEIGHT_MODELS: join(home, "models") },
    platform: process.platform,
    home,
  };
  hub.add("org/tiny-GGUF", "tiny-Q4_K_M.gguf", demo);
  hub.add("org/tiny-GGUF", "tiny-Q8_0.gguf", Buffer.concat([demo, Buffer.alloc(32)]));
  hub.add("org/tiny-GGUF", "README.md", Buffer.from("hello"));
  hub.add("org/tiny-GGUF", "mmproj-F16.gguf", Buffer.alloc(2000));
  hub.add("org/large", "large.gguf", large);
});
afterEach(() => hub.stop());

const quick = { backOffMs: 1, stallMs: 5000, tries: 4 };
const fetchIt = async (word: string, options: Partial<PullOptions> = {}): Promise<Pulled> => {
  const signal = options.signal ?? new AbortController().signal;
  return (await pull(word, { patience: quick, partBytes, noPlan: true, ...options, signal, system }))!;
};
const ofLarge = (): string => join(home, "models", "org", "large", "large.gguf");
const refused = (code: string, message: RegExp) => (error: unknown) => {
  assert.ok(error instanceof HundredweightError, String(error));
  assert.equal(error.code, code, error.message);
  assert.match(error.message, message);
  return true;
};

test("a quantization, the usual one, and the plan before", async () => {
  const planned: string[] = [];
  const pulled = await fetchIt("org/tiny-GGUF", {
    noPlan: false,
    onPlan: (model, plans) => {
      // Nothing has been fetched yet.
      assert.equal(existsSync(join(home, "models", "org")), false);
      planned.push(`${model.tag} ${plans[0]!.strategy} ${plans[0]!.bytes}`);
      assert.ok(plans[0]!.secondsPerToken! > 0);
    },
  });
  assert.deepEqual(planned, [`Q4_K_M resident ${demo.length}`]);
  assert.equal(pulled.tag, "Q4_K_M");
  assert.deepEqual(readFileSync(pulled.path), demo);
  assert.equal((await fetchIt("hf.co/org/tiny-GGUF:q8_0")).bytes, demo.length + 32);
  await assert.rejects(fetchIt("org/tiny-GGUF:Q2_K"), refused("HUB_REFUSED", /has no 'Q2_K'; it has Q4_K_M, Q8_0$/));
});

test("many parts, by addresses of every kind, to the same bytes", async () => {
  for (const word of ["org/large", "org/large:large.gguf", `${hub.address}/org/large/blob/main/large.gguf`]) {
    rmSync(join(home, "models"), { recursive: true, force: true });
    const pulled = await fetchIt(word);
    assert.equal(sha256(readFileSync(pulled.path)), sha256(large));
    assert.deepEqual(readdirSync(join(home, "models", "org", "large", ".hundredweight")).sort(), [
      "large.gguf.lock",
      "large.json",
    ]);
  }
  // Whatever has no hash is taken as it comes, unless one is given.
  const plain = `${hub.cdnAddress}/org/large/x/large.gguf`;
  assert.equal(sha256(readFileSync((await fetchIt(plain)).path)), sha256(large));
  await assert.rejects(fetchIt(plain, { sha256: "0".repeat(64) }), refused("CHECKSUM_WRONG", /0{64} was announced/));
});

test("a file that a repository of a longer name has already", async () => {
  hub.add("org/large-copy", "large.gguf", large);
  const copy = await fetchIt("org/large-copy");
  assert.equal((await fetchIt("org/large")).path, copy.path);
  assert.equal(modelFile("org/large", system), copy.path);
});

test("connections that are cut, again and again", async () => {
  hub.faults.cutAfter = 200_000;
  const pulled = await fetchIt("org/large");
  assert.equal(sha256(readFileSync(pulled.path)), sha256(large));
  assert.ok(hub.requests.filter(({ server }) => server === "cdn").length > 15);
});

test("a server that always cuts before anything came is given up, and what came before is kept", async () => {
  hub.faults.cutAfter = 100;
  await assert.rejects(fetchIt("org/large"), refused("NETWORK_FAILED", /breaks off the connection; what has been/));
  assert.equal(existsSync(ofLarge()), false);
  delete hub.faults.cutAfter;
  assert.equal(sha256(readFileSync((await fetchIt("org/large")).path)), sha256(large));
});

test("a server without ranges, and one that cuts as well", async () => {
  hub.faults.ranges = "ignored";
  assert.equal(sha256(readFileSync((await fetchIt("org/large")).path)), sha256(large));
  rmSync(join(home, "models"), { recursive: true });
  hub.faults.cutAfter = 1_500_000;
  hub.faults.cuts = 2;
  assert.equal(sha256(readFileSync((await fetchIt("org/large")).path)), sha256(large));
});

test("ranges that are not those asked for", async () => {
  hub.faults.ranges = "shifted";
  await assert.rejects(fetchIt("org/large"), refused("NETWORK_FAILED", /was asked for bytes \d+-\d+ of 3158073 and/));
  hub.faults.ranges = "packed";
  await assert.rejects(fetchIt("org/large"), refused("NETWORK_FAILED", /sends it packed \(gzip\)/));
  // Less than was asked for, told truly: the rest is asked for.
  hub.faults.ranges = "short";
  assert.equal(sha256(readFileSync((await fetchIt("org/large")).path)), sha256(large));
  rmSync(join(home, "models"), { recursive: true });
  // Other bytes than it says: only the hash tells.
  hub.faults.ranges = "lying";
  await assert.rejects(fetchIt("org/large"), refused("CHECKSUM_WRONG", /; it is deleted, fetch it again$/));
  assert.deepEqual(readdirSync(join(home, "models", "org", "large")), [".hundredweight"]);
  assert.deepEqual(readdirSync(join(home, "models", "org", "large", ".hundredweight")), ["large.gguf.lock"]);
});

test("a wrong announcement is never used", async () => {
  hub.announced.set("large.gguf", "0".repeat(64));
  await assert.rejects(fetchIt("org/large"), refused("CHECKSUM_WRONG", new RegExp(`${sha256(large)}`)));
  assert.equal(existsSync(ofLarge()), false);
});

test("429: the server's wish is kept, and a long one is told", async () => {
  Object.assign(hub.faults, { status: 429, times: 2, headers: { "retry-after": "1" } });
  const began = performance.now();
  assert.equal(sha256(readFileSync((await fetchIt("org/large")).path)), sha256(large));
  assert.ok(performance.now() - began > 1000);
  rmSync(join(home, "models"), { recursive: true });
  Object.assign(hub.faults, { status: 429, times: 1000, headers: { "retry-after": "3600" } });
  await assert.rejects(fetchIt("org/large"), refused("HUB_REFUSED", /too many requests \(429\): try again in 3600 s/));
  Object.assign(hub.faults, { status: 503, headers: {} });
  await assert.rejects(fetchIt("org/large"), refused("NETWORK_FAILED", /the server has a fault \(503\)/));
});

test("silence is given up", async () => {
  hub.faults.silent = true;
  const patience = { ...quick, stallMs: 200 };
  await assert.rejects(fetchIt("org/large", { patience }), refused("NETWORK_FAILED", /sends nothing for 0.2 s/));
});

test("a file that changes is begun again, one that goes on changing is an error", async () => {
  // The same name and size with other bytes, as a repository is written to meanwhile; its hash is not known here.
  const other = randomBytes(large.length);
  const plain = `${hub.cdnAddress}/org/large/x/large.gguf`;
  Object.assign(hub.faults, { changeAfter: 3, changeTo: other });
  const notes: string[] = [];
  const pulled = await fetchIt(plain, { onNote: (note) => notes.push(note), connections: 1 });
  assert.equal(sha256(readFileSync(pulled.path)), sha256(other));
  assert.deepEqual(notes, ["large.gguf changed on the server: beginning again"]);
  hub.faults.restless = true;
  rmSync(join(home, "models"), { recursive: true });
  for (const word of [plain, "org/large"])
    await assert.rejects(fetchIt(word), refused("MODEL_CHANGED", /it changes on the server while it is fetched/));
  assert.equal(existsSync(ofLarge()), false);
});

test("a repository without GGUF files is fetched as a folder", async () => {
  const files: Record<string, Buffer> = {
    "config.json": Buffer.from('{"model_type":"llama"}'),
    "tokenizer.json": Buffer.from("{}".padEnd(5000)),
    "model-00001-of-00002.safetensors": randomBytes(3000),
    "model-00002-of-00002.safetensors": randomBytes(4000),
    "model.safetensors.index.json": Buffer.from("{}"),
  };
  for (const [path, bytes] of Object.entries(files)) hub.add("org/folder", path, bytes);
  hub.add("org/folder", "pytorch_model.bin", randomBytes(2000));
  hub.add("org/folder", ".gitattributes", Buffer.from("x"));
  const pulled = await fetchIt("org/folder");
  assert.equal(pulled.path, join(home, "models", "org", "folder"));
  assert.deepEqual(readdirSync(pulled.path).sort(), [".hundredweight", ...Object.keys(files)].sort());
  for (const [path, bytes] of Object.entries(files)) assert.deepEqual(readFileSync(join(pulled.path, path)), bytes);
  assert.equal(modelFile("org/folder", system), pulled.path);
  // A small file that was changed here is fetched again.
  writeFileSync(join(pulled.path, "config.json"), '{"model_type":"qwen2"}');
  await fetchIt("org/folder");
  assert.deepEqual(readFileSync(join(pulled.path, "config.json")), files["config.json"]);
});

test("gated and missing repositories are explained", async () => {
  await assert.rejects(
    fetchIt("org/none"),
    refused("HUB_REFUSED", /no such model; `hundredweight find WORDS` searches/),
  );
  hub.gated = true;
  hub.token = "hf_other";
  await assert.rejects(
    fetchIt("org/large"),
    refused("HUB_REFUSED", /it is gated, and your account has not been let in/),
  );
  system = { ...system, env: { ...system.env, HF_TOKEN: "" } };
  await assert.rejects(
    fetchIt("org/large"),
    refused("HUB_REFUSED", /accept its conditions at http.*org\/large.*HF_TOKEN/),
  );
  system = { ...system, env: { ...system.env, HF_HUB_OFFLINE: "1" } };
  await assert.rejects(fetchIt("org/large"), refused("HUB_REFUSED", /HF_HUB_OFFLINE is set/));
});

test("the token reaches the hub and nobody else, also not after redirects", async () => {
  hub.gated = true;
  hub.token = "hf_secret";
  await fetchIt("org/large");
  const told = (server: string) => hub.requests.filter((r) => r.server === server).map((r) => r.authorization);
  assert.deepEqual([...new Set(told("hub"))], ["Bearer hf_secret"]);
  assert.deepEqual([...new Set(told("cdn"))], [undefined]);
  assert.ok(told("cdn").length >= 4);
  // Nor by a plain address of another host.
  hub.requests.length = 0;
  await fetchIt(`${hub.cdnAddress}/org/large/x/large.gguf`);
  assert.deepEqual([...new Set(hub.requests.map((r) => r.authorization))], [undefined]);
});

test("redirects to what is no server, and without end", async () => {
  hub.faults.redirect = "file:///etc/passwd";
  await assert.rejects(fetchIt("org/large"), refused("NETWORK_FAILED", /redirects to 'file:/));
  hub.faults.redirect = `${hub.address}/org/large/resolve/main/large.gguf`;
  await assert.rejects(fetchIt("org/large"), refused("NETWORK_FAILED", /redirects go on and on/));
});

test("names of a hub that leave their folder are refused", async () => {
  for (const [i, path] of [
    "../x.gguf",
    "a/../../x.gguf",
    "/x.gguf",
    "c:\\x.gguf",
    "a\u0000.gguf",
    "con.gguf",
  ].entries()) {
    hub.add(`org/evil${i}`, path, randomBytes(2000));
    await assert.rejects(fetchIt(`org/evil${i}`), refused("NETWORK_FAILED", /may not be written/));
  }
  assert.equal(existsSync(join(home, "models", "org", "evil0")), false);
});

test("what lies on this computer is not fetched again", async () => {
  const blobs = join(home, ".cache", "huggingface", "hub", "models--other--copy", "blobs");
  const snapshot = join(blobs, "..", "snapshots", "abc");
  mkdirSync(blobs, { recursive: true });
  mkdirSync(snapshot, { recursive: true });
  writeFileSync(join(blobs, sha256(large)), large);
  const { symlinkSync } = await import("node:fs");
  symlinkSync(join("..", "..", "blobs", sha256(large)), join(snapshot, "large.gguf"));
  const pulled = await fetchIt("org/large");
  assert.equal(pulled.foundBytes, large.length);
  assert.equal(hub.requests.filter(({ server }) => server === "cdn").length, 0);
  assert.equal(pulled.path, join(snapshot, "large.gguf"));
  // A blob that only has the name of the right one is seen through.
  writeFileSync(join(blobs, sha256(large)), randomBytes(large.length));
  rmSync(join(home, "models"), { recursive: true });
  const fetched = await fetchIt("org/large");
  assert.equal(fetched.foundBytes, 0);
  assert.equal(createHash("sha256").update(readFileSync(fetched.path)).digest("hex"), sha256(large));
  // And the second time nothing is fetched at all.
  hub.requests.length = 0;
  assert.equal((await fetchIt("org/large")).foundBytes, large.length);
  assert.equal(hub.requests.filter(({ server }) => server === "cdn").length, 0);
});

test("stopped and gone on", async () => {
  const controller = new AbortController();
  hub.faults.rate = 4e6;
  const stopped = fetchIt("org/large", {
    signal: controller.signal,
    onProgress: ({ doneBytes }) => {
      if (doneBytes > 1.5 * partBytes) controller.abort();
    },
    connections: 1,
  });
  await assert.rejects(stopped, refused("CANCELLED", /stopped by the caller/));
  delete hub.faults.rate;
  hub.requests.length = 0;
  assert.equal(sha256(readFileSync((await fetchIt("org/large")).path)), sha256(large));
  assert.equal(hub.requests.filter(({ server }) => server === "cdn").length, 3);
});

test("the plan of a folder of safetensors comes from its headers", async () => {
  const folder = mkdtempSync(join(root, "folder-"));
  const made = writeFolder(folder, readFixture("llama"), "F32", 2);
  for (const path of readdirSync(made)) hub.add("org/real", path, readFileSync(join(made, path)));
  let plan: Preview | undefined;
  const pulled = await fetchIt("org/real", {
    noPlan: false,
    onPlan: (_, plans) => {
      plan = plans[0];
    },
  });
  assert.equal(plan!.fault, undefined);
  assert.equal(plan!.strategy, "resident");
  assert.ok((await openCheckpoint(pulled.path)).tensors.size > 0);
});
