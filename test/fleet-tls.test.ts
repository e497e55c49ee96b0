/** A queue behind TLS, with a user and a password: it is used, and whom it does not prove itself to says why. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { HundredweightError } from "../src/errors.js";
import { parseQueueUrl } from "../src/fleet/queue-url.js";
import { connectQueue } from "../src/fleet/redis.js";
import { finish, runCli, startCli } from "./support/cli.js";
import { textLine } from "./support/fleet-batch.js";
import { freePort, missing, redisServer, Service } from "./support/services.js";

const folder = mkdtempSync(join(tmpdir(), "hundredweight-fleet-tls-"));
const at = (name: string): string => join(folder, name);

/** A certificate that vouches for itself, for localhost and for no address. */
function certificate(name: string): { readonly cert: string; readonly key: string } {
  const [cert, key] = [at(`${name}.crt`), at(`${name}.key`)];
  const words = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
  const names = ["-subj", `/CN=${name}`, "-addext", "subjectAltName=DNS:localhost"];
  const made = spawnSync("openssl", ["req", ...words, ...names, "-keyout", key, "-out", cert], { encoding: "utf8" });
  assert.equal(made.status, 0, made.stderr);
  return { cert, key };
}

let skip = missing("redis-server") || missing("openssl", "version");
let service: Service | undefined;
let plain: Awaited<ReturnType<typeof redisServer>> | undefined;
let port = 0;
if (skip === false) {
  port = await freePort();
  const { cert, key } = certificate("right");
  certificate("wrong");
  const tls = ["--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", cert, "--tls-auth-clients", "no"];
  const people = ["--user", "default", "off", "--user", "carrier", "on", ">p@ss word", "~*", "&*", "+@all"];
  const usual = ["--port", "0", "--tls-port", String(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder];
  service = new Service(port, ["redis-server", ...usual, ...tls, ...people]);
  await service.start().catch(() => {
    skip = /tls/i.test(service!.output) ? "SKIPPED ALOUD: this redis-server was built without TLS" : false;
    if (skip === false) throw new Error(service!.output);
  });
}

describe("a queue behind TLS", { skip, concurrency: 2 }, () => {
  before(async () => {
    plain = await redisServer(folder);
    writeFileSync(at("in.jsonl"), [0, 1, 2].map((i) => `${textLine(`c${i}`, `prompt ${i}`)}\n`).join(""));
  });
  after(async () => {
    await service?.stop();
    await plain?.service.stop();
    rmSync(folder, { recursive: true, force: true });
  });
  const trusting = (name: string): Record<string, string> => ({ NODE_EXTRA_CA_CERTS: at(`${name}.crt`) });
  const secret = "p%40ss%20word";

  it("answers a batch with a user, a password and a certificate of one's own", async () => {
    const queue = `rediss://carrier:${secret}@localhost:${port}/1`;
    // What stands in the environment is seen by nobody.
    const env = { ...trusting("right"), HUNDREDWEIGHT_QUEUE: queue };
    const worker = startCli(["work", "--queue", "--threads", "1", "--no-probe"], env);
    const told = finish(worker);
    const words = ["batch", at("in.jsonl"), at("out.jsonl"), "--queue", "--reproducible"];
    const end = await runCli(words, "", env);
    worker.kill("SIGTERM");
    const worked = await told;
    assert.equal(end.code, 0, end.err);
    assert.equal(worked.code, 0, worked.err);
    for (const said of [end.err, worked.err]) assert.ok(!/p@ss|p%40ss/.test(said), said);
    const out = readFileSync(at("out.jsonl"), "utf8").trim().split("\n");
    const answers = out.map((line) => JSON.parse(line) as { custom_id: string; response: { status_code: number } });
    assert.deepEqual(
      answers.map(({ custom_id, response }) => [custom_id, response.status_code]),
      [0, 1, 2].map((i) => [`c${i}`, 200]),
    );
  });

  const asked = `carrier:${secret}@localhost:${port}`;
  const advised = /NETWORK_FAILED\b.*certificate.*; NODE_EXTRA_CA_CERTS=FILE names a certificate to trust$/;
  // Node reads certificates to trust once, when it starts.
  const inProcesses: readonly (readonly [string, string, string, RegExp])[] = [
    ["refuses one that another certificate vouches for", `rediss://${asked}`, "wrong", advised],
    [
      "refuses a certificate of another host",
      `rediss://carrier:${secret}@127.0.0.1:${port}`,
      "right",
      /NETWORK_FAILED.*does not match certificate's altnames/,
    ],
    [
      "is told a wrong password",
      `rediss://carrier:wrong%20word@localhost:${port}`,
      "right",
      /QUEUE_REFUSED.*rediss:\/\/carrier:\*\*\*@.*WRONGPASS/,
    ],
  ];
  for (const [what, queue, ca, why] of inProcesses)
    it(what, async () => {
      const end = await runCli(["work", "--queue"], "", { ...trusting(ca), HUNDREDWEIGHT_QUEUE: queue });
      assert.equal(end.code, 1, end.err);
      assert.match(end.err.trimEnd(), why);
      assert.ok(!/p@ss|p%40ss|wrong word/.test(end.err), end.err);
    });

  const here: readonly (readonly [string, () => string, RegExp])[] = [
    ["refuses one that nobody vouches for, and says how to trust it", () => `rediss://${asked}`, advised],
    [
      "is asked without TLS",
      () => `redis://${asked}`,
      /NETWORK_FAILED.*; if it speaks TLS there, the address begins with rediss:\/\/$/,
    ],
    [
      "is none, where TLS is asked of a queue without",
      () => `rediss://localhost:${plain!.port}`,
      /NETWORK_FAILED.*; if it speaks no TLS there, the address begins with redis:\/\/$/,
    ],
  ];
  for (const [what, queue, why] of here)
    it(what, async () => {
      await assert.rejects(connectQueue(parseQueueUrl(queue()), { note: () => {} }), (error: HundredweightError) => {
        const said = `${error.code}: ${error.message}`;
        assert.match(said, why);
        return !/p@ss|p%40ss/.test(said);
      });
    });
});
