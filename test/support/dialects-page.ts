/** docs/dialects.md, made from the rows of the dialects. */
import { headerStyles } from "../../src/chat/dialects/headed.js";
import { dialects, writeCalls } from "../../src/chat/dialects/index.js";
import { thinkingOf } from "../../src/chat/dialects/types.js";

const head = `# Dialects of tool calls

Every family of models writes tool calls in its own way. hundredweight finds out the dialect from the chat template of
the file: by texts that occur in it, else from a call that the template renders. A model whose template knows no tools
is told of them in words and answers in the dialect \`hermes\`. A request may name the dialect (\`tool_dialect\`).
Decision [0034](decisions/0034-replies-are-read.md) says how replies are read, and why so.

This page is written from the rows in \`src/chat/dialects/\` by \`node scripts/write-dialects-page.mjs\`; a test
compares. Line feeds are shown as \`⏎\`.

| dialect | models | a call | thinking |
| --- | --- | --- | --- |
`;

const call = { name: "f", arguments: { city: "Rome", days: 2 } };

export function dialectsPage(): string {
  const rows = dialects.map((dialect) => {
    const thinking =
      dialect.messages === undefined
        ? thinkingOf(dialect).map(pair).join(", ")
        : code(headerStyles[dialect.messages].thinking.trim());
    return `| \`${dialect.name}\` | ${dialect.models} | ${code(writeCalls(dialect, [call]))} | ${thinking} |`;
  });
  return `${head}${rows.join("\n")}\n`;
}

const pair = ([open, close]: readonly [string, string]): string => `${code(open.trim())} ${code(close.trim())}`;

function code(text: string): string {
  const shown = text.replaceAll("\n", "⏎").replaceAll("|", "\\|");
  return shown.includes("`") ? `\`\` ${shown} \`\`` : `\`${shown}\``;
}
