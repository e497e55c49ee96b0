/**
 * The test programs of native/test: plain, under the address and undefined-behaviour sanitizers, and those with threads
 * under the thread sanitizer. The programs of kernels are sanitized, and the kernels with them, in a whole sweep only:
 * the kernels alone compile for four minutes then.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { before, describe, it } from "node:test";
import { packageRoot } from "../../src/package-root.js";
import { buildNative, compiler, sanitizerMissing } from "../support/native-build.js";
import { wholeSweeps } from "../support/sweeps.js";

const root = packageRoot();
const programs = readdirSync(join(root, "native/test"))
  .filter((name) => name.endsWith(".cc"))
  .map((name) => name.slice(0, -3));
const kernelPrograms = ["kernel_test", "float_test", "attention_test"];
/** One thread only, or a minute under the thread sanitizer for nothing shared. */
const sharing = programs.filter((name) => !kernelPrograms.includes(name));

interface Build {
  readonly name: string;
  readonly folder: string;
  readonly programs: readonly string[];
  readonly sanitize?: string;
}

const builds: readonly Build[] = [
  { name: "as they are", folder: "build/native", programs },
  {
    name: "under the address and undefined-behaviour sanitizers",
    folder: "build/native-asan",
    programs: wholeSweeps ? programs : sharing,
    sanitize: "address,undefined",
  },
  {
    name: "under the thread sanitizer",
    folder: "build/native-tsan",
    programs: sharing,
    sanitize: "thread",
  },
];

function missing({ sanitize }: Build): string | undefined {
  if (compiler === undefined) return "no C++ compiler";
  return sanitize === undefined ? undefined : sanitizerMissing(sanitize);
}

for (const build of builds) {
  const reason = missing(build);
  if (reason !== undefined) console.log(`NOT TESTED: native programs ${build.name}: ${reason}`);
  describe(`native programs ${build.name}`, {
    skip: reason ?? false,
    timeout: wholeSweeps ? 7_200_000 : 600_000,
  }, () => {
    before(() => {
      const sanitize = build.sanitize === undefined ? [] : [`--sanitize=${build.sanitize}`];
      if (wholeSweeps) sanitize.push("--whole");
      buildNative([...sanitize, `--only=${build.programs.join(",")}`]);
    });
    for (const program of build.programs) {
      it(program, (t) => {
        const sweep = wholeSweeps && kernelPrograms.includes(program) ? ["--whole"] : [];
        const run = spawnSync(join(root, build.folder, program), sweep, {
          encoding: "utf8",
          env: { ...process.env, HUNDREDWEIGHT_ISA: "", UBSAN_OPTIONS: "print_stacktrace=1" },
          maxBuffer: 2 ** 28,
          timeout: wholeSweeps ? 3_600_000 : 300_000,
        });
        const output = `${run.stdout}${run.stderr}`;
        assert.equal(run.status, 0, `ended with ${run.status ?? run.signal}\n${output.slice(-8000)}`);
        const summary = run.stdout.trimEnd().split("\n").at(-1) ?? "";
        assert.match(summary, /all passed$|[1-9]\d* checks, 0 failures$/, output.slice(-2000));
        t.diagnostic(summary);
        // What this machine cannot test is said here too.
        for (const line of run.stdout.split("\n")) if (line.startsWith("NOT TESTED")) t.diagnostic(line);
      });
    }
  });
}
