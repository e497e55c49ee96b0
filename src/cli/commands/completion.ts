/** `hundredweight completion SHELL`: a script that completes commands, options and their values. */
import { Argument, type Command } from "commander";
import type { LoadableCommand } from "../completion/facts.js";
import { type Shell, shells } from "../completion/shells.js";
import { parseChoice } from "../options/options.js";

/** @param commands all of them, to be completed */
export function registerFor(program: Command, commands: readonly LoadableCommand[]): void {
  const shell = new Argument("<shell>", "bash, zsh, fish or powershell").argParser((t) =>
    parseChoice(t, "<shell>", shells),
  );
  shell.argChoices = [...shells];
  program
    .command("completion")
    .description("Write the script that completes commands and options in a shell.")
    .addArgument(shell)
    .action(async (word: Shell) => {
      const [{ commandFacts }, { completionScript }] = await Promise.all([
        import("../completion/facts.js"),
        import("../completion/shells.js"),
      ]);
      process.stdout.write(completionScript(word, await commandFacts(commands)));
    });
}
