/** The part of docs/models.md on blocks that guess further tokens, from the registry. */
import { architectures } from "../../src/models/index.js";
import { padded } from "./markdown.js";

/** The architectures whose declaration has such programs. */
const rows = (): string[][] =>
  architectures.filter(({ hasPrograms }) => hasPrograms).map(({ name, families }) => [`\`${name}\``, families]);

export const mtpSection = (): string => `## Blocks that guess further tokens

Files of these architectures may hold blocks behind the trunk (MTP, nextn). Each of them is a program of its own
(\`mtp0\`, \`mtp1\` ...), checked with the file and bound where drafts are wanted ([drafts.md](drafts.md)): it guesses
ahead of answers. A pass of the trunk reads nothing of it. A file that has the trunk alone, and counts the blocks all
the same, has no program.

The logits of \`glm4moe\` and \`qwen35\` are compared with those of an independent computation
(\`scripts/fixtures/mtp-golden.py\`). Of the others it is tried that every tensor is bound, and that native code and the
reference agree.

${padded(["architecture", "families"], rows())}
`;
