import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { cacheFolder, dataFolder } from "./user-folders.js";

test("each system has its folders; the XDG variables count everywhere, when they are absolute", () => {
  const of = (platform: NodeJS.Platform, env: Record<string, string> = {}) => ({ platform, env, home: "/home/me" });
  assert.equal(dataFolder(of("linux")), join("/home/me", ".local", "share", "hundredweight"));
  assert.equal(cacheFolder(of("linux", { XDG_CACHE_HOME: "relative" })), join("/home/me", ".cache", "hundredweight"));
  assert.equal(dataFolder(of("darwin")), join("/home/me", "Library", "Application Support", "hundredweight"));
  assert.equal(cacheFolder(of("darwin")), join("/home/me", "Library", "Caches", "hundredweight"));
  assert.equal(dataFolder(of("win32", { LOCALAPPDATA: "/local" })), join("/local", "hundredweight"));
  assert.equal(cacheFolder(of("win32")), join("/home/me", "AppData", "Local", "hundredweight", "cache"));
  for (const platform of ["linux", "darwin", "win32"] as const)
    assert.equal(dataFolder(of(platform, { XDG_DATA_HOME: "/data" })), join("/data", "hundredweight"));
});
