/**
 * Writes a model that recites: after each of its words comes the next one, whatever was before. For tests that want
 * an answer.
 */
import { dtypeByName, type TypedValue, writeGguf } from "../../src/formats/index.js";
import { seededNormals } from "../../src/synth/random.js";
import { bpeMetadata, byteAlphabet } from "../../src/synth/tiny-tokenizer.js";

const dim = 128;
const begin = "<|begin|>";
const end = "<|end|>";
const assistant = "<|assistant|>";

/**
 * @param words tokens of the answer, each at most once; those of `controls` are control tokens
 * @param more lines of a chat template between the messages and the beginning of the answer
 */
export async function makeRecitingModel(
  path: string,
  words: readonly string[],
  controls: readonly string[],
  template = `{% for m in messages %}<|user|>{{ m.content }}{% endfor %}${assistant}`,
): Promise<void> {
  const inAlphabet = (word: string): string => [...Buffer.from(word)].map((byte) => byteAlphabet()[byte]!).join("");
  const all = [begin, end, "<|user|>", assistant, ...controls];
  const tokens = [
    ...byteAlphabet(),
    ...words.filter((word) => !controls.includes(word) && word.length > 1).map(inAlphabet),
    ...all,
  ];
  const idOf = (word: string): number => tokens.indexOf(all.includes(word) ? word : inAlphabet(word));
  const vocab = tokens.length;

  const embeddings = new Float32Array(vocab * dim);
  const normal = seededNormals(7, "recite");
  for (let i = 0; i < embeddings.length; i++) embeddings[i] = normal();
  const output = new Float32Array(vocab * dim);
  const chain = [assistant, ...words, end];
  for (let i = 0; i + 1 < chain.length; i++) {
    const [from, to] = [idOf(chain[i]!), idOf(chain[i + 1]!)];
    for (let d = 0; d < dim; d++) output[to * dim + d] = embeddings[from * dim + d]!;
  }

  const u32 = (value: number): TypedValue => ({ type: "u32", value });
  const metadata: [string, TypedValue][] = [
    ["general.architecture", { type: "string", value: "llama" }],
    ["llama.context_length", u32(512)],
    ["llama.embedding_length", u32(dim)],
    ["llama.block_count", u32(1)],
    ["llama.feed_forward_length", u32(dim)],
    ["llama.attention.head_count", u32(2)],
    ["llama.attention.head_count_kv", u32(2)],
    ["llama.attention.layer_norm_rms_epsilon", { type: "f32", value: 1e-5 }],
    ["llama.rope.dimension_count", u32(dim / 2)],
    ["llama.vocab_size", u32(vocab)],
    ...bpeMetadata({ pre: "gpt-2", tokens, controls: all, merges: [], bos: begin, eos: end }),
    ["tokenizer.chat_template", { type: "string", value: template }],
  ];
  const dtype = dtypeByName("F32")!;
  const tensor = (name: string, shape: number[], values: Float32Array) => ({
    name: `${name}.weight`,
    dtype,
    shape,
    data: new Uint8Array(values.buffer, values.byteOffset, values.byteLength),
  });
  const ones = new Float32Array(dim).fill(1);
  const square = (name: string) => tensor(name, [dim, dim], new Float32Array(dim * dim));
  await writeGguf(path, {
    metadata,
    tensors: [
      tensor("token_embd", [dim, vocab], embeddings),
      tensor("output_norm", [dim], ones),
      tensor("output", [dim, vocab], output),
      tensor("blk.0.attn_norm", [dim], ones),
      tensor("blk.0.ffn_norm", [dim], ones),
      ...["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"].map((name) =>
        square(`blk.0.${name}`),
      ),
    ],
  });
}
