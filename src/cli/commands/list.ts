/** `hundredweight list`: the models on this computer, whichever program put them there. */
import type { Command } from "commander";
import { localModels } from "../../store/local/local-models.js";
import { modelPlaces } from "../../store/local/places.js";
import { type LocalModel, nameOf } from "../../store/local/types.js";
import { formatBytes, printJson, printText } from "../terminal/output.js";
import { printable } from "../terminal/printable.js";

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
      else printText(table(models, places[0]!.folder));
    });
}

function document(model: LocalModel): Record<string, unknown> {
  const { aliases, place, path, files, bytes, modifiedMs } = model;
  const modifiedAt = new Date(modifiedMs).toISOString();
  return { name: nameOf(model), aliases, place, path, bytes, files, modifiedAt };
}

function table(models: readonly LocalModel[], folder: string): string {
  if (models.length === 0)
    return `no models; \`hundredweight pull org/name:Q4_K_M\` fetches one to ${printable(folder)}\n`;
  const rows = models.map((model) => [
    printable(nameOf(model)),
    formatBytes(model.bytes),
    model.place,
    printable(model.path),
  ]);
  const head = ["name", "size", "kept by", "path"];
  const widths = head.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]!.length)));
  const line = (row: readonly string[]): string =>
    row.map((cell, i) => (i === 1 ? cell.padStart(widths[i]!) : i === 3 ? cell : cell.padEnd(widths[i]!))).join("  ");
  return `${[head, ...rows].map(line).join("\n")}\n`;
}
