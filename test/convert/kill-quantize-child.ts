/** Quantizes a folder, and kills itself when so many bytes are written. For gptq-folder.test.ts. */
import { quantizeFolder } from "../../src/convert/index.js";

const [from, to, killAt] = process.argv.slice(2);
await quantizeFolder(from!, to!, {
  ...{ method: "gptq", bits: 4, group: 64, symmetric: true, descAct: false, damp: 0.01 },
  lineBytes: 1 << 19,
  onProgress: (bytes) => {
    if (bytes >= Number(killAt)) process.kill(process.pid, "SIGKILL");
  },
});
