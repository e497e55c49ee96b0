import assert from "node:assert/strict";
import { test } from "node:test";
import { type BadLine, type BatchRequest, bodyWith, readRequest } from "./request.js";

const line = (bytes: Buffer | string) => {
  const held = Buffer.from(bytes as string);
  return readRequest({ number: 1, bytes: held, start: 0, end: held.length, ended: true });
};
const about = '"custom_id":"a","method":"POST","url":"/v1/completions"';
const request = (text: string) => line(text).request as BatchRequest;
const fault = (bytes: Buffer | string) => line(bytes).request as BadLine;

test("the body is handed on as it was written, whatever its place, its neighbours and its names", () => {
  const bodies = [
    '{"prompt":"a}]\\"{","temperature":1e999}',
    "{}",
    '{ "prompt" : [ 1 , 2 ] }',
    '{"a":{"body":{"b":[{}]}}}',
  ];
  for (const body of bodies) {
    for (const text of [
      `{${about},"body":${body}}`,
      ` { "body" : ${body} , ${about} } \r`,
      `{"body":{"first":1},${about},"bod\\u0079":${body},"more":[{"body":{"x":1}},",\\"body\\":{}"]}`,
    ])
      assert.equal(request(text).text.toString().trim(), body, text);
  }
});

test("what a line leaves out or says is null is added, and nothing else changes", () => {
  const more = { seed: 7, max_tokens: 9 };
  const merged = (body: string) => JSON.parse(bodyWith(request(`{${about},"body":${body}}`), more).toString());
  assert.deepEqual(merged("{}"), more);
  assert.deepEqual(merged(" { } "), more);
  assert.deepEqual(merged('{"prompt":"}","seed":null}'), { prompt: "}", ...more });
  assert.deepEqual(merged('{"seed":1,"max_tokens":2}'), { seed: 1, max_tokens: 2 });
  assert.equal(bodyWith(request(`{${about},"body":{"seed":1e999}}`), { seed: 1 }).toString(), '{"seed":1e999}');
});

test("a line that is no request says why, and whose it is where that can be told", () => {
  const deep = (open: string, close: string, n: number) =>
    `{${about},"body":{"prompt":${open.repeat(n)}${close.repeat(n)}}}`;
  for (const text of [deep("[", "]", 5000), deep("[", "", 8_000_000), `{${about},"x":${'{"a":'.repeat(80)}`]) {
    assert.equal(fault(text).customId, "a");
    assert.match(fault(text).fault, /nested deeper/);
  }
  assert.match(fault(deep("[{},[]],", "", 100_000)).fault, /more than 100001 objects/);
  const broken = Buffer.from(`{${about},"body":{"prompt":"?"}}`);
  broken[broken.indexOf("?")] = 0xff;
  assert.deepEqual(fault(broken), { customId: "a", fault: "not valid UTF-8" });
  assert.match(fault("[]").fault, /object is expected/);
  assert.match(fault('{"custom_id":"a"').fault, /no JSON/);
  assert.match(fault('{"custom_id":').fault, /no JSON/);
  assert.match(fault('"a\\').fault, /no JSON/);
  assert.equal(fault('{"custom_id":"","url":1}').customId, null);
});

test("the hash is that of what is asked, not of the white space around it", () => {
  const hash = (text: string) => line(text).hash.toString("hex");
  const base = hash(`{${about},"body":{"prompt":"a b"}}`);
  assert.equal(hash(` { ${about.replaceAll(",", "\t, ")} ,"body" : {"prompt": "a b"}}\r`), base);
  assert.notEqual(hash(`{${about},"body":{"prompt":"ab"}}`), base);
  assert.notEqual(hash(`{${about},"body":{"prompt":"a  b"}}`), base);
  assert.match(base, /^[0-9a-f]{32}$/);
});
