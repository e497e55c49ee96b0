/** `hundredweight rm NAME`: delete a model that `pull` fetched. Files of other programs are never touched. */
import type { Command } from "commander";
import { HundredweightError } from "../../errors.js";
import { findLocal, localModels } from "../../store/local/local-models.js";
import { ownFolder, thisSystem } from "../../store/local/places.js";
import { ownModels } from "../../store/local/records.js";
import { removeOwn } from "../../store/local/remove.js";
import { nameOf } from "../../store/local/types.js";
import { formatBytes, printJson, printText } from "../terminal/output.js";

export function register(program: Command): void {
  program
    .command("rm")
    .description("Delete a model that was fetched; models of other programs stay where they are.")
    .argument("<name>", "as `list` shows it")
    .option("--json", "one JSON document on stdout")
    .action((word: string, flags: { json?: boolean }) => {
      const folder = ownFolder(thisSystem());
      const models = ownModels(folder);
      const model = findLocal(word, models);
      if (model === undefined) throw notOurs(word, folder);
      const { files, bytes } = removeOwn(model, models, folder);
      const name = nameOf(model);
      if (flags.json) printJson({ name, files, bytes });
      else if (files.length > 0) printText(`${name}: ${formatBytes(bytes)} deleted\n`);
      else printText(`${name}: forgotten; its files are used by others and stay\n`);
    });
}

function notOurs(word: string, folder: string): HundredweightError {
  const other = findLocal(word, localModels());
  const message =
    other === undefined
      ? `${word}: no model of this name was fetched to ${folder}`
      : `${word}: ${other.path} belongs to ${other.place}; delete it there`;
  return new HundredweightError("FILE_NOT_FOUND", message);
}
