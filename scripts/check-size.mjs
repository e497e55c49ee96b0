// Sources over 600 lines are refused (tables excepted, listed here with the reason), over 400 are named.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

process.chdir(fileURLToPath(new URL("..", import.meta.url)));
const excepted = new Map([]);
const files = execFileSync("git", ["ls-files", "*.ts", "*.tsx", "*.mjs", "*.cc", "*.h", "*.inl"], { encoding: "utf8" });
let faults = 0;
for (const file of files.split("\n").filter(Boolean)) {
  const lines = readFileSync(file, "utf8").split("\n").length;
  if (lines > 600 && !excepted.has(file)) {
    console.error(`${file}: ${lines} lines; split it by responsibility`);
    faults++;
  } else if (lines > 400) {
    console.error(`note: ${file} has ${lines} lines`);
  }
}
process.exit(faults === 0 ? 0 : 1);
