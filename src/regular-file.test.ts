import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { closeSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { writeTraces } from "./cli/reports/profile-report.js";
import { openCheckpoint } from "./containers/index.js";
import { asHundredweightError, type ErrorCode, type HundredweightError } from "./errors.js";
import { writeGguf } from "./formats/gguf-write.js";
import type { ProfileReport } from "./ops/profiler.js";
import { openOutputSync, openRegular, openRegularSync, readTextSync } from "./regular-file.js";
import { isCached } from "./weights/page-cache.js";

const folder = mkdtempSync(join(tmpdir(), "hundredweight-"));
after(() => rmSync(folder, { recursive: true }));
const at = (name: string): string => join(folder, name);
const skip = process.platform === "win32" && "SKIPPED: named pipes and devices are no files there";

const faultOf = async (action: () => unknown): Promise<HundredweightError> => {
  try {
    await action();
  } catch (error) {
    return asHundredweightError(error);
  }
  return assert.fail("nothing was thrown");
};

describe("files a person named", { skip, timeout: 60_000 }, () => {
  it("never waits for a pipe, a device or a socket", async () => {
    execFileSync("mkfifo", [at("pipe.gguf")]);
    const socket = createServer().listen(at("socket"));
    await new Promise((resolve) => socket.once("listening", resolve));
    for (const [path, kind] of [
      [at("pipe.gguf"), "a named pipe"],
      [at("socket"), "a socket"],
      ["/dev/zero", "a device"],
    ] as const) {
      const readers = [openRegularSync, openRegular, readTextSync, openCheckpoint];
      for (const open of readers) {
        const { code, message } = await faultOf(() => open(path));
        assert.deepEqual([code, message.includes(kind), message.includes(path)], ["FILE_NOT_REGULAR", true, true]);
      }
      assert.equal(isCached(path, 1e6), false);
    }
    assert.equal((await faultOf(() => openOutputSync(at("pipe.gguf")))).code, "FILE_NOT_REGULAR");
    closeSync(openOutputSync("/dev/null"));
    // A terminal, or memory: a device that keeps or does something is not written over.
    assert.equal((await faultOf(() => openOutputSync("/dev/zero"))).code, "FILE_NOT_REGULAR");
    const one = { metadata: new Map(), tensors: [] } as const;
    const report = { trace: [], cycles: [] } as unknown as ProfileReport;
    for (const path of [at("pipe.gguf"), at("socket"), "/dev/zero"]) {
      assert.equal((await faultOf(() => writeGguf(path, one))).code, "FILE_NOT_REGULAR", path);
      assert.equal((await faultOf(() => writeTraces(path, report))).code, "FILE_NOT_REGULAR", path);
    }
    socket.close();
  });

  it("calls what the system refuses by its name, wherever it was opened", async () => {
    symlinkSync(at("ring"), at("ring"));
    const cases: readonly [path: string, code: ErrorCode][] = [
      [at("ring"), "FILE_IO"],
      [at("n".repeat(300)), "FILE_IO"],
      [folder, "FILE_IO"],
      [at("nothing"), "FILE_NOT_FOUND"],
      [at("zero\0byte"), "FILE_NOT_FOUND"],
    ];
    for (const [path, code] of cases) {
      for (const open of [openRegularSync, openRegular, readTextSync])
        assert.equal((await faultOf(() => open(path))).code, code, path);
      if (path !== folder) assert.equal((await faultOf(() => openCheckpoint(path))).code, code, path);
    }
    // Also where nobody thought of it: a fault with a path is never a bug of ours.
    for (const path of [at("ring"), at("n".repeat(300))])
      assert.equal((await faultOf(() => readFileSync(path))).code, "FILE_IO");
  });

  it("reads what it may", async () => {
    writeFileSync(at("text"), "one\ntwo\n");
    symlinkSync(at("text"), at("link"));
    assert.equal(readTextSync(at("link")), "one\ntwo\n");
    const file = await openRegular(at("link"));
    assert.equal(await file.readFile("utf8"), "one\ntwo\n");
    await file.close();
    const program = `import { readTextSync } from ${JSON.stringify(new URL("./regular-file.js", import.meta.url).href)};
      process.stdout.write(readTextSync(process.argv[1]));`;
    const options = ["--input-type=module", "-e", program, "/dev/stdin"];
    const piped = execFileSync(process.execPath, [...process.execArgv, ...options], { input: "from a pipe" });
    assert.equal(piped.toString(), "from a pipe");
  });
});
