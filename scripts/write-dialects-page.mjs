// Writes docs/dialects.md from the rows of the dialects; a test compares. Needs the build:
//   node scripts/write-dialects-page.mjs
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const { dialectsPage } = await import(new URL("../dist/test/support/dialects-page.js", import.meta.url).href);
writeFileSync(fileURLToPath(new URL("../docs/dialects.md", import.meta.url)), dialectsPage());
