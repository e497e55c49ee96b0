"""Trains the bundled demonstration model and writes it as GGUF. A development tool: the product never runs Python.

    apt-get install bible-kjv bible-kjv-text
    bible "Gen1:1-Rev22:21" > kjv.txt
    pip install torch gguf tokenizers numpy
    python3 scripts/demo/train.py --text kjv.txt --out models/demo.gguf --minutes 40

Text: the King James Bible of 1611 from Debian's bible-kjv-text 4.37 (public domain: the copyright has expired, says the
package): 4 MB of plain, formulaic prose, so that a model of 3.7 M parameters can learn to write it grammatically.
Architecture: llama with grouped-query attention; dim and hidden are multiples of 256 so that K-quants apply to trained
weights.
"""
import argparse, json, math, re, time

import gguf
import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import nn

p = argparse.ArgumentParser()
p.add_argument("--text", required=True)
p.add_argument("--out", required=True)
p.add_argument("--minutes", type=float, default=40)
p.add_argument("--vocab", type=int, default=2048)
p.add_argument("--dim", type=int, default=256)
p.add_argument("--hidden", type=int, default=768)
p.add_argument("--layers", type=int, default=4)
p.add_argument("--batch", type=int, default=32)
p.add_argument("--context", type=int, default=256)
p.add_argument("--lr", type=float, default=2e-3)
p.add_argument("--dropout", type=float, default=0.05)
a = p.parse_args()
HEADS, KV_HEADS, HEAD_DIM, EPS, ROPE_BASE, MODEL_CONTEXT = a.dim // 64, max(1, a.dim // 128), 64, 1e-5, 10000.0, 1024
torch.manual_seed(1)
rng = np.random.default_rng(1)


def chapters(path):
    """The text by chapter, a verse a line, without numbers: `bible` prints a title, then indented numbered verses."""
    chapter, verse = [], ""
    for line in open(path, encoding="utf-8"):
        numbered = re.match(r"\s{2}\d+ (.*)", line)
        title = re.match(r"[1-3]?\s?[A-Z][A-Za-z ]* \d+\s*$", line)
        if (numbered or title) and verse:
            chapter.append(verse)
            verse = ""
        if title:
            if chapter:
                yield "\n".join(chapter)
            chapter = []
        elif numbered:
            verse = numbered.group(1).strip()
        elif line.strip():
            verse += " " + line.strip()
    yield "\n".join(chapter + [verse])


texts = [t for t in chapters(a.text)]
rng.shuffle(texts)
print(f"{len(texts)} chapters, {sum(map(len, texts))} characters")

# --- vocabulary: byte-level BPE, pre-tokenized as GPT-2 does; ids 0 and 1 are the control tokens
tokenizer = Tokenizer(models.BPE())
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
tokenizer.train_from_iterator(
    texts, trainers.BpeTrainer(vocab_size=a.vocab, special_tokens=["<s>", "</s>"], initial_alphabet=alphabet))
trained = json.loads(tokenizer.to_str())["model"]
BOS, EOS = 0, 1
ids = [np.array([BOS] + tokenizer.encode(s).ids + [EOS], dtype=np.int64) for s in texts]
held = max(1, len(ids) // 60)
val, train = np.concatenate(ids[:held]), np.concatenate(ids[held:])
print(f"{len(train)} training tokens, {len(val)} validation tokens, vocabulary {tokenizer.get_vocab_size()}")


def rms(x, w):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + EPS) * w


angle = torch.arange(a.context)[:, None] * ROPE_BASE ** (-torch.arange(0, HEAD_DIM, 2) / HEAD_DIM)
COS, SIN = angle.cos(), angle.sin()


def rope(x):  # pairs (2i, 2i + 1), as GGUF's llama has them
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * COS - odd * SIN, even * SIN + odd * COS), -1).flatten(-2)


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        linear = lambda i, o: nn.Linear(i, o, bias=False)
        self.attn_norm, self.ffn_norm = nn.Parameter(torch.ones(a.dim)), nn.Parameter(torch.ones(a.dim))
        self.q, self.o = linear(a.dim, HEADS * HEAD_DIM), linear(HEADS * HEAD_DIM, a.dim)
        self.k, self.v = linear(a.dim, KV_HEADS * HEAD_DIM), linear(a.dim, KV_HEADS * HEAD_DIM)
        self.gate, self.up, self.down = linear(a.dim, a.hidden), linear(a.dim, a.hidden), linear(a.hidden, a.dim)

    def forward(self, x):
        b, t, _ = x.shape
        h = rms(x, self.attn_norm)
        split = lambda y, n: y.view(b, t, n, HEAD_DIM).transpose(1, 2)
        q, k, v = rope(split(self.q(h), HEADS)), rope(split(self.k(h), KV_HEADS)), split(self.v(h), KV_HEADS)
        k, v = (y.repeat_interleave(HEADS // KV_HEADS, 1) for y in (k, v))
        y = F.scaled_dot_product_attention(q, k, v.to(q.dtype), is_causal=True)
        x = x + F.dropout(self.o(y.transpose(1, 2).reshape(b, t, -1).to(h.dtype)), a.dropout, self.training)
        h = rms(x, self.ffn_norm)
        return x + F.dropout(self.down(F.silu(self.gate(h)) * self.up(h)), a.dropout, self.training)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(a.vocab, a.dim)
        self.layers = nn.ModuleList(Layer() for _ in range(a.layers))
        self.norm = nn.Parameter(torch.ones(a.dim))
        for name, w in self.named_parameters():
            if w.dim() == 2:
                nn.init.normal_(w, std=0.02 / (math.sqrt(2 * a.layers) if "down" in name or ".o." in name else 1))

    def forward(self, ids):
        x = self.embed(ids)
        for layer in self.layers:
            x = layer(x)
        return F.linear(rms(x, self.norm), self.embed.weight)


model = Model()
print(f"{sum(w.numel() for w in model.parameters()) / 1e6:.2f} M parameters")
optimizer = torch.optim.AdamW(model.parameters(), lr=a.lr, betas=(0.9, 0.95), weight_decay=0.1)


def loss_of(data, starts):
    x = torch.from_numpy(np.stack([data[s : s + a.context + 1] for s in starts]))
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(x[:, :-1])
    return F.cross_entropy(logits.float().flatten(0, 1), x[:, 1:].flatten())


def validate():
    model.eval()
    with torch.no_grad():
        loss = np.mean([loss_of(val, range(s, s + 8 * a.context, a.context)).item()
                        for s in range(0, max(1, len(val) - 9 * a.context), 8 * a.context)])
    model.train()
    return loss


started, step, best = time.time(), 0, (1e9, None)
while True:
    done = (time.time() - started) / (a.minutes * 60)
    if done >= 1:
        break
    rate = a.lr * min(1, (step + 1) / 100) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * done)))
    for group in optimizer.param_groups:
        group["lr"] = rate
    loss = loss_of(train, rng.integers(0, len(train) - a.context - 1, a.batch))
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    step += 1
    if step % 100 == 0:
        v = validate()
        if v < best[0]:
            best = (v, {k: t.detach().clone() for k, t in model.state_dict().items()})
        print(f"step {step} {time.time() - started:.0f} s train {loss.item():.3f} val {v:.3f} lr {rate:.1e}", flush=True)
v = validate()
if v >= best[0]:
    model.load_state_dict(best[1])
    v = best[0]
print(f"steps {step}, tokens seen {step * a.batch * a.context}, validation loss {v:.3f}")

# --- GGUF
w = gguf.GGUFWriter(a.out, "llama")
w.add_name("hundredweight demonstration model")
w.add_description(f"Writes in the manner of the King James Bible. {step} steps, validation loss {v:.3f}. scripts/demo/train.py")
w.add_license("Apache-2.0")
w.add_context_length(MODEL_CONTEXT)
w.add_embedding_length(a.dim)
w.add_block_count(a.layers)
w.add_feed_forward_length(a.hidden)
w.add_head_count(HEADS)
w.add_head_count_kv(KV_HEADS)
w.add_rope_dimension_count(HEAD_DIM)
w.add_rope_freq_base(ROPE_BASE)
w.add_layer_norm_rms_eps(EPS)
w.add_vocab_size(a.vocab)
w.add_file_type(1)
by_id = sorted(trained["vocab"].items(), key=lambda kv: kv[1])
w.add_tokenizer_model("gpt2")
w.add_tokenizer_pre("gpt-2")
w.add_token_list([t for t, _ in by_id])
w.add_token_types([3 if i < 2 else 1 for i in range(len(by_id))])
w.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in trained["merges"]])
w.add_bos_token_id(BOS)
w.add_eos_token_id(EOS)
w.add_add_bos_token(True)
f32 = lambda t: t.detach().numpy().astype(np.float32)
f16 = lambda t: t.detach().numpy().astype(np.float16)
w.add_tensor("token_embd.weight", f16(model.embed.weight))
for i, layer in enumerate(model.layers):
    b = f"blk.{i}."
    w.add_tensor(b + "attn_norm.weight", f32(layer.attn_norm))
    for name, part in (("attn_q", layer.q), ("attn_k", layer.k), ("attn_v", layer.v), ("attn_output", layer.o)):
        w.add_tensor(b + name + ".weight", f16(part.weight))
    w.add_tensor(b + "ffn_norm.weight", f32(layer.ffn_norm))
    for name, part in (("ffn_gate", layer.gate), ("ffn_up", layer.up), ("ffn_down", layer.down)):
        w.add_tensor(b + name + ".weight", f16(part.weight))
w.add_tensor("output_norm.weight", f32(model.norm))
w.write_header_to_file()
w.write_kv_data_to_file()
w.write_tensors_to_file()
w.close()
