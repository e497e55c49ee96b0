import assert from "node:assert/strict";
import { test } from "node:test";
import { prebuiltBinaries, prebuiltPackage, prebuiltPlatforms, type Resolve } from "./prebuilt.js";

const installed =
  (...platforms: string[]): Resolve =>
  (specifier) =>
    platforms.some((name) => specifier === `@hundredweight/${name}/hundredweight.node`)
      ? `/at/${specifier}`
      : undefined;
const at = (name: string) => `/at/@hundredweight/${name}/hundredweight.node`;

test("the package of this platform, and on Linux that of musl after that of glibc", () => {
  const everything = installed(...prebuiltPlatforms);
  const binaries = (platform: string, arch: string, resolve = everything) =>
    prebuiltBinaries({ platform, arch }, resolve);
  assert.deepEqual(binaries("linux", "x64"), [at("linux-x64"), at("linux-x64-musl")]);
  assert.deepEqual(binaries("linux", "arm64"), [at("linux-arm64")]);
  assert.deepEqual(binaries("darwin", "arm64"), [at("darwin-arm64")]);
  assert.deepEqual(binaries("win32", "x64"), [at("win32-x64")]);
  assert.deepEqual(binaries("linux", "x64", installed("linux-x64-musl")), [at("linux-x64-musl")]);
  assert.deepEqual(binaries("freebsd", "x64"), []);
  assert.deepEqual(binaries("linux", "x64", installed()), []);
});

test("nothing is installed in a checkout, and the scope is ours", () => {
  assert.equal(prebuiltPackage("win32-arm64"), "@hundredweight/win32-arm64");
  assert.deepEqual(prebuiltBinaries({ platform: "linux", arch: "s390x" }), []);
});
