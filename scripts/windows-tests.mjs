// What scripts/windows-under-wine.mjs runs. Fewer that pass than named here is a failure.

/** Programs of native/test. */
export const nativePrograms = ["kernel_test", "io_test", "ring_test", "pool_test", "placement_test"];

/** Whole files, and how many of their tests have to pass. */
export const suites = [
  { files: ["dist/test/contract/linear-t.test.js", "dist/test/contract/planes.test.js"], least: 2 },
  { files: ["dist/src/native/threads.test.js", "dist/src/weights/memory-limit.test.js"], least: 10 },
];

/** Tests of the command line by file of dist and name: processes with pipes and files, exit codes, texts. */
export const namedTests = {
  "dist/src/cli/commands/tokenize.test.js": [
    "ids and pieces, with special tokens and without",
    "standard input: exact text, invalid bytes replaced",
    "decoding shows control tokens unless --no-special",
    "wrong use ends with code 2 and one line",
    "a text of a megabyte comes in pieces, with the ids of the whole",
  ],
  "dist/src/cli/commands/inspect.test.js": [
    "inspect --json is one document with the agreed fields",
    "inspect as text: sizes, metadata, tensors on request, no escape sequences of the file",
    "a vocabulary without tensors; wrongly typed keys do not stop the report",
    "failures are one line and an exit code",
  ],
};
