// The JSON-Schema-Test-Suite against the compiler of constraints, as a table by keyword; build first.
//   node scripts/constraint-suite.mjs ARCHIVE [--faults]      the suite as a tar archive; wrong judgements and refusals
import { rmSync } from "node:fs";
import { fileURLToPath } from "node:url";

const [archive, ...flags] = process.argv.slice(2);
if (archive === undefined) {
  console.error("which archive?");
  process.exit(2);
}
const { runSuite, suiteFiles, unpackSuite } = await import(
  fileURLToPath(new URL("../dist/test/constraint/schema-suite.js", import.meta.url))
);
const folder = unpackSuite(archive);
let wrong = 0;
for (const [draft, name] of [
  ["draft7", "draft-7"],
  ["draft2020-12", "2020-12"],
]) {
  const counts = runSuite(suiteFiles(folder, draft), name, (line) => {
    if (flags.includes("--faults")) console.log(line);
  });
  const total = { groups: 0, refused: 0, instances: 0, wrongAccepted: 0, wrongRefused: 0 };
  console.log(`\n${draft}\n| keyword | schemas | refused | instances | wrongly accepted | wrongly refused |`);
  console.log("| --- | ---: | ---: | ---: | ---: | ---: |");
  const line = (title, c) =>
    `| ${title} | ${c.groups} | ${c.refused} | ${c.instances} | ${c.wrongAccepted} | ${c.wrongRefused} |`;
  for (const [file, count] of counts) {
    console.log(line(file.replace(".json", ""), count));
    for (const key of Object.keys(total)) total[key] += count[key];
  }
  console.log(line("all", total));
  console.log(`refused: ${((100 * total.refused) / total.groups).toFixed(1)} % of the schemas`);
  wrong += total.wrongAccepted + total.wrongRefused;
}
rmSync(folder, { recursive: true, force: true });
process.exit(wrong === 0 ? 0 : 1);
