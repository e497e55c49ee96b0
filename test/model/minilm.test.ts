/**
 * A real encoder: all-MiniLM-L6-v2, converted by llama.cpp. Its vectors are llama.cpp's, for texts as for tokens, and
 * a sentence's nearest neighbour is the one that says the same.  Needs: node scripts/fetch-encoder.mjs
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "../../src/library/model.js";
import { fetchedModel, openPeer } from "../support/peer.js";
import { cosine } from "../support/vectors.js";

const path = fetchedModel("all-MiniLM-L6-v2.F32.gguf", false);
const skip = path === undefined ? "SKIPPED: run node scripts/fetch-encoder.mjs for all-MiniLM-L6-v2" : false;

/** Pairs that say the same in other words, and are far from all others. */
const pairs: readonly (readonly [string, string])[] = [
  ["A man is eating a plate of pasta.", "Someone is having spaghetti for dinner."],
  ["The stock market fell sharply on Monday.", "Shares dropped a lot at the start of the week."],
  ["How do I reset my password?", "I forgot my login credentials, what should I do?"],
  ["The cat is sleeping on the sofa.", "A kitten naps on the couch."],
  ["It will probably rain tomorrow.", "The forecast says showers for the next day."],
  ["She plays the violin in an orchestra.", "The woman is a professional musician in a symphony."],
  ["The recipe needs two eggs and some flour.", "For this cake you mix flour with a couple of eggs."],
  ["Python is a popular programming language.", "Many developers write their code in Python."],
  ["The doctor prescribed antibiotics.", "He was given medicine by his physician against the infection."],
  ["Our flight to Berlin was delayed by three hours.", "The plane to Germany left much later than planned."],
];
const texts = pairs.flat();

test("a sentence's nearest neighbour says the same", { skip }, async (t) => {
  const model = await load(path!, { sequences: 8 });
  try {
    assert.deepEqual([model.info.vectors?.pooling, model.info.dim, model.info.contextTokens], ["mean", 384, 512]);
    const vectors = await model.embed(texts);
    let least = Number.POSITIVE_INFINITY;
    for (const [i, vector] of vectors.entries()) {
      const near = vectors.map((other, j) => (i === j ? -1 : cosine(vector, other)));
      const partner = i ^ 1;
      const rest = Math.max(...near.filter((_, j) => j !== partner));
      assert.ok(near[partner]! > rest, `${texts[i]} is nearer to ${texts[near.indexOf(rest)]}`);
      least = Math.min(least, near[partner]! - rest);
    }
    t.diagnostic(`20 of 20, the partner nearer by at least ${least.toFixed(3)}`);
    await assert.rejects(model.embed("word ".repeat(600)), /602 tokens do not fit the context of 512/);
  } finally {
    await model.close();
  }
});

test("its vectors are llama.cpp's", { skip }, async (t) => {
  const peer = openPeer();
  if (peer === undefined) return t.skip("llama.cpp is not installed: run scripts/fetch-peer.mjs");
  const model = await load(path!, { sequences: 8 });
  try {
    const ids = await Promise.all(texts.map((text) => model.tokenize(text, { special: true })));
    const { vectors } = await peer.ask<{ vectors: number[][] }>("embedAll", { path, texts: ids });
    const ours = await model.embed(texts);
    const least = Math.min(...ours.map((vector, i) => cosine(vector, vectors[i]!)));
    t.diagnostic(`cosine at least 1 - ${(1 - least).toExponential(2)}`);
    assert.ok(least > 0.9999);
  } finally {
    await model.close();
    peer.close();
  }
});
