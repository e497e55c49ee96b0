/** `hundredweight find WORDS`: models on this computer and on the hub. */
import type { Command } from "commander";
import { localModels } from "../../store/local/local-models.js";
import { nameOf } from "../../store/local/types.js";
import { Hub } from "../../store/pull/hub.js";
import { parseInteger } from "../options/options.js";
import { withInterrupt } from "../terminal/interrupt.js";
import { formatBytes, printColoured, printJson, printText, standardOutput } from "../terminal/output.js";
import { table } from "../terminal/table.js";

interface FindFlags {
  readonly limit?: number;
  readonly json?: boolean;
}

export function register(program: Command): void {
  program
    .command("find")
    .description("Search for models with GGUF files: on this computer, and on Hugging Face.")
    .argument("<words...>", "what to look for")
    .option("--limit <n>", "most models of the hub (default 20)", (t) => parseInteger(t, "--limit", 1, 100))
    .option("--json", "one JSON document on stdout")
    .action(async (words: readonly string[], flags: FindFlags) => {
      const wanted = words.map((word) => word.toLowerCase());
      const here = localModels().filter((model) => wanted.every((word) => nameOf(model).toLowerCase().includes(word)));
      const hub = await withInterrupt((signal) => new Hub().search(words.join(" "), flags.limit ?? 20, signal));
      if (flags.json) {
        printJson({ here: here.map((model) => ({ name: nameOf(model), path: model.path, bytes: model.bytes })), hub });
        return;
      }
      const rows = [
        ...here.map((model) => [nameOf(model), formatBytes(model.bytes), "on this computer"]),
        ...hub.map(({ repo, downloads, gated }) => [
          repo,
          `${downloads.toLocaleString("en")} downloads`,
          gated ? "gated" : "",
        ]),
      ];
      if (rows.length === 0) printText("nothing found\n");
      else printColoured(table([{ cut: "start" }, { align: "right" }, {}], rows, standardOutput()));
    });
}
