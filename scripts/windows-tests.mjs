// What scripts/windows-under-wine.mjs runs. Fewer that pass than named here is a failure.

/** Programs of native/test. */
export const nativePrograms = ["kernel_test", "io_test", "ring_test", "pool_test", "placement_test"];

/**
 * Whole files, and how many of their tests have to pass: the contract with 3 threads of the best instruction set.
 * `whole`: only with --whole, a minute and a half.
 */
export const suites = [
  { files: ["dist/test/contract/ops.test.js"], least: 169 },
  { files: ["dist/src/native/threads.test.js", "dist/src/weights/memory-limit.test.js"], least: 17 },
  { files: ["dist/test/contract/linear-t.test.js", "dist/test/contract/planes.test.js"], least: 250, whole: true },
];

/** Tests of the command line by file of dist and name: processes with pipes and files, exit codes, texts. */
export const namedTests = {
  "dist/src/cli/cli.test.js": [
    "usage errors: exit code 2, one line naming the option, nothing on stdout",
    "a file that is missing or no model: exit code 1 and one line, for every command",
    "help of every command, on stdout, exit code 0",
    "the name alone begins with three commands, and is wrong use",
    "a plan says how long a page takes",
    "doctor prints one JSON document",
    "sizes and CPU lists",
    "the memory document adds up",
    "the disk under a path: the longest mount point wins",
  ],
  "dist/src/cli/commands/index.test.js": [
    "the list of commands says what the commands say of themselves",
    "only what is named has options; the others are there by name",
  ],
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
  "dist/src/cli/commands/perplexity.test.js": ["figures do not depend on how the ids come in pieces"],
  "dist/test/convert/quantize-model.test.js": [
    "types, sizes and metadata are those of the plan; the same bytes for any number of threads",
    "matrices of a stack have their own importance",
    "shards are kept or joined, and the tensors are the same",
    "what is quantized already is refused, unless it is asked for",
    "a value that is no number is named, and nothing is left",
  ],
  "dist/test/cli-completion.test.js": [
    "PowerShell's script names every command, option and choice",
    "words behind a colon are taken for choices where they are some, and nowhere else",
    "the command writes the script of a shell, and no other",
  ],
  "dist/test/cli-run.test.js": [
    "run --json: exactly the fields of the contract, consistent with each other",
    "run: the text is stdout; the seed repeats it, also in another process and chunking",
    "run: piped text is the prompt, or comes before an argument; nothing at all is a usage error",
    "run: a pipe that nobody writes to or closes does not hold an argument up",
    "a prompt longer than the context: CONTEXT_EXCEEDED with both numbers, exit code 1",
    "a KV cache beyond all memory is refused before it is allocated",
    "logits: raw little-endian f32, the last row or all; a full disk is one line",
    "perplexity: the definition, computed again from logits",
    "bench --json: runs, medians and spread",
    "chat: commands, answers, template errors",
  ],
  "dist/test/cli-plan-synth.test.js": [
    "a gate of a shared expert is no router: skew leaves it alone",
    "synth writes what plan, tokenize and logits read",
    "plan without a file: table, advice, too little memory",
    "wrong use is exit code 2, and leaves no file",
  ],
  "dist/test/batch-files.test.js": [
    "a hostile line has an error, its neighbours their answers",
    "answers to other prompts under the same ids are not mixed",
  ],
  "dist/test/cli-doctor.test.js": [
    "a sound model: every check, exit code 0",
    "conversion fails on this system: a Core ML package",
  ],
  "dist/test/cli-embed.test.js": ["lines of standard input, in their order; what the library says"],
  "dist/test/convert/resume.test.js": [
    "a conversion of another source, or into another type, begins anew",
    "what cannot be written is said before",
  ],
};
