// Writes test/golden/terminal: what the command line shows at 80 and 120 columns. To be read before it is kept.
//   npx tsc -p tsconfig.json && node scripts/write-terminal-views.mjs
import { mkdirSync, writeFileSync } from "node:fs";

const { terminalView, viewNames } = await import(
  new URL("../dist/test/support/terminal-views.js", import.meta.url).href
);
const folder = new URL("../test/golden/terminal/", import.meta.url);
mkdirSync(folder, { recursive: true });
for (const columns of [80, 120])
  for (const name of viewNames)
    writeFileSync(new URL(`${name}-${columns}.txt`, folder), await terminalView(name, columns));
