// Makes a folder that runs for each platform: Node, program, page, demonstration model and addon in one archive, to be
// unpacked anywhere.
//   node scripts/release/archives.mjs [--native build/release/native] [--out build/release/archives] [--platforms LIST]
// Needs `npm run build` and scripts/release/build.mjs. Node comes from npm's packages, of the versions that
// platforms.mjs names; musl has none and gets no archive.
import { execFileSync } from "node:child_process";
import { chmodSync, cpSync, existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { parseArgs } from "node:util";
import { folderBytes, writeTarGz, writeZip } from "./archive.mjs";
import { stageProgram } from "./packages.mjs";
import { nodeVersion, platformsNamed, product, root } from "./platforms.mjs";

const { values: options } = parseArgs({
  options: {
    native: { type: "string", default: join(root, "build/release/native") },
    out: { type: "string", default: join(root, "build/release/archives") },
    platforms: { type: "string" },
  },
});
const out = resolve(options.out);

/** The unpacked npm package of Node, fetched once. */
function nodeFolder({ node }) {
  const folder = join(root, "build/release/node", `${node}-${nodeVersion}`);
  if (existsSync(join(folder, "package"))) return join(folder, "package");
  mkdirSync(folder, { recursive: true });
  const npm = process.platform === "win32" ? "npm.cmd" : "npm";
  const args = ["pack", "--silent", "--pack-destination", folder, `${node}@${nodeVersion}`];
  execFileSync(npm, args, { cwd: folder, stdio: ["ignore", "ignore", "inherit"] });
  const [archive] = readdirSync(folder).filter((name) => name.endsWith(".tgz"));
  execFileSync("tar", ["-xzf", archive], { cwd: folder });
  rmSync(join(folder, archive));
  return join(folder, "package");
}

const launchers = {
  posix: `#!/bin/sh
# Starts the program with the Node beside it, from wherever it is called, also through a link.
file=$0
while [ -L "$file" ]; do
  target=$(readlink "$file")
  case $target in /*) file=$target ;; *) file=$(dirname "$file")/$target ;; esac
done
here=$(cd "$(dirname "$file")" && pwd) || exit 1
exec "$here/node" "$here/app/bin/hundredweight.js" "$@"
`,
  win32: '@"%~dp0node.exe" "%~dp0app\\bin\\hundredweight.js" %*\r\n',
};

const readMe = ({ os, name }) => {
  const command = os === "win32" ? "hundredweight.cmd" : "./hundredweight";
  const quarantine =
    os === "darwin" ? "\n\nmacOS: xattr -dr com.apple.quarantine .   (once, where a browser fetched the archive)" : "";
  const text = `hundredweight ${product.version} for ${name}, with Node ${nodeVersion}.

${command} run "And the king said"
${command} --help${quarantine}

Nothing is installed: delete the folder and it is gone. Licences: app/LICENSE, app/dist/app/licences.txt, LICENSE-node.
`;
  return os === "win32" ? text.replaceAll("\n", "\r\n") : text;
};

/** @returns { folder, file, bytes, unpacked } */
function makeArchive(platform) {
  const windows = platform.os === "win32";
  const top = `hundredweight-${product.version}-${platform.name}`;
  const folder = join(out, "staged", top);
  rmSync(folder, { recursive: true, force: true });
  stageProgram(join(folder, "app"));
  // A build of the developer's place: it is looked for first.
  const native = join(folder, "app/build/native");
  mkdirSync(native, { recursive: true });
  cpSync(join(resolve(options.native), platform.name, "hundredweight.node"), join(native, "hundredweight.node"));
  // What compiles the addon is of no use where it is there.
  for (const name of ["native", "scripts"]) rmSync(join(folder, "app", name), { recursive: true });
  const node = nodeFolder(platform);
  const binary = windows ? "node.exe" : "node";
  cpSync(join(node, "bin", binary), join(folder, binary));
  cpSync(join(node, "LICENSE"), join(folder, "LICENSE-node"));
  chmodSync(join(folder, binary), 0o755);
  const launcher = join(folder, windows ? "hundredweight.cmd" : "hundredweight");
  writeFileSync(launcher, windows ? launchers.win32 : launchers.posix, { mode: 0o755 });
  writeFileSync(join(folder, "README.txt"), readMe(platform));
  const file = join(out, `${top}.${windows ? "zip" : "tar.gz"}`);
  const bytes = windows ? writeZip(folder, top, file) : writeTarGz(folder, top, file);
  const unpacked = folderBytes(folder);
  rmSync(folder, { recursive: true });
  return { file, bytes, unpacked };
}

const MB = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;
for (const platform of platformsNamed(options.platforms)) {
  if (platform.node === undefined) {
    console.log(`${platform.name}: no archive, no package of npm has Node for it`);
    continue;
  }
  const { file, bytes, unpacked } = makeArchive(platform);
  console.log(`${platform.name}: ${MB(bytes)}, unpacked ${MB(unpacked)}: ${relative(process.cwd(), file)}`);
}
