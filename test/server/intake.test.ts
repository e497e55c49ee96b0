/** Large bodies are bounded together for as long as their texts wait, not only while they arrive. */
import assert from "node:assert/strict";
import { it } from "node:test";
import type { TextService } from "../../src/text/index.js";
import { chatModel } from "./chat-model.js";
import { FakeEngine } from "./fake-engine.js";
import { postJson, serveForTests, until } from "./support.js";

it("refuses large bodies while others wait to become tokens, and takes them afterwards", async () => {
  let go = (): void => {};
  const open = new Promise<void>((resolve) => {
    go = resolve;
  });
  let waiting = 0;
  const text = {
    info: { vocab: 2048, templates: ["default"], bos: 1, eos: 2 },
    restarts: 0,
    sample: Promise.resolve(undefined),
    perform: async () => {
      waiting++;
      await open;
      return "rendered";
    },
    hurry: () => {},
    close: async () => {},
  } as unknown as TextService;
  const server = await serveForTests({
    modelPath: await chatModel(),
    openEngine: async () => new FakeEngine(),
    openText: async () => text,
    log: () => {},
  });
  const mebibyte = 2 ** 20;
  const render = (bytes: number): Promise<Response> =>
    postJson(`${server.url}/apply-template`, { messages: [{ role: "user", content: "a".repeat(bytes) }] });
  const held = Array.from({ length: 4 }, () => render(2 * mebibyte));
  await until(() => waiting === 4, "8 MiB wait");
  const refused: Response[] = [];
  let lost = 0;
  const more = Array.from({ length: 4 }, () =>
    render(3 * mebibyte).then(
      (answer) => void refused.push(answer),
      // On a busy machine it is cut off before its client has read that it is refused.
      () => void lost++,
    ),
  );
  await until(() => waiting === 5 && refused.length + lost === 3, "one more fits", 60_000);
  for (const answer of refused.slice(0, 3)) {
    assert.equal(answer.status, 429);
    assert.match(answer.headers.get("retry-after") ?? "", /^\d+$/);
    assert.equal(((await answer.json()) as { error: { code: string } }).error.code, "too_many_bytes");
  }
  const small = render(1000);
  await until(() => waiting === 6, "a small one passes whatever waits");
  go();
  for (const answer of [...held, small]) assert.equal((await answer).status, 200);
  await Promise.all(more);
  assert.equal(refused.at(-1)?.status, 200);
  assert.equal((await render(3 * mebibyte)).status, 200);
});
