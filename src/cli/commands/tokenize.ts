/** `tokenize MODEL [TEXT]`: token ids of a text, or the text of ids. Needs the vocabulary only, not the weights. */
import type { Command } from "commander";
import { openCheckpoint } from "../../containers/index.js";
import { HundredweightError } from "../../errors.js";
import { modelFile } from "../../store/model-word.js";
import { createTokenizer, LongTextEncoder, type Tokenizer } from "../../tokenizer/index.js";
import { parseIds } from "../options/options.js";
import { IdSpool } from "../terminal/id-spool.js";
import { forTerminal, printableJson } from "../terminal/printable.js";

interface TokenizeOptions {
  readonly stdin?: boolean;
  readonly special: boolean;
  readonly decode?: string;
  readonly json?: boolean;
}

export function register(program: Command): void {
  program
    .command("tokenize")
    .description("Show the token ids of a text, or the text of token ids.")
    .argument("<model>", "GGUF file; a vocabulary without tensors will do")
    .argument("[text]", "the text")
    .option("--stdin", "read the text from standard input (UTF-8; invalid bytes become U+FFFD)")
    .option("--no-special", "neither add BOS and EOS nor recognise control tokens in the text")
    .option("--decode <ids>", "print the text of ids instead: 1,2,3 or '1 2 3' or '[1,2,3]'")
    .option("--json", 'print {"ids": [...], "pieces": [...]}, with --decode {"text": ...}')
    .action(async (model: string, text: string | undefined, options: TokenizeOptions) => {
      const given = [text !== undefined, options.stdin === true, options.decode !== undefined].filter(Boolean).length;
      if (given !== 1) {
        throw new HundredweightError("OPTION_INVALID", "tokenize: give one of TEXT, --stdin and --decode IDS");
      }
      const ids = options.decode === undefined ? undefined : parseIds(options.decode, "--decode");
      const tokenizer = createTokenizer((await openCheckpoint(modelFile(model))).metadata);
      if (ids !== undefined) await print(decode(tokenizer, ids, options));
      else await encode(tokenizer, text === undefined ? stdinParts() : [text], options);
    });
}

/** A line of ids is written as it is made; of JSON the pieces come behind all ids, which wait in a file meanwhile. */
async function encode(
  tokenizer: Tokenizer,
  texts: Iterable<string> | AsyncIterable<string>,
  options: TokenizeOptions,
): Promise<void> {
  const shown = (id: number) => printableJson(JSON.stringify(tokenizer.piece(id)));
  if (options.json !== true) {
    for await (const ids of pieces(tokenizer, texts, options))
      await print(Array.from(ids, (id) => `${String(id).padStart(7)}  ${shown(id)}\n`).join(""));
    return;
  }
  const spool = new IdSpool();
  try {
    let before = '{"ids":[';
    for await (const ids of pieces(tokenizer, texts, options)) {
      if (ids.length === 0) continue;
      spool.write(ids);
      await print(before + ids.join(","));
      before = ",";
    }
    await print(`${before === "," ? "" : before}],"pieces":[`);
    before = "";
    for (const ids of spool.read()) {
      await print(before + Array.from(ids, shown).join(","));
      before = ",";
    }
    await print("]}\n");
  } finally {
    spool.close();
  }
}

async function* pieces(
  tokenizer: Tokenizer,
  texts: Iterable<string> | AsyncIterable<string>,
  { special }: TokenizeOptions,
): AsyncGenerator<Int32Array> {
  const encoder = new LongTextEncoder(tokenizer, { addSpecial: special, parseSpecial: special });
  for await (const text of texts) yield encoder.push(text);
  yield encoder.end();
}

function decode(tokenizer: Tokenizer, ids: Int32Array, options: TokenizeOptions): string {
  const unknown = ids.find((id) => id >= tokenizer.size);
  if (unknown !== undefined) {
    throw new HundredweightError(
      "OPTION_INVALID",
      `--decode: ${unknown} is not an id of this vocabulary (0 to ${tokenizer.size - 1})`,
    );
  }
  const text = tokenizer.decode(ids, { special: options.special });
  return options.json ? `${printableJson(JSON.stringify({ text }))}\n` : `${forTerminal(text)}\n`;
}

async function* stdinParts(): AsyncGenerator<string> {
  // A byte order mark is text: llama.cpp keeps it too.
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  for await (const chunk of process.stdin) yield decoder.decode(chunk as Buffer, { stream: true });
  yield decoder.decode();
}

/**
 * Waits until a pipe has taken everything: the process may end right after. Faults are told by who watches the streams.
 */
function print(text: string): Promise<void> {
  return new Promise((resolve) => {
    process.stdout.write(text, () => resolve());
  });
}
