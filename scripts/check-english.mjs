// Refuses docstrings that begin with a question word or "Of" instead of a sentence, and lines over 120 columns in code
// and prose. Lines that were there before the rule stand in english-baseline.txt, which may only get shorter.
//   node scripts/check-english.mjs [ROOT]             another checkout: for tests
//   node scripts/check-english.mjs --shrink           strikes out of the list what is mended
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";

const columns = 120;
const root = resolve(
  process.argv.slice(2).find((argument) => !argument.startsWith("--")) ?? fileURLToPath(new URL("..", import.meta.url)),
);
const listPath = join(root, "scripts/english-baseline.txt");

const folders = ["src", "web", "bench", "test", "scripts", "native", "docs", "examples"];
const pages = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"];
const skipped = new Set(["node_modules", "dist", "build"]);
/** Written by a program, or the words it writes: a width of columns is not theirs to keep. */
const generated = [
  /^docs\/(cli|models)\.md$/,
  /^test\/support\/(plans-page|boundary-header)\.ts$/,
  /^native\/kernels\/codebooks[^/]*\.(h|inc|inl)$/,
  /\.golden\./,
];
const code = /\.(tsx?|mjs|cc|h|inl)$/;

function filesBelow(folder) {
  if (!existsSync(join(root, folder))) return [];
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    if (skipped.has(entry.name) || entry.isSymbolicLink()) return [];
    const path = join(folder, entry.name);
    return entry.isDirectory() ? filesBelow(path) : [path.split(sep).join("/")];
  });
}

const files = [...folders.flatMap(filesBelow), ...pages.filter((page) => existsSync(join(root, page)))]
  .filter((file) => (code.test(file) || file.endsWith(".md")) && !generated.some((pattern) => pattern.test(file)))
  .sort();

/** A table's row cannot be broken, nor can an address: those of prose are judged without their links. */
function mayBeLong(file, line) {
  if (/https?:\/\/\S{20}/.test(line)) return true;
  return file.endsWith(".md") && (line.trimStart().startsWith("|") || /\]\([^)]+\)/.test(line));
}

function* faultsOf(file) {
  const lines = readFileSync(join(root, file), "utf8").split("\n");
  const typed = /\.tsx?$/.test(file);
  let fenced = false;
  for (const [i, line] of lines.entries()) {
    if (file.endsWith(".md") && line.startsWith("```")) fenced = !fenced;
    // An output shown as it was is no prose.
    if (line.length > columns && !fenced && !mayBeLong(file, line)) yield { rule: "long", file, number: i + 1, line };
    if (!typed) continue;
    const opened = /^\s*\/\*\*\s*$/.test(lines[i - 1] ?? "")
      ? /^\s*\*\s+(\w+)/.exec(line)
      : /^\s*\/\*\*\s+(\w+)/.exec(line);
    if (/^(Of|Who|Whoever|Whose|What)$/i.test(opened?.[1] ?? "")) yield { rule: "opening", file, number: i + 1, line };
  }
}

/** What is known of a line wherever it lies: a file that moves takes its lines along. */
const markOf = ({ rule, line }) => `${rule} ${createHash("sha256").update(line.trim()).digest("hex").slice(0, 10)}`;

const listed = existsSync(listPath) ? readFileSync(listPath, "utf8").split("\n").filter(Boolean) : [];
const left = new Map();
for (const entry of listed) {
  const mark = entry.split(" ").slice(0, 2).join(" ");
  left.set(mark, [...(left.get(mark) ?? []), entry]);
}

const said = {
  long: `is longer than ${columns} columns`,
  opening: "begins no sentence: say what the thing is or does",
};
const faults = [];
const standing = [];
for (const fault of files.flatMap((file) => [...faultsOf(file)])) {
  const entry = left.get(markOf(fault))?.pop();
  if (entry === undefined) faults.push(fault);
  else standing.push(`${markOf(fault)} ${fault.file}`);
}
for (const { rule, file, number, line } of faults)
  console.error(`${file}:${number}: ${said[rule]}: ${line.trim().slice(0, 60)}`);
const mended = listed.length - standing.length;
if (process.argv.includes("--shrink")) {
  const byFile = (a, b) =>
    a.split(" ")[2] < b.split(" ")[2] ? -1 : a.split(" ")[2] > b.split(" ")[2] ? 1 : a < b ? -1 : 1;
  writeFileSync(
    listPath,
    standing
      .sort(byFile)
      .map((entry) => `${entry}\n`)
      .join(""),
  );
} else if (mended > 0)
  console.error(`note: ${mended} lines of scripts/english-baseline.txt are mended, run with --shrink`);
process.exitCode = faults.length === 0 ? 0 : 1;
