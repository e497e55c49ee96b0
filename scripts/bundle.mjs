// Joins the compiled sources of dist/src and what they use of the packages into few files, in dist/app: what the
// command line, the library and the threads and processes of an engine load. Hundreds of small files take a process
// longer to load than a small model, and nine tenths of zod are messages in languages that nobody asks for.
//   node scripts/bundle.mjs
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "vite";

const root = fileURLToPath(new URL("..", import.meta.url));

// Each file lies one folder deep, as in dist/src: entries find each other by "../room/name.js" in both.
const entries = {
  "cli/main": "cli/main",
  "cli/start": "cli/start",
  "library/index": "index",
  "link/process": "link/process",
  "link/worker": "link/worker",
  "store/folder-worker": "store/folder-worker",
  "text/process": "text/process",
  "text/worker": "text/worker",
};

/**
 * What lies in a file of its own, since processes that need the rest of the file it would be joined with are others:
 * templates run in the texts' process, replies are read by whoever asked.
 */
const templates = "jinja.|abilities|changing|content|conversation|history|template(-abilities)?\\.|tools-in-words";
const groups = [{ name: "templates", test: new RegExp(`dist.src.chat.(${templates})`) }];

/** Joined with our sources; all of the packages that run. */
const packages = Object.keys(JSON.parse(readFileSync(join(root, "package.json"), "utf8")).dependencies);
const app = join(root, "dist/app");

await build({
  root,
  configFile: false,
  ssr: { noExternal: packages },
  logLevel: "warn",
  clearScreen: false,
  build: {
    ssr: true,
    target: "node20",
    outDir: app,
    emptyOutDir: true,
    minify: false,
    rollupOptions: {
      input: Object.fromEntries(
        Object.entries(entries).map(([name, file]) => [name, join(root, `dist/src/${file}.js`)]),
      ),
      output: {
        format: "es",
        entryFileNames: "[name].js",
        chunkFileNames: "shared/[name]-[hash].js",
        // Every start reads them, and nobody else does: the sources lie beside.
        comments: { jsdoc: false, legal: true, annotation: false },
        codeSplitting: { includeDependenciesRecursively: false, groups },
      },
    },
  },
});

for (const folder of readdirSync(app)) {
  for (const name of readdirSync(join(app, folder))) {
    const path = join(app, folder, name);
    writeFileSync(path, narrow(readFileSync(path, "utf8"), path));
  }
}
const licences = packages.map((name) => {
  const folder = join(root, "node_modules", name);
  const file = ["LICENSE", "LICENSE.md", "license"].map((each) => join(folder, each)).find(existsSync);
  if (file === undefined) throw new Error(`${name} has no licence that could be told`);
  return `${name}\n\n${readFileSync(file, "utf8").trim()}\n`;
});
writeFileSync(join(app, "licences.txt"), licences.join(`\n${"-".repeat(80)}\n\n`));

/** V8 keeps a source in one byte a character, or, with a single one beyond Latin-1 in it, in two. */
function narrow(source, path) {
  // Behind a backslash an escape would mean something else.
  if (/\\[\u0080-\uffff]/.test(source)) throw new Error(`${path}: a backslash before a character that is not ASCII`);
  return source.replace(/[\u0080-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
