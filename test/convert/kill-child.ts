/** Converts, and kills itself when so many bytes are written; else says its peak in KiB. For resume.test.ts. */
import { convertModel } from "../../src/convert/index.js";

const [from, to, type, killAt] = process.argv.slice(2);
await convertModel(from!, to!, {
  type: type as "q8_0" | "f32",
  lineBytes: 1 << 19,
  onProgress: (bytes) => {
    if (bytes >= Number(killAt)) process.kill(process.pid, "SIGKILL");
  },
});
console.log(process.resourceUsage().maxRSS);
