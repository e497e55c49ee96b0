/** Things that go wrong with large models on small machines, in the words people look for, and what to do here. */

export interface Symptom {
  /** As guides and forums call it. */
  readonly words: string;
  readonly cause: string;
  readonly remedy: string;
}

export const symptoms = {
  memory: {
    words: "out of memory at start-up",
    cause: "weights, keys and values and working memory together are more than there is",
    remedy:
      "give more (--memory, end other programs), ask for less (a smaller --ctx, --kv q8_0), or take a smaller " +
      "quantization; weights need not fit, the rest of them is streamed from the disk",
  },
  notFinite: {
    words: "NaN or Inf in logits",
    cause: "scales of blocks are not finite: the file was damaged on its way, or quantized from values f16 cannot hold",
    remedy:
      "get the file again and compare its SHA-256; if it is the same, take another quantization of the model (a type " +
      "of more bits does not mend a bad scale); `run --check` names the layer in which it begins",
  },
  slow: {
    words: "slow generation",
    cause: "kernels that suit the processor are not in use, or weights are read from the disk at every token",
    remedy:
      "build the addon (`npm run build:native` with a C++17 compiler) and unset HUNDREDWEIGHT_ISA and " +
      "HUNDREDWEIGHT_NATIVE; for weights from the disk more memory or a smaller quantization, `plan MODEL` has figures",
  },
  vocabulary: {
    words: "tokenizer and vocabulary do not match the model",
    cause: "the tokenizer is another model's: it has more tokens than the embedding has rows, or ids it does not have",
    remedy: "take the tokenizer that came with these weights; more rows than tokens is padding, and right",
  },
  conversion: {
    words: "conversion fails on this system (Core ML on Windows)",
    cause: "the container belongs to one maker's systems: Core ML's tools write on macOS and Linux, and run on macOS",
    remedy:
      "use what it was converted from: GGUF files and folders of safetensors are run in place on every system, and " +
      "nothing has to be converted",
  },
  template: {
    words: "answers do not end, or talk to themselves",
    cause: "the chat template is missing or fails, or nothing tells where an answer ends",
    remedy: "give a template (`serve --chat-template-file`), or continue texts as they are (`run --raw`)",
  },
  damaged: {
    words: "the file cannot be read",
    cause: "it is cut off, or not what its name says",
    remedy: "fetch it again: `hundredweight pull` checks every byte",
  },
} as const satisfies Readonly<Record<string, Symptom>>;

export type SymptomName = keyof typeof symptoms;
