// Holds docs/glossary.md to the code: 60 to 100 words in order, each with a meaning of its own, each in use, and no
// exported type with a word that another one replaced.
//   node scripts/check-glossary.mjs [ROOT]       another checkout: for tests
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const root = resolve(process.argv[2] ?? fileURLToPath(new URL("..", import.meta.url)));
const page = "docs/glossary.md";
const faults = [];

/**
 * `word | in the code | meaning | instead of`: names in the second and words in the fourth column stand in backticks.
 */
const rows = readFileSync(join(root, page), "utf8")
  .split("\n")
  .filter((line) => line.startsWith("| ") && !/^\| (word \||---)/.test(line))
  .map((line) => {
    const [word, inCode, meaning, insteadOf] = line
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim());
    return { word, meaning, names: backticked(inCode), replaced: backticked(insteadOf) };
  });

function backticked(cell = "") {
  return [...cell.matchAll(/`([^`]+)`/g)].map((match) => match[1]);
}

if (rows.length < 60 || rows.length > 100) faults.push(`${rows.length} rows; 60 to 100 are wanted`);
const inOrder = rows.map(({ word }) => word).sort((a, b) => a.localeCompare(b, "en"));
for (const [i, { word, meaning, names }] of rows.entries()) {
  if (word !== inOrder[i]) faults.push(`'${word}' is out of order: '${inOrder[i]}' comes here`);
  if (rows.findIndex((other) => other.word === word) !== i) faults.push(`'${word}' stands twice`);
  if (!meaning) faults.push(`'${word}' has no meaning`);
  if (names.length === 0) faults.push(`'${word}' names nothing in the code`);
}

function sourcesBelow(folder) {
  if (!existsSync(join(root, folder))) return [];
  return readdirSync(join(root, folder), { recursive: true })
    .map((name) => join(folder, String(name)))
    .filter((file) => /\.(tsx?|cc|h|inl)$/.test(file) && !file.includes("node_modules"));
}
const sources = ["src", "web/src", "native"].flatMap(sourcesBelow).map((file) => ({
  file,
  text: readFileSync(join(root, file), "utf8"),
}));

// A name is used when it stands in the code as a whole word, a folder when it is there.
const used = new Set(sources.flatMap(({ text }) => text.match(/[A-Za-z_][A-Za-z0-9_]*/g) ?? []));
for (const { word, names } of rows)
  for (const name of names)
    if (!(name.includes("/") ? existsSync(join(root, name)) : used.has(name)))
      faults.push(`'${word}': nothing in the code is called ${name}`);

/** `MemoryReport` -> memory, report. */
const wordsOf = (name) => (name.match(/[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+/g) ?? []).map((part) => part.toLowerCase());
const replacedBy = new Map(rows.flatMap(({ word, replaced }) => replaced.map((old) => [wordsOf(old).join(" "), word])));
// "Answer" says little before a name: types that begin so were sixteen once.
const maxAnswerTypes = 6;
const answerTypes = [];
for (const { file, text } of sources) {
  if (!file.startsWith("src") || file.endsWith(".test.ts")) continue;
  for (const [, name] of text.matchAll(/^export (?:abstract )?(?:interface|type|class) (\w+)/gm)) {
    if (name.startsWith("Answer")) answerTypes.push(name);
    const words = ` ${wordsOf(name).join(" ")} `;
    for (const [old, word] of replacedBy)
      if (words.includes(` ${old} `)) faults.push(`${file}: ${name} says '${old}', the word is '${word}' (${page})`);
  }
}

if (answerTypes.length > maxAnswerTypes)
  faults.push(
    `src has ${answerTypes.length} types that begin with Answer, at most ${maxAnswerTypes}: ${answerTypes.join(" ")}`,
  );

for (const fault of faults) console.error(fault.startsWith("src") ? fault : `${page}: ${fault}`);
process.exitCode = faults.length === 0 ? 0 : 1;
