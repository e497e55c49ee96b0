/** Entry of the folder worker: one question, one answer. */
import { parentPort, workerData } from "node:worker_threads";
import type { EngineOptions } from "../engine/options.js";
import { toWire } from "../process/wire.js";
import { findLocalModels, findModels, planFile, planRemote, readFacts } from "./folder-work.js";

export type FolderQuestion =
  | { readonly kind: "find"; readonly folder: string }
  | { readonly kind: "local" }
  | { readonly kind: "facts"; readonly paths: readonly string[] }
  | { readonly kind: "plan"; readonly path: string; readonly options: EngineOptions; readonly heldBytes: number }
  | { readonly kind: "preview"; readonly word: string; readonly memoryBytes?: number; readonly heldBytes: number };

async function answer(question: FolderQuestion): Promise<unknown> {
  switch (question.kind) {
    case "find":
      return findModels(question.folder);
    case "local":
      return findLocalModels();
    case "facts": {
      const facts = [];
      for (const path of question.paths) facts.push(await readFacts(path));
      return facts;
    }
    case "plan":
      return planFile(question.path, question.options, question.heldBytes);
    case "preview":
      return planRemote(question.word, question);
  }
}

answer(workerData as FolderQuestion).then(
  (result) => parentPort!.postMessage({ result }),
  (error) => parentPort!.postMessage({ error: toWire(error) }),
);
