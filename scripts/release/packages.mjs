// Makes the packages of a release: the program, which has no dependency but the binaries, and one for each platform.
//   node scripts/release/packages.mjs [--native build/release/native] [--out build/release/packages] [--platforms LIST]
// Needs `npm run build` and scripts/release/build.mjs. A platform without a binary is a fault unless it is not on the
// list. Writes OUT/*.tgz, which `npm publish` takes as they are.
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { platformsNamed, product, root } from "./platforms.mjs";

/** As src/native/prebuilt.ts names them. */
export const packageName = ({ name }) => `@hundredweight/${name}`;

const json = (value) => `${JSON.stringify(value, null, 2)}\n`;

/** Declarations that those of the public API lead to: what no type needs is not shipped. */
export function declarations(entry) {
  const found = new Set();
  const visit = (file) => {
    if (found.has(file)) return;
    found.add(file);
    for (const [, name] of readFileSync(file, "utf8").matchAll(/(?:from|import)\s*\(?\s*"([^"]+)"/g)) {
      if (name.startsWith(".")) visit(fileURLToPath(new URL(name.replace(/\.js$/, ".d.ts"), pathToFileURL(file))));
      else if (!name.startsWith("node:"))
        throw new Error(`${relative(root, file)} needs ${name}, which is not installed`);
    }
  };
  visit(entry);
  return [...found].sort();
}

/** Folder of the program as it is installed, without a binary. */
export function stageProgram(folder, { optional = {} } = {}) {
  rmSync(folder, { recursive: true, force: true });
  const declared = declarations(join(root, "dist/src/index.d.ts")).map((file) => relative(root, file));
  const whole = product.files.filter((name) => name !== "dist/src" && name !== "build/native");
  for (const name of [...whole, ...declared]) {
    const from = join(root, name);
    if (!existsSync(from)) throw new Error(`${name} is missing: npm run build`);
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    cpSync(from, join(folder, name), { recursive: true });
  }
  const { devDependencies, dependencies, scripts, files, ...kept } = product;
  const about = {
    ...kept,
    files: [...whole, "dist/src"],
    scripts: { "build:native": scripts["build:native"] },
    // What is joined into dist/app is not installed a second time.
    optionalDependencies: optional,
  };
  writeFileSync(join(folder, "package.json"), json(about));
}

export function stageBinary(folder, platform, binary) {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  cpSync(binary, join(folder, "hundredweight.node"));
  cpSync(join(root, "LICENSE"), join(folder, "LICENSE"));
  const name = packageName(platform);
  writeFileSync(
    join(folder, "README.md"),
    `# ${name}\n\nThe native addon of hundredweight for ${platform.name}. It comes with the package\n` +
      "`hundredweight`; there is nothing else to do with it.\n",
  );
  const about = {
    name,
    version: product.version,
    description: `The native addon of hundredweight for ${platform.name}`,
    license: product.license,
    engines: product.engines,
    os: [platform.os],
    cpu: [platform.cpu],
    ...(platform.libc !== undefined && { libc: [platform.libc] }),
    files: ["hundredweight.node"],
    preferUnplugged: true,
  };
  writeFileSync(join(folder, "package.json"), json(about));
}

/** The path of the archive. */
export function pack(folder, out) {
  mkdirSync(out, { recursive: true });
  const args = ["pack", "--json", "--ignore-scripts", "--pack-destination", out];
  const npm = process.platform === "win32" ? "npm.cmd" : "npm";
  const [{ filename }] = JSON.parse(
    execFileSync(npm, args, { cwd: folder, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }),
  );
  return join(out, filename.replace("@", "").replace("/", "-"));
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const { values: options } = parseArgs({
    options: {
      native: { type: "string", default: join(root, "build/release/native") },
      out: { type: "string", default: join(root, "build/release/packages") },
      platforms: { type: "string" },
    },
  });
  const out = resolve(options.out);
  const platforms = platformsNamed(options.platforms);
  const say = (file) => console.log(`${(statSync(file).size / 1e6).toFixed(2)} MB  ${relative(process.cwd(), file)}`);
  for (const platform of platforms) {
    const folder = join(out, "staged", platform.name);
    stageBinary(folder, platform, join(resolve(options.native), platform.name, "hundredweight.node"));
    say(pack(folder, out));
  }
  const optional = Object.fromEntries(platforms.map((each) => [packageName(each), product.version]));
  stageProgram(join(out, "staged", "hundredweight"), { optional });
  say(pack(join(out, "staged", "hundredweight"), out));
}
