// Imports point one way (ARCHITECTURE.md). Refused are: an import from a room that is not on the importing one's list;
// of the files directly in src/ any but those named in `common`; circles of files (an import of types counts) and of
// folders, but for those that stand below; what the page, bench and tests may not see.
//   node scripts/check-layers.mjs [ROOT]       another checkout: for tests
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";

const root = resolve(process.argv[2] ?? fileURLToPath(new URL("..", import.meta.url)));

/** Room -> rooms it may import. `*`: all but the command line. Every room may use itself and `common`. */
const allowed = {
  batch: ["process"],
  fleet: ["batch"],
  formats: [],
  containers: ["formats"],
  native: [],
  process: ["native"],
  tokenizer: ["formats"],
  chat: ["formats", "tokenizer", "sampling"],
  ops: ["formats", "native"],
  state: ["ops"],
  models: ["formats", "ops"],
  past: ["formats", "models", "ops", "process", "state"],
  compress: ["formats", "native", "models", "ops"],
  convert: ["formats", "containers", "tokenizer", "models", "ops", "compress", "process"],
  synth: ["formats", "containers", "chat", "models", "compress"],
  sampling: ["tokenizer"],
  weights: ["formats", "native", "models", "ops"],
  engine: [
    "formats",
    "containers",
    "models",
    "ops",
    "weights",
    "state",
    "past",
    "sampling",
    "tokenizer",
    "chat",
    "native",
    "process",
  ],
  link: ["engine", "process"],
  quality: ["formats", "compress", "native", "models", "ops", "weights", "engine", "sampling"],
  text: ["formats", "containers", "tokenizer", "chat", "process", "sampling"],
  library: ["link", "text", "chat", "sampling"],
  store: ["formats", "containers", "models", "weights", "engine", "process"],
  server: [
    "batch",
    "link",
    "store",
    "text",
    "chat",
    "tokenizer",
    "weights",
    "sampling",
    "formats",
    "models",
    "process",
  ],
  cli: ["*"],
  ".": ["*"],
};
/** Files directly in src/ that rooms may use. */
const commonRooms = ["errors", "json-object", "package-root", "regular-file", "replace-file", "user-folders"];
const common = new Set(commonRooms.map((name) => `src/${name}.ts`));
const commonNames = commonRooms.join(", ");
/**
 * Beside src/: what each may import. The page sees the server's wire types and what it shares with
 * the server of plain functions; nothing that needs Node.
 */
const outside = {
  web: [
    /^web\//,
    /^src\/server\/ui\/(wire|branch|price|ids)\.ts$/,
    /^src\/chat\/(thinking|call)-text\.ts$/,
    /^src\/json-object\.ts$/,
  ],
  bench: [/^bench\//, /^src\//, /^test\/(support|server)\//],
  test: [/^test\//, /^src\//, /^bench\//, /^web\/src\//],
};

/** Circles that stand. The lists may only get shorter: one that is gone has to be struck out. */
const oldFileCircles = [];
const oldFolderCircles = [];

const faults = [];
const posix = (path) => relative(root, path).split(sep).join("/");

const files = ["src", "web", "bench", "test"]
  .filter((folder) => existsSync(join(root, folder)))
  .flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true }).map((name) => join(root, folder, String(name))),
  )
  .filter((file) => /\.tsx?$/.test(file) && !file.endsWith(".d.ts") && !file.includes(`${sep}node_modules${sep}`))
  .map(posix)
  .sort();
const known = new Set(files);

/** The file that an import means, relative to the root. */
function targetOf(file, specifier) {
  const at = posix(resolve(root, dirname(file), specifier));
  return [at, at.replace(/\.js$/, ".ts"), at.replace(/\.js$/, ".tsx"), `${at}.ts`, `${at}.tsx`].find((path) =>
    known.has(path),
  );
}

/** file -> files it imports or exports again. */
const imports = new Map(
  files.map((file) => {
    const source = readFileSync(join(root, file), "utf8");
    const found = source.matchAll(
      /^\s*(?:import|export|\})[^"'\n]*?(?:from\s+)?"(\.[^"]+)"|\bimport\(\s*"(\.[^"]+)"/gm,
    );
    const targets = [...found].map((match) => targetOf(file, match[1] ?? match[2]));
    return [file, [...new Set(targets.filter((target) => target !== undefined))]];
  }),
);

const isTest = (file) => file.endsWith(".test.ts") || !file.startsWith("src/");
const roomOf = (file) => (file.split("/").length === 2 ? "." : file.split("/")[1]);

function checkSource(file, target) {
  const room = roomOf(file);
  const rules = allowed[room];
  if (!target.startsWith("src/")) {
    if (!isTest(file)) faults.push(`${file}: a source must not import ${target}`);
    return;
  }
  if (isTest(file)) return;
  const wanted = roomOf(target);
  if (wanted === room || common.has(target)) return;
  // The file `index` belongs to nobody's room: it is what the outside sees.
  if (wanted === "." && room !== "cli") {
    faults.push(`${file}: of src/ itself rooms may import ${commonNames} only, not ${target}`);
  } else if (!rules.includes(wanted) && !(rules.includes("*") && (wanted !== "cli" || room === "."))) {
    faults.push(`${file}: '${room}' must not import '${wanted}' (${target})`);
  }
}

for (const [file, targets] of imports) {
  const top = file.split("/")[0];
  if (top === "src" && allowed[roomOf(file)] === undefined) {
    faults.push(`${file}: room '${roomOf(file)}' is not in scripts/check-layers.mjs`);
    continue;
  }
  for (const target of targets) {
    if (top === "src") checkSource(file, target);
    else if (!outside[top].some((rule) => rule.test(target)))
      faults.push(`${file}: '${top}' must not import ${target}`);
  }
}
for (const room of Object.keys(allowed))
  if (room !== "." && !existsSync(join(root, "src", room))) faults.push(`room '${room}' is listed and does not exist`);

// --- circles

/** Strongly connected groups of more than one node (Tarjan). */
function circles(graph) {
  const index = new Map();
  const low = new Map();
  const stack = [];
  const open = new Set();
  const found = [];
  const visit = (node) => {
    index.set(node, index.size);
    low.set(node, index.get(node));
    stack.push(node);
    open.add(node);
    for (const next of graph.get(node) ?? []) {
      if (!index.has(next)) {
        visit(next);
        low.set(node, Math.min(low.get(node), low.get(next)));
      } else if (open.has(next)) low.set(node, Math.min(low.get(node), index.get(next)));
    }
    if (low.get(node) !== index.get(node)) return;
    const group = [];
    for (let member; member !== node; ) {
      member = stack.pop();
      open.delete(member);
      group.push(member);
    }
    if (group.length > 1) found.push(group.sort().join(" "));
  };
  for (const node of graph.keys()) if (!index.has(node)) visit(node);
  return found.sort();
}

/** Folder -> folders its files import. */
function folderGraph() {
  const graph = new Map();
  // What every room may use is no part of what lies beside it.
  const folderOf = (file) => (common.has(file) ? "common" : dirname(file));
  for (const [file, targets] of imports) {
    if (isTest(file)) continue;
    const folder = folderOf(file);
    const reached = graph.get(folder) ?? new Set();
    for (const target of targets) if (folderOf(target) !== folder) reached.add(folderOf(target));
    graph.set(folder, reached);
  }
  return graph;
}

function compare(what, found, old) {
  for (const circle of found) if (!old.includes(circle)) faults.push(`a new circle of ${what}: ${circle}`);
  for (const circle of old)
    if (!found.includes(circle)) faults.push(`this circle of ${what} is gone, strike it out: ${circle}`);
}
compare("files", circles(imports), oldFileCircles);
compare("folders", circles(folderGraph()), oldFolderCircles);

for (const fault of faults) console.error(fault);
process.exit(faults.length === 0 ? 0 : 1);
