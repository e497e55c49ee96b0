// A registry of packages on this machine, as much of one as `npm install` and `npx` ask for: documents of packages and
// their archives (github.com/npm/registry, docs/responses/package-metadata.md). To try a release before it is public.
//   node scripts/release/registry.mjs build/release/packages/*.tgz      prints the address, serves until it is stopped
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { pathToFileURL } from "node:url";
import { readFromTarGz } from "./archive.mjs";

/** @returns { address, asked[], close() }; `asked` are the paths that were not found, of packages that are not here */
export async function openRegistry(archives) {
  const packages = new Map();
  const files = new Map();
  const asked = [];
  const server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url, "http://localhost").pathname).slice(1);
    const document = packages.get(path);
    const file = files.get(path);
    if (document === undefined && file === undefined) asked.push(path);
    response.statusCode = document === undefined && file === undefined ? 404 : 200;
    response.setHeader("content-type", file === undefined ? "application/json" : "application/octet-stream");
    response.end(file ?? JSON.stringify(document ?? { error: "not found" }));
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const address = `http://127.0.0.1:${server.address().port}/`;
  for (const archive of archives) {
    const bytes = readFileSync(archive);
    const about = JSON.parse(readFromTarGz(bytes, "package/package.json").toString("utf8"));
    const path = `${about.name}/-/${about.version}.tgz`;
    const digest = (hash, encoding) => createHash(hash).update(bytes).digest(encoding);
    const dist = {
      tarball: address + path,
      shasum: digest("sha1", "hex"),
      integrity: `sha512-${digest("sha512", "base64")}`,
    };
    files.set(path, bytes);
    packages.set(about.name, {
      name: about.name,
      "dist-tags": { latest: about.version },
      versions: { [about.version]: { ...about, dist } },
    });
  }
  return { address, asked, close: () => server.close() };
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const { address } = await openRegistry(process.argv.slice(2));
  console.log(`npm_config_registry=${address} npx --yes hundredweight run "And the king said"`);
}
