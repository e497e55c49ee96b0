// Writes docs/cli.md from what the commands say of themselves; a test compares. Needs the build: node
// scripts/write-cli-page.mjs
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const { cliPage } = await import(new URL("../dist/test/support/cli-page.js", import.meta.url).href);
writeFileSync(fileURLToPath(new URL("../docs/cli.md", import.meta.url)), await cliPage());
