/**
 * Where a binary that was built elsewhere lies: in a package of its own for each platform, of which npm installs those
 * that the fields `os`, `cpu` and `libc` allow (decision 0059).
 */
import { createRequire } from "node:module";
import { join } from "node:path";
import { packageRoot } from "../package-root.js";

/** Every platform that packages are built for; `scripts/release/platforms.mjs` says how, and a test compares. */
export const prebuiltPlatforms = [
  "linux-x64",
  "linux-x64-musl",
  "linux-arm64",
  "win32-x64",
  "win32-arm64",
  "darwin-x64",
  "darwin-arm64",
] as const;

export type PrebuiltPlatform = (typeof prebuiltPlatforms)[number];

export const prebuiltPackage = (platform: PrebuiltPlatform) => `@hundredweight/${platform}`;

/** The path of a file of an installed package, or undefined. */
export type Resolve = (specifier: string) => string | undefined;

const fromPackage: Resolve = (specifier) => {
  try {
    return createRequire(join(packageRoot(), "package.json")).resolve(specifier);
  } catch {
    return undefined;
  }
};

/**
 * Binaries that may run here, in the order in which they should be tried. An npm that ignores `libc` installs the one
 * of glibc and the one of musl: the wrong one cannot be loaded, and the next is tried.
 */
export function prebuiltBinaries(
  { platform, arch }: { readonly platform: string; readonly arch: string } = process,
  resolve: Resolve = fromPackage,
): string[] {
  const here = `${platform}-${arch}`;
  return prebuiltPlatforms
    .filter((name) => name === here || name === `${here}-musl`)
    .map((name) => resolve(`${prebuiltPackage(name)}/hundredweight.node`))
    .filter((path) => path !== undefined);
}
