/** Marks a model: hashes of its files and adapters, and options that change tokens, for machines to compare. */
import { createHash } from "node:crypto";
import { closeSync, openSync, readdirSync, readSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { openCheckpoint } from "../../containers/index.js";
import { fileError } from "../../errors.js";
import type { ModelMark } from "../../fleet/wire.js";
import type { LoadOptions } from "../../library/model.js";
import { packageVersion } from "../../package-root.js";

/** Metadata and the tables of tensors lie at the beginning. */
const headBytes = 16 * 2 ** 20;
/** The rest is too much to be read: a file that differs in its weights differs nearly everywhere. */
const samples = 64;
const sampleBytes = 64 * 2 ** 10;
/** Beside the weights of a folder: vocabulary, configuration, templates. */
const smallFiles = /\.(json|jinja|model|txt)$/;

/** @throws FILE_NOT_FOUND, FILE_IO, and what opening the model throws */
export async function modelMark(path: string, options: LoadOptions): Promise<ModelMark> {
  const { adapters = [], kvType = "f16", whenFull = { how: "stop" } } = options;
  const checkpoint = await openCheckpoint(path);
  const weights = checkpoint.files.map((file) => file.path);
  const folder = statSync(path).isDirectory() ? path : undefined;
  const beside = folder === undefined ? [] : readdirSync(folder).filter((name) => smallFiles.test(name));
  const files = [...new Set([...weights, ...beside.sort().map((name) => join(folder ?? dirname(path), name))])];
  const added = adapters.map(({ path: each, scale = 1 }) => `${hashOf(filesOf(each))} ${scale}`);
  return {
    model: basename(path),
    files: hashOf(files),
    adapters: added.join(", ") || "none",
    kv: kvType,
    full: [whenFull.how, whenFull.keep ?? "prompt", whenFull.discard ?? "half"].join(" "),
    version: packageVersion(),
  };
}

const filesOf = (path: string): string[] =>
  statSync(path).isDirectory()
    ? readdirSync(path)
        .sort()
        .map((name) => join(path, name))
        .filter((file) => statSync(file).isFile())
    : [path];

/** Sizes, beginnings and samples of files, whatever they are called. */
function hashOf(files: readonly string[]): string {
  const hash = createHash("sha256");
  const buffer = Buffer.allocUnsafe(2 ** 20);
  for (const file of files) {
    try {
      const fd = openSync(file, "r");
      try {
        const { size } = statSync(file);
        hash.update(`${size}\n`);
        const add = (from: number, to: number): void => {
          for (let at = from; at < to; ) {
            const read = readSync(fd, buffer, 0, Math.min(buffer.length, to - at), at);
            if (read === 0) break;
            hash.update(buffer.subarray(0, read));
            at += read;
          }
        };
        const head = Math.min(size, headBytes);
        add(0, head);
        const step = (size - head) / samples;
        for (let i = 0; i < samples && head < size; i++) {
          // The last bytes are among the samples.
          const at = i === samples - 1 ? size - sampleBytes : head + Math.floor(i * step);
          add(Math.max(head, at), Math.min(size, at + sampleBytes));
        }
      } finally {
        closeSync(fd);
      }
    } catch (error) {
      throw fileError(file, error);
    }
  }
  return hash.digest("hex").slice(0, 16);
}
