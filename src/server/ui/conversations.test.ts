import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import fc from "fast-check";
import { HundredweightError } from "../../errors.js";
import { checkConversation, decodeConversation, encodeConversation, exportConversation } from "./conversation-file.js";
import { ConversationStore, defaultDataFolder } from "./conversations.js";
import { newId } from "./ids.js";
import type { Conversation, Message } from "./wire.js";

const folder = mkdtempSync(join(tmpdir(), "hundredweight-conversations-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const message = (parent: string | null, role: Message["role"], content = "x"): Message => ({
  id: newId(),
  parent,
  role,
  content,
  createdAt: new Date().toISOString(),
});

/** A question, two answers of which the second is shown. */
function sample(): Conversation {
  const question = message(null, "user", "Line\nbreaks, “quotes” and \u2028 separators");
  const first = { ...message(question.id, "assistant", "one"), state: "stop" as const };
  const second = { ...message(question.id, "assistant", "two"), state: "length" as const, model: "m" };
  const now = new Date().toISOString();
  const times = { createdAt: now, updatedAt: now };
  const messages = [question, first, second];
  return { id: newId(), title: "T", ...times, system: "S", sampling: { topK: 3 }, leaf: second.id, messages };
}

test("a conversation survives its file and its export", () => {
  const conversation = sample();
  assert.deepEqual(decodeConversation(encodeConversation(conversation)), conversation);
  assert.deepEqual(checkConversation(JSON.parse(exportConversation(conversation))), conversation);
});

test("damage is told, never thrown as anything else", () => {
  const text = encodeConversation(sample());
  fc.assert(
    fc.property(fc.nat(text.length), fc.nat(40), fc.string({ maxLength: 20 }), (at, cut, insert) => {
      try {
        decodeConversation(text.slice(0, at) + insert + text.slice(at + cut));
      } catch (error) {
        assert.ok(error instanceof HundredweightError && error.code === "FORMAT_INVALID", String(error));
      }
    }),
    { numRuns: 300 },
  );
});

test("what is not a tree of turns is refused", () => {
  const good = sample();
  const [question, answer] = good.messages as [Message, Message];
  const refused = (messages: readonly Message[], leaf: string | null, why: RegExp) =>
    assert.throws(() => checkConversation({ version: 1, ...good, messages, leaf }), {
      code: "FORMAT_INVALID",
      message: why,
    });
  refused([answer, question], null, /not before it/);
  refused([{ ...question, parent: question.id }], null, /not before it/);
  refused([question, question], null, /twice/);
  refused([question, { ...answer, role: "user" }], null, /both the user's/);
  refused(
    [answer].map((a) => ({ ...a, parent: null })),
    null,
    /both the assistant's/,
  );
  refused([question], answer.id, /is missing/);
  refused([{ ...question, content: "x".repeat(2 ** 20 + 1) }], null, /content/);
});

test("kept over a restart, the latest first, found by title", async () => {
  const place = join(folder, "restart");
  const store = new ConversationStore(place);
  const cats = await store.create({ title: "About Cats" });
  const dogs = await store.create({ title: "About dogs", system: "Be brief.", sampling: { temperature: 0.5 } });
  const question = message(null, "user", "Are cats kind?");
  await store.update(cats.id, () => ({ messages: [question], leaf: question.id }));

  const again = new ConversationStore(place);
  assert.deepEqual(
    (await again.list()).map((row) => [row.title, row.messages]),
    [
      ["About Cats", 1],
      ["About dogs", 0],
    ],
  );
  assert.deepEqual(
    (await again.list("cAT")).map((row) => row.id),
    [cats.id],
  );
  assert.deepEqual(await again.read(cats.id), await store.read(cats.id));
  assert.deepEqual((await again.read(dogs.id)).sampling, { temperature: 0.5 });
  await again.delete(cats.id);
  await assert.rejects(again.read(cats.id), { code: "CONVERSATION_UNKNOWN" });
  assert.deepEqual(readdirSync(place), [`${dogs.id}.conversation.jsonl`]);
});

test("an answer that was running when the server ended is interrupted", async () => {
  const store = new ConversationStore(join(folder, "interrupted"));
  const { id } = await store.create();
  const question = message(null, "user");
  const answer = { ...message(question.id, "assistant", "half an"), state: "running" as const };
  await store.update(id, () => ({ messages: [question, answer], leaf: answer.id }));
  assert.equal((await store.read(id)).messages[1]?.state, "running");
  const restarted = await new ConversationStore(join(folder, "interrupted")).read(id);
  assert.deepEqual(restarted.messages[1], { ...answer, state: "interrupted" });
});

test("no name reaches beyond the folder", async () => {
  const store = new ConversationStore(join(folder, "inside"));
  writeFileSync(join(folder, "secret.conversation.jsonl"), "{}");
  await store.create();
  for (const id of ["../secret", "..%2fsecret", "", ".", "a/../../secret", "\0", `${newId()}/../../secret`]) {
    await assert.rejects(store.read(id), { code: "CONVERSATION_UNKNOWN" });
    await assert.rejects(store.delete(id), { code: "CONVERSATION_UNKNOWN" });
    await assert.rejects(
      store.update(id, () => ({})),
      { code: "CONVERSATION_UNKNOWN" },
    );
  }
});

test("changes at the same time follow each other, and the file is whole at every moment", async () => {
  const place = join(folder, "parallel");
  const store = new ConversationStore(place);
  const { id } = await store.create();
  const path = join(place, `${id}.conversation.jsonl`);
  const writes = Array.from({ length: 40 }, (_, i) =>
    store.update(id, ({ system }) => ({ system: `${system}${String.fromCharCode(65 + (i % 26))}` })),
  );
  let looks = 0;
  const reading = setInterval(() => {
    decodeConversation(readFileSync(path, "utf8"));
    looks++;
  }, 1);
  await Promise.all(writes);
  clearInterval(reading);
  assert.equal((await store.read(id)).system.length, 40);
  assert.ok(looks > 0);
  assert.deepEqual(readdirSync(place), [`${id}.conversation.jsonl`]); // nothing left beside it
});

test("files that are no conversations are left alone and not listed", async () => {
  const place = join(folder, "strange");
  const store = new ConversationStore(place);
  const { id } = await store.create({ title: "good" });
  const other = newId();
  writeFileSync(join(place, `${newId()}.conversation.jsonl`), "not JSON");
  writeFileSync(join(place, `${newId()}.conversation.jsonl`), readFileSync(join(place, `${id}.conversation.jsonl`)));
  writeFileSync(join(place, `${other}.conversation.jsonl.0123`), "of a crash");
  writeFileSync(join(place, "readme.txt"), "hello");
  const again = new ConversationStore(place);
  assert.deepEqual(
    (await again.list()).map((row) => row.title),
    ["good"],
  );
  assert.equal(readdirSync(place).length, 5);
  // The head is whole, the rest is not.
  const [head] = readFileSync(join(place, `${id}.conversation.jsonl`), "utf8").split("\n");
  writeFileSync(join(place, `${id}.conversation.jsonl`), `${head}\n{"system":`);
  await assert.rejects(new ConversationStore(place).read(id), { code: "FORMAT_INVALID" });
});

test("what is too large is refused and changes nothing", async () => {
  const store = new ConversationStore(join(folder, "large"));
  const { id } = await store.create();
  const large = Array.from({ length: 17 }, () => message(null, "user", "x".repeat(2 ** 20)));
  await assert.rejects(
    store.update(id, () => ({ messages: large })),
    { code: "CONVERSATION_LIMIT", message: /16 MiB/ },
  );
  assert.deepEqual((await store.read(id)).messages, []);
});

test("an import has the name it had where that is free, and replaces nothing", async () => {
  const store = new ConversationStore(join(folder, "import"));
  const original = sample();
  const file = JSON.parse(exportConversation(original));
  assert.deepEqual(await store.import(file), original);
  const others = await Promise.all([store.import(file), store.import(file)]);
  assert.equal(new Set([original.id, ...others.map(({ id }) => id)]).size, 3);
  for (const other of others) assert.deepEqual({ ...other, id: original.id }, original);
  assert.equal((await store.list()).length, 3);
  await store.delete(original.id);
  assert.equal((await store.import(file)).id, original.id, "a deletion is taken back whole");
});

test("the data folder is that of the XDG specification", () => {
  assert.equal(defaultDataFolder({ XDG_DATA_HOME: "/data" }), join("/data", "hundredweight"));
  assert.match(defaultDataFolder({ XDG_DATA_HOME: "relative" }), /\.local.share.hundredweight$/);
});
