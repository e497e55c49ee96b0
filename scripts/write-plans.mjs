// Writes the part of docs/models.md on models people ask about; a test compares. Needs the build:
//   node scripts/write-plans.mjs
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const { plansHeading, plansSection } = await import(
  new URL("../dist/test/support/plans-page.js", import.meta.url).href
);
const path = fileURLToPath(new URL("../docs/models.md", import.meta.url));
const [before] = readFileSync(path, "utf8").split(plansHeading, 1);
writeFileSync(path, `${before.trimEnd()}\n\n${plansSection()}`);
