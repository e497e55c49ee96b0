/** `hundredweight list`: the models on this computer, whichever program put them there. */
import type { Command } from "commander";
import { localModels } from "../../store/local/local-models.js";
import { modelPlaces } from "../../store/local/places.js";
import { type LocalModel, nameOf } from "../../store/local/types.js";
import { formatBytes, printColoured, printJson, standardOutput } from "../terminal/output.js";
import { printable } from "../terminal/printable.js";
import { table } from "../terminal/table.js";

export function register(program: Command): void {
  program
    .command("list")
    .description("List the models on this computer: fetched ones, and those of Hugging Face, Ollama, LM Studio, Jan.")
    .argument("[words]", "only those whose name holds this")
    .option("--json", "one JSON document on stdout")
    .action((words: string | undefined, flags: { json?: boolean }) => {
      const places = modelPlaces();
      const wanted = words?.toLowerCase() ?? "";
      const models = localModels(places).filter((model) => nameOf(model).toLowerCase().includes(wanted));
      if (flags.json) printJson({ models: models.map(document), places });
      else printColoured(listing(models, places[0]!.folder));
    });
}

function document(model: LocalModel): Record<string, unknown> {
  const { aliases, place, path, files, bytes, modifiedMs } = model;
  const modifiedAt = new Date(modifiedMs).toISOString();
  return { name: nameOf(model), aliases, place, path, bytes, files, modifiedAt };
}

function listing(models: readonly LocalModel[], folder: string): string {
  if (models.length === 0)
    return `no models; \`hundredweight pull org/name:Q4_K_M\` fetches one to ${printable(folder)}\n`;
  return table(
    [{ title: "name" }, { title: "size", align: "right" }, { title: "kept by" }, { title: "path", cut: "start" }],
    models.map((model) => [nameOf(model), formatBytes(model.bytes), model.place, model.path]),
    standardOutput(),
  );
}
