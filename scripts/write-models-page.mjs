// Writes docs/models.md: random tiny models of every architecture beside llama.cpp, from runs of this script.
//   node scripts/write-models-page.mjs                     the whole page
//   node scripts/write-models-page.mjs gemma2 [dense]      those rows alone, to standard output
// Needs a build (npm run build) and llama.cpp (node scripts/fetch-peer.mjs).
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { architectures } from "../dist/src/models/index.js";
import { agreement, askPeer, distance, makeCase, missed } from "../dist/test/differential/models/compare.js";
import { padded } from "../dist/test/support/markdown.js";
import { mtpSection } from "../dist/test/support/mtp-page.js";
import { openPeer } from "../dist/test/support/peer.js";
import { plansSection } from "../dist/test/support/plans-page.js";

process.chdir(fileURLToPath(new URL("..", import.meta.url)));
const [onlyArchitecture, onlyVariant] = process.argv.slice(2);
const greedyTokens = 64;
const folder = mkdtempSync(join(tmpdir(), "hundredweight-models-page-"));
const peer = openPeer();
if (peer === undefined) {
  console.error("write-models-page: llama.cpp is not installed: run scripts/fetch-peer.mjs");
  process.exit(1);
}

const shown = (value) => value.toExponential(1);

async function compare(arch, variant, mechanisms) {
  const f32 = await makeCase(folder, arch, variant, "F32");
  const { theirs, greedy } = await askPeer(peer, f32, folder, greedyTokens);
  const f16 = await makeCase(folder, arch, variant, "F16");
  const half = await askPeer(peer, f16, folder);
  const least = { mechanism: "", kl: Number.POSITIVE_INFINITY };
  for (const mechanism of mechanisms) {
    const kl = await missed(f32, mechanism);
    if (kl < least.kl) Object.assign(least, { mechanism, kl });
  }
  return {
    f32: distance(f32, theirs, f32.logits),
    f16: distance(f16, half.theirs, f16.logits),
    agreed: await agreement(f32, greedy),
    least,
  };
}

const rows = [];
try {
  for (const { name, families, tiny, mechanisms } of architectures.filter(({ makes }) => makes !== "vectors")) {
    if (onlyArchitecture !== undefined && name !== onlyArchitecture) continue;
    for (const { variant, lacks = [] } of tiny) {
      if (onlyVariant !== undefined && variant !== onlyVariant) continue;
      const chosen = mechanisms.filter((mechanism) => !lacks.includes(mechanism));
      const { f32, f16, agreed, least } = await compare(name, variant, chosen);
      rows.push([
        `\`${name}\``,
        families,
        variant,
        shown(f32.kl),
        shown(f32.greatest),
        shown(f16.kl),
        shown(f16.greatest),
        agreed.join(" of "),
        `${shown(least.kl)} (${least.mechanism})`,
        `\`node scripts/write-models-page.mjs ${name} ${variant}\``,
      ]);
      console.error(rows.at(-1).join(" | "));
    }
  }
} finally {
  peer.close();
  rmSync(folder, { recursive: true, force: true });
}

const head = [
  "architecture",
  "families",
  "variant",
  "KL F32",
  "greatest F32",
  "KL F16",
  "greatest F16",
  "greedy",
  "least missed",
  "command",
];
const table = padded(head, rows);
if (onlyArchitecture !== undefined) console.log(table);
else
  writeFileSync(
    "docs/models.md",
    `# Models

Every architecture the engine runs, beside llama.cpp v0.5.0 (npm node-llama-cpp 3.22.1) on the same random tiny model.
This page is written by \`node scripts/write-models-page.mjs\`; what is not in the table was not run.

- *KL*: of llama.cpp's distribution to ours, in nats, mean over 40 positions of a prompt of random tokens (64 and
  150 where blocks of positions ask for more).
- *greatest*: greatest difference of a log-probability, among tokens with a probability above 1e-6. llama.cpp keeps an
  F16 cache and rounds activations to F16 for F16 weights.
- *greedy*: llama.cpp goes on greedily for 64 tokens; at how many of them ours is the same, given the same tokens
  before.
- *least missed*: of the family's mechanisms (RoPE, norms of heads, windows, gates, shared experts ...) the one whose
  removal moves our distribution least, and the KL then. A difference in any of them would be seen.

${table}

${mtpSection()}
${plansSection()}`,
  );
