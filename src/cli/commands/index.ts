/**
 * The commands, one file each, which exports `register(program)`. Only the files of commands that are named on the
 * command line are loaded: all of them take longer to load than a small model.
 */
import type { Command } from "commander";
import { holdYoungGeneration } from "../../process/own-memory.js";

export interface CommandEntry {
  /** Name and arguments, for the list of commands. */
  readonly usage: string;
  readonly summary: string;
  readonly load: () => Promise<{ readonly register: (program: Command) => void }>;
}

export const commands: readonly CommandEntry[] = [
  {
    usage: "run [options] [model] [prompt]",
    summary: "Generate text. The chat template of the file is applied when it has one, unless --raw.",
    load: () => import("./run.js"),
  },
  {
    usage: "chat [options] [model]",
    summary: "Talk to a model: /help lists what can be typed, Ctrl-C stops an answer.",
    load: () => import("./chat.js"),
  },
  {
    usage: "serve [options] [model]",
    summary: "Serve a model to OpenAI, Anthropic, Ollama and llama-server clients and as a web page.",
    load: () => {
      // Loading makes the most garbage there ever is at once.
      holdYoungGeneration();
      return import("./serve.js");
    },
  },
  {
    usage: "top [options] [url]",
    summary: "Watch a running server: tokens, disk, waiting, KV cache, queue, memory by kind, experts; q ends.",
    load: () => import("./top.js"),
  },
  {
    usage: "batch [options] <in> <out>",
    summary: "Answer a file of OpenAI batch lines, many at a time; goes on where it was interrupted.",
    load: () => import("./batch.js"),
  },
  {
    usage: "work [options] [model]",
    summary: "Answer lines of batches that others submit to a queue (`batch --queue`), for as long as it runs.",
    load: () => import("./work.js"),
  },
  {
    usage: "embed [options] <model> [files...]",
    summary: "Write a vector for each text, a line of JSON each: lines of files or of standard input are texts.",
    load: () => import("./embed.js"),
  },
  {
    usage: "plan [options] [model]",
    summary: "Show before loading: does it fit, what is pinned and what streamed, how fast, what would help.",
    load: () => import("./plan.js"),
  },
  {
    usage: "doctor [options] [model]",
    summary: "Show what this machine offers, or look a model over from its container to its first tokens.",
    load: () => import("./doctor.js"),
  },
  {
    usage: "bench [options] <model>",
    summary: "Measure prefill and decode: pseudo-random tokens, empty cache, one warm-up run, medians and spread.",
    load: () => import("./bench.js"),
  },
  {
    usage: "pull [options] <name>",
    summary: "Fetch a model from Hugging Face, Ollama or an address; goes on where it was interrupted.",
    load: () => import("./pull.js"),
  },
  {
    usage: "list [options] [words]",
    summary: "List the models on this computer: fetched ones, and those of Hugging Face, Ollama, LM Studio, Jan.",
    load: () => import("./list.js"),
  },
  {
    usage: "find [options] <words...>",
    summary: "Search for models with GGUF files: on this computer, and on Hugging Face.",
    load: () => import("./find.js"),
  },
  {
    usage: "rm [options] <name>",
    summary: "Delete a model that was fetched; models of other programs stay where they are.",
    load: () => import("./rm.js"),
  },
  {
    usage: "quantize [options] <in> <out> [type]",
    summary: "Write a GGUF model in other types: llama-quantize's mixes, types a tensor, and bytes.",
    load: () => import("./quantize.js"),
  },
  {
    usage: "calibrate [options] <model> <texts...>",
    summary: "Find which columns of each matrix matter for a text: the importance matrix that `quantize` takes.",
    load: () => import("./calibrate.js"),
  },
  {
    usage: "quality [options] <reference> <words...>",
    summary:
      "Compare models with a reference over texts: perplexity, KL divergence a token, how often the likeliest token " +
      "is the same, by text. As llama-perplexity --kl-divergence, with nothing stored.",
    load: () => import("./quality.js"),
  },
  {
    usage: "mix [options] <in> <out>",
    summary:
      "Quantize a model to a size: the type of every tensor is chosen by what its errors do to the model, measured " +
      "over texts. The result is compared with llama-quantize's mix of that size; the better of both is written.",
    load: () => import("./mix.js"),
  },
  {
    usage: "teach [options] <model> <text> <out>",
    summary:
      "Write what a model says of every token of a text as some tokens drawn by their probability: unbiased, and a " +
      "thousandth of the logits. For students; `quality` takes the file as a reference.",
    load: () => import("./teach.js"),
  },
  {
    usage: "factorize [options] <in> <out>",
    summary:
      "Write a GGUF model in which matrices are two factors (whitened SVD). It runs here, not in llama.cpp. Fewer " +
      "bits lose less at equal bytes: compare with `quality`.",
    load: () => import("./factorize.js"),
  },
  {
    usage: "prune [options] <in> <out>",
    summary:
      "Write a GGUF model without the layers that change least of what goes through them (block influence), " +
      "without the experts that add least to their layer (REAP), without channels of feed-forward nets, or " +
      "without heads of keys and values, as llama.cpp loads it. The file is smaller and much worse: compare it " +
      "with `quality`. With --tie nothing is lost.",
    load: () => import("./prune.js"),
  },
  {
    usage: "synth [options] <spec> [out]",
    summary:
      "Write a random model of a real shape, to try a machine before the download. It loads everywhere and " +
      "says nothing.",
    load: () => import("./synth.js"),
  },
  {
    usage: "convert [options] <in> <out>",
    summary: "Write a model in another container; a conversion that was interrupted goes on where it was.",
    load: () => import("./convert.js"),
  },
  {
    usage: "inspect [options] <model>",
    summary: "Show metadata, tensors and sizes of a model file.",
    load: () => import("./inspect.js"),
  },
  {
    usage: "tokenize [options] <model> [text]",
    summary: "Show the token ids of a text, or the text of token ids.",
    load: () => import("./tokenize.js"),
  },
  {
    usage: "logits [options] <model>",
    summary: "Write the next-token logits after the last (or every) given token: raw little-endian f32 [rows, vocab].",
    load: () => import("./logits.js"),
  },
  {
    usage: "perplexity [options] <model> <file>",
    summary: "Perplexity of a text: chunks of --ctx tokens (default 512), BOS first, the second half of each scored.",
    load: () => import("./perplexity.js"),
  },
  {
    usage: "completion [options] <shell>",
    summary: "Write the script that completes commands and options in a shell.",
    load: async () => {
      const { registerFor } = await import("./completion.js");
      return { register: (program) => registerFor(program, commands) };
    },
  },
];

/** Registers the commands that are among the arguments with all they have, the others by name. */
export async function registerCommands(program: Command, argv: readonly string[]): Promise<void> {
  for (const { usage, summary, load } of commands) {
    const name = usage.split(" ", 1)[0]!;
    if (argv.includes(name)) (await load()).register(program);
    else
      program
        .command(name)
        .description(summary)
        .usage(usage.slice(name.length + 1));
  }
}
