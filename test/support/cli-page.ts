/** The page docs/cli.md, made of what the commands say of themselves. */
import { commands } from "../../src/cli/commands/index.js";
import { type CommandFacts, commandFacts, type OptionFacts } from "../../src/cli/completion/facts.js";

const introduction = `# Every command and its options

Written by \`node scripts/write-cli-page.mjs\` from the commands themselves. What they have in common stands in
[command-line.md](command-line.md), the environment in [environment.md](environment.md).
`;

/** A machine's own values, such as its number of cores, would differ from page to page. */
function optionLine({ flags, description }: OptionFacts): string {
  return `| \`${flags.replaceAll("|", "\\|")}\` | ${description.replaceAll("|", "\\|").replaceAll("<", "&lt;")} |`;
}

function section({ usage, summary, options }: CommandFacts): string {
  const rows = options.map(optionLine);
  const table = rows.length === 0 ? [] : ["| option | what it does |", "| --- | --- |", ...rows, ""];
  return [`## hundredweight ${usage}`, "", summary.replaceAll("<", "&lt;"), "", ...table].join("\n");
}

/** @returns Markdown */
export async function cliPage(): Promise<string> {
  return `${introduction}\n${(await commandFacts(commands)).map(section).join("\n")}`;
}
