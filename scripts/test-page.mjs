// Every test of the page in a browser, in both themes, as wide as a desktop and as narrow as a phone. An ordinary run
// of the tests takes the first of the four.
//   npm run test:page
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const tests = fileURLToPath(new URL("test.mjs", import.meta.url));
const built = spawnSync("npm", ["run", "--silent", "build"], { stdio: "inherit" });
const failed = [];
for (const seen of ["light 1100", "dark 1100", "light 390", "dark 390"]) {
  console.log(`# the page, ${seen} px`);
  const env = { ...process.env, HUNDREDWEIGHT_PAGE: seen };
  const { status } = spawnSync(process.execPath, [tests, "--no-build", "test/page/"], { stdio: "inherit", env });
  if (status !== 0) failed.push(seen);
}
for (const seen of failed) console.log(`# failed: the page, ${seen} px`);
process.exitCode = built.status !== 0 || failed.length > 0 ? 1 : 0;
