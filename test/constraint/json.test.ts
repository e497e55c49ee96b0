/** JSON Schema: what a grammar keeps, what it refuses, what it leaves out and says so. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { SchemaOptions } from "../../src/sampling/constraint/json/compile.js";
import { validateSchema } from "../../src/sampling/constraint/json/validate.js";
import type { Constraint } from "../../src/sampling/constraint/source.js";
import { workMs } from "../support/work.js";
import { Judge } from "./support.js";

const judge = new Judge();
const of = (schema: unknown, options?: SchemaOptions): Constraint => ({
  kind: "json_schema",
  schema,
  ...(options !== undefined && { options }),
});

function check(constraint: Constraint, right: readonly string[], wrong: readonly string[]): void {
  for (const text of right) assert.equal(judge.of(constraint, text), "whole", text);
  for (const text of wrong) assert.notEqual(judge.of(constraint, text), "whole", text);
}

test("any value, any spelling of a string, white space that is bounded", () => {
  const any = of(true);
  check(
    any,
    [
      '{"a" : [1, -2.5e+10, "x", null, true, {}], "b": {"c": []}}',
      '"\\u00e9\\ud83d\\ude00\\n\\/"',
      '"é😀"',
      "[\n  1,\n  2\n]",
      "0",
      "-0.5",
    ],
    [
      "",
      "01",
      "-0",
      "1.",
      ".5",
      "+1",
      "tru",
      "'a'",
      '"\n"',
      '"\\x"',
      '"\\ud83d"',
      '"\\ude00"',
      "[1,]",
      "{a:1}",
      "[1 ,2]  ",
    ],
  );
  assert.equal(judge.of(any, `[${" ".repeat(3)}`), "wrong");
  assert.equal(judge.of(any, `[\n${" ".repeat(21)}`), "wrong");
  assert.equal(judge.of(any, "1234567890123456789"), "wrong", "digits are bounded");
  assert.equal(judge.of(of(true, { whiteSpace: "none" }), "[ "), "wrong");
});

test("objects: order, what is required, once each, others only where they are spoken of", () => {
  const schema = {
    properties: { a: { type: "integer" }, b: { type: "string" }, c: { type: "boolean" } },
    required: ["b"],
  };
  const right = ['{"a":1,"b":""}', '{"b":"x"}', '{"b":"x","c":true}', '{"\\u0062":"x"}'];
  const never = ["{}", '{"a":1}', '{"b":"x","b":"y"}', '{"a":"1","b":""}', '{"b":"x",}'];
  check(of(schema), right, [...never, '{"b":"x","a":1}', '{"b":"x","d":1}', "1", "[]"]);
  check(
    of(schema, { order: "any" }),
    [...right, '{"b":"x","a":1}', '{"c":true,"b":""}'],
    [...never, '{"b":"x","d":1}'],
  );
  check(of(schema, { closed: false }), [...right, '{"b":"x","d":1}'], [...never, '{"d":1,"b":"x"}']);
  check(
    of({ ...schema, additionalProperties: { type: "null" } }),
    ['{"b":"","d":null}'],
    ['{"b":"","d":1}', '{"b":"","a":null}'],
  );
  check(of(schema, { closed: false, order: "any", inferTypes: false }), ['{"d":1,"b":"x"}', "1", "[]"], never);
  check(of({ type: "object", maxProperties: 1 }), ["{}", '{"x":1}'], ['{"x":1,"y":2}']);
  check(
    of({ type: "object", patternProperties: { "^x": { type: "integer" } }, additionalProperties: false }),
    ['{"xy":1}', "{}"],
    ['{"xy":""}', '{"y":1}'],
  );
  check(of({ type: "object", propertyNames: { maxLength: 2 } }), ['{"ab":1}'], ['{"abc":1}']);
});

test("many keys are no many states", () => {
  const properties = Object.fromEntries(
    Array.from({ length: 300 }, (_, i) => [`key number ${i}`, { type: "integer" }]),
  );
  const value = Object.fromEntries(Object.keys(properties).map((key, i) => [key, i]));
  const began = workMs();
  check(of({ properties, required: Object.keys(properties) }), [JSON.stringify(value)], ["{}"]);
  check(
    of({ properties }, { order: "any" }),
    [JSON.stringify(Object.fromEntries(Object.entries(value).reverse()))],
    [],
  );
  assert.ok(workMs() - began < 10_000);
});

test("counts are counters", () => {
  const long = "é".repeat(2500);
  check(of({ type: "string", minLength: 2000, maxLength: 1_000_000 }), [JSON.stringify(long)], ['"short"']);
  const list = JSON.stringify(Array.from({ length: 2100 }, (_, i) => i));
  check(of({ items: { type: "integer" }, minItems: 2001, maxItems: 100_000 }), [list], ["[]", "[1]"]);
  check(of({ type: "string", minLength: 1, maxLength: 2 }), ['"é"', '"😀😀"', '"\\ud83d\\ude00"'], ['""', '"abc"']);
  const began = workMs();
  judge.matcher(of({ items: { type: "string", maxLength: 2000 }, maxItems: 50 }));
  assert.ok(workMs() - began < 200);
});

test("numbers: bounds, steps, whole ones", () => {
  check(
    of({ type: "integer", minimum: -12, exclusiveMaximum: 105 }),
    ["-12", "-1", "0", "99", "104"],
    ["-13", "105", "1.0", "-0", "1e1"],
  );
  check(
    of({ type: "number", minimum: 0.25, maximum: 10.5 }),
    ["0.25", "0.250", "3", "10.5", "9.99"],
    ["0.2", "0.2499", "10.51", "11", "-1", "1e1"],
  );
  check(
    of({ type: "number", exclusiveMinimum: -1.5, exclusiveMaximum: 0 }),
    ["-1.49", "-0.001"],
    ["-1.5", "0", "-1.51"],
  );
  check(of({ multipleOf: 0.01 }), ["0.07", "12.5", "3", "-4.25"], ["0.001", "0.075"]);
  check(of({ type: "integer", multipleOf: 7, minimum: 10, maximum: 30 }), ["14", "21", "28"], ["7", "15", "35"]);
  assert.throws(
    () => judge.matcher(of({ type: "integer", multipleOf: 7, minimum: 1, maximum: 6 })),
    /no text satisfies/,
  );
});

test("formats and patterns, with lengths beside them", () => {
  check(
    of({ format: "date-time" }),
    ['"2024-02-29T23:59:59Z"', '"2023-01-31T00:00:00.5+02:00"'],
    ['"2023-02-29T00:00:00Z"', '"2023-01-31"'],
  );
  check(
    of({ format: "ipv6" }),
    ['"::1"', '"2001:db8::ff00:42:8329"', '"1:2:3:4:5:6:7:8"', '"::"'],
    ['"1:2:3:4:5:6:7:8:9"', '":1"', '"1::2::3"'],
  );
  check(of({ format: "uuid" }), ['"2eb8aa08-aa98-11ea-b4aa-73b441d16380"'], ['"2eb8aa08"']);
  check(of({ format: "email" }), ['"a.b@c-d.org"'], ['"a@b@c"', '"ab"']);
  check(of({ format: "duration" }), ['"P1DT2H"', '"P4W"', '"PT30S"'], ['"P"', '"1D"']);
  check(of({ format: "hostname" }), ['"a.b-c.d"'], ['"-a"', '"a..b"']);
  check(
    of({ pattern: "^[a-z]+$", minLength: 2, maxLength: 3 }),
    ['"ab"', '"abc"', '"\\u0061b"'],
    ['"a"', '"abcd"', '"AB"'],
  );
  check(of({ type: "string", pattern: "b+" }), ['"abc"'], ['"ac"']);
});

test("combinations: all, any, exactly one, none, if, what depends on what", () => {
  check(
    of({
      allOf: [
        { properties: { a: { minimum: 3 } } },
        { properties: { a: { type: "integer" }, b: {} }, required: ["a"] },
      ],
    }),
    ['{"a":3}', '{"a":4,"b":[]}'],
    ["{}", '{"a":2}', '{"a":3,"c":1}'],
  );
  check(of({ anyOf: [{ type: "string" }, { type: "integer" }], maximum: 5 }), ['"x"', "5"], ["6", "null"]);
  check(of({ oneOf: [{ type: "integer" }, { type: "number", minimum: 2 }] }), ["1", "2.5"], ["2", "0.5"]);
  check(
    of({ type: "object", oneOf: [{ required: ["a"] }, { required: ["b"] }] }, { closed: false, order: "any" }),
    ['{"a":1}', '{"b":1,"c":2}'],
    ["{}", '{"a":1,"b":2}'],
  );
  check(of({ not: { type: ["string", "object", "array"] } }), ["1", "null"], ['""', "{}", "[]"]);
  check(of({ type: "string", not: { enum: ["no", "never"] } }), ['"n"', '"nobody"'], ['"no"', '"never"', '"n\\u006f"']);
  const iff = {
    type: "object",
    properties: { kind: { enum: ["a", "b"] }, x: {} },
    required: ["kind"],
    if: { properties: { kind: { const: "a" } } },
    // biome-ignore lint/suspicious/noThenProperty: a keyword of JSON Schema
    then: { required: ["x"] },
  };
  check(of(iff), ['{"kind":"b"}', '{"kind":"a","x":1}'], ['{"kind":"a"}']);
  check(
    of({ type: "object", properties: { a: {}, b: {} }, dependentRequired: { a: ["b"] } }),
    ["{}", '{"b":1}', '{"a":1,"b":1}'],
    ['{"a":1}'],
  );
  check(
    of({ type: "array", contains: { const: 7 }, minContains: 2, maxContains: 3 }),
    ["[7,7]", "[1,7,7,7]"],
    ["[7]", "[7,7,7,7]"],
  );
  check(of({ items: { enum: ["a", "b", 3] }, uniqueItems: true }), ['["a",3]', "[]"], ['["a","a"]', "[3,3]"]);
});

test("references: recursive, by anchor, by URI, beside other keywords", () => {
  const tree = {
    $defs: {
      node: {
        $anchor: "n",
        type: "object",
        properties: { v: { type: "integer" }, kids: { items: { $ref: "#n" } } },
        required: ["v"],
      },
    },
    $ref: "#/$defs/node",
  };
  check(of(tree), ['{"v":1,"kids":[{"v":2,"kids":[]},{"v":3}]}'], ['{"v":1,"kids":[{}]}']);
  check(
    of({ $defs: { s: { $id: "http://x.org/s", minLength: 2 } }, $ref: "http://x.org/s", type: "string" }),
    ['"ab"'],
    ['"a"'],
  );
  check(
    of({
      $schema: "http://json-schema.org/draft-07/schema#",
      definitions: { s: { type: "string" } },
      $ref: "#/definitions/s",
      maxLength: 1,
    }),
    ['"abc"'],
    ["1"],
  );
});

test("strict refuses what cannot be said with keyword and path; otherwise it is left out, told and checked", () => {
  const schema = {
    type: "object",
    properties: { tags: { type: "array", items: { type: "string" }, uniqueItems: true }, x: { format: "path" } },
  };
  assert.throws(() => judge.matcher(of(schema, { strict: true })), {
    code: "OPTION_INVALID",
    message: /uniqueItems at #\/properties\/tags/,
    details: { keyword: "uniqueItems", path: "#/properties/tags" },
  });
  const { leftOut } = judge.matcher(of(schema));
  assert.deepEqual(leftOut.map(({ keyword, path }) => [keyword, path]).sort(), [
    ["format", "#/properties/x"],
    ["uniqueItems", "#/properties/tags"],
  ]);
  check(of(schema), ['{"tags":["a","a"]}'], ['{"tags":[1]}']);
  assert.deepEqual(validateSchema(schema, { tags: ["a", "a"] }), [
    { keyword: "uniqueItems", path: "#/properties/tags", at: "/tags" },
  ]);
  for (const [bad, keyword] of [
    [{ type: "string", pattern: "(a)\\1" }, "pattern"],
    [{ $ref: "http://elsewhere.org/x" }, "$ref"],
    [{ $ref: "#" }, "$ref"],
    [{ unevaluatedProperties: false }, "unevaluatedProperties"],
    [{ type: "object", properties: {}, unevaluatedItems: false, $dynamicRef: "#x" }, "unevaluatedItems"],
  ] as const) {
    assert.throws(
      () => judge.matcher(of(bad, { strict: true })),
      (error: { details: { keyword: string } }) => error.details.keyword === keyword,
    );
    assert.equal(judge.matcher(of(bad)).leftOut[0]?.keyword, keyword);
  }
});

test("what is no schema is refused, and what is too large", () => {
  for (const [schema, message] of [
    [1, /neither an object/],
    [{ type: "text" }, /names no type/],
    [{ minLength: -1 }, /minLength is not a whole number/],
    [{ properties: [] }, /properties is not an object/],
    [{ required: "a" }, /required is not a list/],
    [{ items: 3 }, /items is no schema/],
    [{ properties: { a: 1 } }, /#\/properties\/a is neither/],
    [{ enum: [] }, /no text satisfies/],
    [{ type: "object", properties: { next: { $ref: "#" } }, required: ["next"] }, /no text satisfies/],
    [{ description: "x".repeat(2 ** 21) }, /longer than/],
  ] as const) {
    assert.throws(() => judge.matcher(of(schema)), { code: "OPTION_INVALID", message });
  }
  let deep: unknown = {};
  for (let i = 0; i < 1000; i++) deep = { items: deep };
  assert.throws(() => judge.matcher(of(deep)), { message: /nested deeper/ });
  const wide = { anyOf: Array.from({ length: 9 }, (_, i) => ({ properties: { [`k${i}`]: {} }, minProperties: i })) };
  const began = workMs();
  judge.matcher(of({ allOf: Array.from({ length: 6 }, () => wide) }));
  judge.matcher(
    of({
      not: {
        allOf: Array.from({ length: 40 }, (_, i) => ({
          properties: { [`p${i}`]: { type: "string" } },
          required: [`q${i}`],
        })),
      },
    }),
  );
  assert.ok(workMs() - began < 3000);
});
