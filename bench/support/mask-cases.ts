/** Schemas as tools and structured answers have them, with values that satisfy them. */
type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

export interface MaskCase {
  readonly name: string;
  readonly schema: { readonly [key: string]: Json };
  readonly instances: readonly Json[];
}

const text = { type: "string" } as const;
const lines =
  'export function area(r: number): number {\n  return Math.PI * r ** 2; // "exact" enough\n}\n\n' +
  "console.log(area(2));\n";

export const maskCases: readonly MaskCase[] = [
  {
    name: "weather",
    schema: {
      type: "object",
      properties: {
        location: text,
        unit: { enum: ["celsius", "fahrenheit"] },
        days: { type: "integer", minimum: 1, maximum: 14 },
      },
      required: ["location"],
      additionalProperties: false,
    },
    instances: [{ location: "Zürich, Switzerland", unit: "celsius", days: 3 }, { location: "東京" }],
  },
  {
    name: "edit",
    schema: {
      type: "object",
      properties: {
        file_path: { ...text, description: "absolute" },
        old_string: text,
        new_string: text,
        replace_all: { type: "boolean", default: false },
      },
      required: ["file_path", "old_string", "new_string"],
      additionalProperties: false,
    },
    instances: [
      {
        file_path: "/home/me/src/shapes/area.ts",
        old_string: lines,
        new_string: `${lines}${lines}`,
        replace_all: true,
      },
    ],
  },
  {
    name: "shell",
    schema: {
      type: "object",
      properties: {
        command: { ...text, maxLength: 2000 },
        timeout: { type: "number", maximum: 600_000 },
        description: { ...text, minLength: 5, maxLength: 80 },
      },
      required: ["command"],
    },
    instances: [
      { command: "grep -rn 'maxTokens' src | sort | uniq -c", timeout: 120000, description: "Count where it is used" },
    ],
  },
  {
    name: "todos",
    schema: {
      type: "object",
      properties: {
        todos: {
          type: "array",
          items: {
            type: "object",
            properties: {
              id: text,
              content: { ...text, minLength: 1 },
              status: { enum: ["pending", "in_progress", "completed"] },
              priority: { enum: ["high", "medium", "low"] },
            },
            required: ["id", "content", "status", "priority"],
            additionalProperties: false,
          },
          minItems: 1,
          maxItems: 50,
        },
      },
      required: ["todos"],
      additionalProperties: false,
    },
    instances: [
      {
        todos: [
          { id: "1", content: "Read the grammar", status: "completed", priority: "high" },
          { id: "2", content: "Write the parser, then test it", status: "in_progress", priority: "medium" },
        ],
      },
    ],
  },
  {
    name: "person",
    schema: {
      $defs: {
        address: {
          type: "object",
          properties: { street: text, city: text, zip: { ...text, pattern: "^[0-9]{5}(-[0-9]{4})?$" } },
          required: ["city", "zip"],
        },
      },
      type: "object",
      properties: {
        name: { ...text, maxLength: 100 },
        email: { ...text, format: "email" },
        born: { ...text, format: "date" },
        home: { $ref: "#/$defs/address" },
        height: { type: "number", exclusiveMinimum: 0, maximum: 3 },
        friends: { type: "array", items: { anyOf: [{ $ref: "#" }, { type: "null" }] } },
      },
      required: ["name", "email"],
    },
    instances: [
      {
        name: "Ada Lovelace",
        email: "ada@analytical.engine",
        born: "1815-12-10",
        home: { street: "12 St James's Square", city: "London", zip: "12345-0001" },
        height: 1.65,
        friends: [{ name: "Charles", email: "cb@difference.engine", friends: [] }, null],
      },
    ],
  },
  {
    name: "events",
    schema: {
      type: "array",
      items: {
        oneOf: [
          {
            type: "object",
            properties: { kind: { const: "click" }, x: { type: "integer" }, y: { type: "integer" } },
            required: ["kind", "x", "y"],
          },
          {
            type: "object",
            properties: {
              kind: { const: "key" },
              key: { ...text, maxLength: 12 },
              at: { ...text, format: "date-time" },
            },
            required: ["kind", "key"],
          },
        ],
      },
    },
    instances: [
      [
        { kind: "click", x: 10, y: 250 },
        { kind: "key", key: "Enter", at: "2025-11-29T05:30:00Z" },
      ],
    ],
  },
  {
    name: "settings",
    schema: { type: "object", additionalProperties: { type: ["string", "number", "boolean"] }, maxProperties: 40 },
    instances: [{ theme: "dark", "font.size": 14, wrap: true, "files.exclude": "**/node_modules" }],
  },
  {
    name: "anything",
    schema: { type: "object", properties: { data: true }, required: ["data"] },
    instances: [
      { data: { a: [1, 2.5, { b: "c d e" }], "long key with words": null, t: "multi\nline \\ text \u0001" } },
    ],
  },
];

/**
 * The same cases with lexemes that no schema had before: other keys, lengths, bounds and patterns for each number, also
 * where a format stood.
 */
export function unlike(cases: readonly MaskCase[], number: number): MaskCase[] {
  const email = `^[a-z.]{1,${60 + number}}@([a-z]{1,${20 + number}}\\.)+[a-z]{2,${8 + number}}$`;
  const change = (value: Json, inProperties: boolean): Json => {
    if (Array.isArray(value)) {
      return value.map((item) => (inProperties && typeof item === "string" ? renamed(item) : change(item, false)));
    }
    if (typeof value !== "object" || value === null) return value;
    const entries = Object.entries(value).map(([key, inner]): [string, Json][] => {
      if (inProperties) return [[renamed(key), change(inner, false)]];
      if (typeof inner === "number") return [[key, /^max/.test(key) ? inner + number : inner]];
      if (key === "format" && inner === "email") return [["pattern", email]];
      if (key === "pattern") return [[key, (inner as string).replace("{4}", `{4,${4 + number}}`)]];
      return [[key, change(inner, key === "properties" || key === "required")]];
    });
    return Object.fromEntries(entries.flat());
  };
  const renamed = (key: string): string => `${key}${number}`;
  const declared = new Set<string>();
  const collect = (value: Json): void => {
    if (typeof value !== "object" || value === null) return;
    if (!Array.isArray(value) && "properties" in value) {
      for (const key of Object.keys(value.properties as object)) declared.add(key);
    }
    for (const inner of Object.values(value)) collect(inner as Json);
  };
  for (const { schema } of cases) collect(schema);
  const instance = (value: Json): Json => {
    if (Array.isArray(value)) return value.map(instance);
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(
      Object.entries(value).map(([key, inner]) => [declared.has(key) ? renamed(key) : key, instance(inner as Json)]),
    );
  };
  return cases.map(({ name, schema, instances }) => ({
    name,
    schema: change(schema, false) as MaskCase["schema"],
    instances: instances.map(instance),
  }));
}
