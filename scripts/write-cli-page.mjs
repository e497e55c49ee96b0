// Writes docs/cli.md and the manual page man/hundredweight.1 from what the commands say of themselves; tests compare.
// Needs the build: node scripts/write-cli-page.mjs
import { mkdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const pathOf = (name) => fileURLToPath(new URL(`../${name}`, import.meta.url));
const support = (name) => import(new URL(`../dist/test/support/${name}.js`, import.meta.url).href);
const [{ cliPage }, { manPage }] = await Promise.all([support("cli-page"), support("man-page")]);
mkdirSync(pathOf("man"), { recursive: true });
writeFileSync(pathOf("docs/cli.md"), await cliPage());
writeFileSync(pathOf("man/hundredweight.1"), await manPage());
