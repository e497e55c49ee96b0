// Joins the compiled sources of dist/src into few files, in dist/app: what the command line, the library and the
// threads and processes of an engine load. Hundreds of small files take a process longer to load than a small model.
//   node scripts/bundle.mjs
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "vite";

const root = fileURLToPath(new URL("..", import.meta.url));

// Each file lies one folder deep, as in dist/src: entries find each other by "../room/name.js" in both.
const entries = {
  "cli/main": "cli/main",
  "library/index": "index",
  "link/process": "link/process",
  "link/worker": "link/worker",
  "store/folder-worker": "store/folder-worker",
  "text/process": "text/process",
  "text/worker": "text/worker",
};

await build({
  root,
  configFile: false,
  logLevel: "warn",
  clearScreen: false,
  build: {
    ssr: true,
    target: "node20",
    outDir: join(root, "dist/app"),
    emptyOutDir: true,
    minify: false,
    rollupOptions: {
      input: Object.fromEntries(
        Object.entries(entries).map(([name, file]) => [name, join(root, `dist/src/${file}.js`)]),
      ),
      output: { format: "es", entryFileNames: "[name].js", chunkFileNames: "shared/[name]-[hash].js" },
    },
  },
});
