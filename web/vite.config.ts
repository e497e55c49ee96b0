/** Builds the page into dist/page, each file also compressed: the server sends what lies there. */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import { defineConfig, type Plugin } from "vite";

const root = fileURLToPath(new URL(".", import.meta.url));

/** Below, a compressed form saves nothing worth a file. */
const leastBytes = 512;

let folder = "";
const precompress: Plugin = {
  name: "precompress",
  apply: "build",
  configResolved: ({ build }) => {
    folder = build.outDir;
  },
  closeBundle() {
    for (const name of readdirSync(folder, { recursive: true }).map(String)) {
      if (!/\.(html|js|css|svg|webmanifest)$/.test(name)) continue;
      const plain = readFileSync(join(folder, name));
      if (plain.byteLength < leastBytes) continue;
      const params = { [constants.BROTLI_PARAM_SIZE_HINT]: plain.byteLength };
      writeFileSync(join(folder, `${name}.br`), brotliCompressSync(plain, { params }));
      writeFileSync(join(folder, `${name}.gz`), gzipSync(plain, { level: 9 }));
    }
  },
};

// biome-ignore lint/style/noDefaultExport: vite reads its configuration from there
export default defineConfig({
  root,
  base: "/",
  clearScreen: false,
  logLevel: "warn",
  resolve: { dedupe: ["preact"] },
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  plugins: [precompress],
  build: {
    outDir: join(root, "..", "dist", "page"),
    emptyOutDir: true,
    target: "es2022",
    // The page's policy allows no data: scripts or styles; small files are files too.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
});
