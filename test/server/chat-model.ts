/** The bundled model with a chat template added: it has none of its own. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { dtypeOf, onlyExtent, openGguf, type TypedValue, writeGguf } from "../../src/formats/index.js";
import { packageRoot } from "../../src/package-root.js";
import { plainTemplate } from "./fake-engine.js";
import { readRanges } from "./read-ranges.js";

export const demoModel = join(packageRoot(), "models", "demo.gguf");

let folder: string | undefined;

export function testFolder(): string {
  if (folder === undefined) {
    const made = mkdtempSync(join(tmpdir(), "hundredweight-server-"));
    folder = made;
    process.on("exit", () => rmSync(made, { recursive: true, force: true }));
  }
  return folder;
}

const written = new Map<string, Promise<string>>();

/** The bundled model with a chat template: it has none of its own. */
export function chatModel(template = plainTemplate, name = "demo-chat"): Promise<string> {
  let path = written.get(name);
  if (path === undefined) {
    path = writeChatModel(template, name);
    written.set(name, path);
  }
  return path;
}

async function writeChatModel(template: string, name: string): Promise<string> {
  const path = join(testFolder(), `${name}.gguf`);
  const demo = openGguf(demoModel);
  const metadata = new Map<string, TypedValue>(demo.metadata.entries());
  metadata.set("tokenizer.chat_template", { type: "string", value: template });
  const tensors = [...demo.tensors.values()].map(({ name, layout, shape, planes }) => ({
    name,
    dtype: dtypeOf(layout)!,
    shape,
    data: () => readRanges(onlyExtent({ name, planes })),
  }));
  await writeGguf(path, { metadata, tensors });
  return path;
}
