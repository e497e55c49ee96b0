/**
 * Writes the random models whose blocks that guess further tokens scripts/fixtures/mtp-golden.py computes:
 *   node dist/test/support/make-mtp-models.js FOLDER
 */
import { join } from "node:path";
import { argv } from "node:process";
import { fileURLToPath } from "node:url";
import { writeRandomModel } from "./random-model.js";

/** Their architectures and variants. */
export const mtpModels = { glm4moe: "normed", qwen35: "mtp" } as const;

export async function writeMtpModel(folder: string, arch: keyof typeof mtpModels): Promise<string> {
  const path = join(folder, `${arch}.gguf`);
  await writeRandomModel(path, { arch, variant: mtpModels[arch], dims: 64, types: {}, seed: 13 });
  return path;
}

if (argv[1] === fileURLToPath(import.meta.url))
  for (const arch of Object.keys(mtpModels)) await writeMtpModel(argv[2]!, arch as keyof typeof mtpModels);
