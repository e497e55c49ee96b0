/** Shared beginnings of tests of the addon's own calls. */
import assert from "node:assert/strict";
import { HundredweightError } from "../../src/errors.js";
import { addonStatus, loadAddon } from "../../src/native/addon.js";
import type { NativeAddon } from "../../src/native/addon.types.js";

/** Absent only where `skipAddon` says so. */
export const addon = loadAddon() as NativeAddon;

/** Why nothing native can be tested here; said aloud. */
export const skipAddon = addon === undefined ? `the addon is not loaded: ${addonStatus().reason}` : false;
if (skipAddon) console.error(`SKIPPED tests of the addon: ${skipAddon}`);

/** The code of the error that `body` throws, which must be one of ours. */
export function codeOf(body: () => unknown): string {
  try {
    body();
  } catch (error) {
    assert.ok(error instanceof HundredweightError, `not our error: ${error}`);
    return error.code;
  }
  return "no error";
}

export function assertWrongCall(body: () => unknown, what?: string): void {
  assert.equal(codeOf(body), "NATIVE_ARGUMENT", what);
}

export const i32 = (...numbers: number[]): Int32Array => Int32Array.from(numbers);
