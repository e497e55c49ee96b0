/** The page docs/cli.md, made of what the commands say of themselves. */
import { Command, type Option } from "commander";
import { commands } from "../../src/cli/commands/index.js";

const introduction = `# Every command and its options

Written by \`node scripts/write-cli-page.mjs\` from the commands themselves. What they have in common stands in
[command-line.md](command-line.md), the environment in [environment.md](environment.md).
`;

/** A machine's own values, such as its number of cores, would differ from page to page. */
function optionLine(option: Option): string {
  const choices = option.argChoices === undefined ? "" : ` (${option.argChoices.join(", ")})`;
  const text = `${option.description}${choices}`.replaceAll("|", "\\|").replaceAll("<", "&lt;");
  return `| \`${option.flags.replaceAll("|", "\\|")}\` | ${text} |`;
}

/** @returns Markdown */
export async function cliPage(): Promise<string> {
  const sections: string[] = [];
  for (const { usage, summary, load } of commands) {
    const program = new Command();
    (await load()).register(program);
    const [command] = program.commands;
    const rows = command!.options.filter((option) => !option.hidden).map(optionLine);
    const table = ["| option | what it does |", "| --- | --- |", ...rows];
    sections.push([`## hundredweight ${usage}`, "", summary.replaceAll("<", "&lt;"), "", ...table, ""].join("\n"));
  }
  return `${introduction}\n${sections.join("\n")}`;
}
