/** Trimming gives malloc's free blocks back to the system, and the old generation stays near what lives. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { addonStatus, loadAddon } from "../native/addon.js";

const built = fileURLToPath(new URL("./own-memory.js", import.meta.url));
const skip =
  loadAddon() === undefined
    ? `SKIPPED: ${addonStatus().reason}`
    : !existsSync(built)
      ? "SKIPPED: needs the build"
      : !existsSync("/proc/self/status") && "SKIPPED: this system does not tell a process's memory";
if (skip) console.error(`own memory: ${skip}`);

/** Runs a program with `own` (own-memory.js), `anonymous()` in MB, `gc()`; returns what it prints as JSON. */
function inChild(program: string): number[] {
  const source = `
    import { readFileSync } from "node:fs";
    const own = await import(${JSON.stringify(built)});
    const anonymous = () => Number(/^RssAnon:\\s+(\\d+)/m.exec(readFileSync("/proc/self/status", "utf8"))[1]) / 1024;
    ${program}`;
  const child = spawnSync(process.execPath, ["--expose-gc", "--input-type=module", "-e", source], { encoding: "utf8" });
  assert.equal(child.status, 0, child.stderr);
  return JSON.parse(child.stdout) as number[];
}

test("free memory between blocks in use is given back", { skip }, () => {
  const [full, freed, trimmed] = inChild(`
    let large = [];
    const small = [];
    for (let i = 0; i < 2000; i++) {
      large.push(new Uint8Array(60_000).fill(1));
      small.push(new Uint8Array(200).fill(1)); // keeps malloc from giving back what is below it
    }
    const full = anonymous();
    large = undefined;
    gc(); gc();
    const freed = anonymous();
    own.trimOwnMemory();
    console.log(JSON.stringify([full, freed, anonymous(), small.length]));`) as [number, number, number];
  assert.ok(full > 110, `only ${full} MiB were held`);
  assert.ok(trimmed < full - 80, `${full} MiB, freed ${freed}, trimmed ${trimmed}`);
});

test("what lived for a while and is garbage does not pile up", { skip }, () => {
  const most = (bounded: boolean): number =>
    inChild(`
      if (${bounded}) own.boundOwnMemory();
      gc();
      let most = 0;
      const living = new Array(60_000);
      for (let i = 0; i < 3_000_000; i++) {
        living[i % 60_000] = { id: i, text: "answer " + i, next: [i, i + 1, i + 2] };
        if (i % 10_000 === 0) most = Math.max(most, process.memoryUsage().heapTotal / 2 ** 20);
      }
      console.log(JSON.stringify([most]));`)[0]!;
  const [bounded, free] = [most(true), most(false)];
  assert.ok(bounded < 0.9 * free, `${bounded} MiB with the bound, ${free} without`);
});
