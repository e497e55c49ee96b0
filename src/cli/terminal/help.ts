/** Help texts at the edge of the terminal, by the one wrapping of prose. */
import type { HelpConfiguration, OutputConfiguration } from "commander";
import { coloured, showsColour } from "./colour.js";
import { columnsOf } from "./columns.js";
import { proseColumns, wrap } from "./wrap.js";

/** Columns of help in files and pipes. */
const usualColumns = 80;

const title = (text: string): string => coloured("bold", text, showsColour(process.stdout));

export const helpShape: HelpConfiguration = {
  subcommandTerm: (command) => `${command.name()} ${command.usage()}`,
  boxWrap: (text, columns) => wrap(text, columns),
  displayWidth: columnsOf,
  styleTitle: title,
};

/** Errors are printed by the command line itself. */
export const helpOutput: OutputConfiguration = {
  outputError: () => {},
  getOutHelpWidth: () => proseColumns(process.stdout) ?? usualColumns,
  getOutHasColors: () => showsColour(process.stdout),
};
