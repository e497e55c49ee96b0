// A reporter for node:test: one JSON line for each test that ended, {name, skipped}. For scripts/check-coverage.mjs.
// biome-ignore lint/style/noDefaultExport: node:test takes a module's default export.
export default async function* ran(source) {
  for await (const { type, data } of source)
    if (type === "test:pass" || type === "test:fail")
      yield `${JSON.stringify({ name: data.name, skipped: data.skip !== undefined && data.skip !== false })}\n`;
}
