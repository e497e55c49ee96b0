/** A line between page and server that can be cut, fall silent, or lead to another server. */
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

export interface Link {
  readonly url: string;
  /** Where new connections lead; those there are end. Undefined: they are refused. */
  lead(port: number | undefined): void;
  /** Nothing passes any more, and nobody is told: what a computer that slept finds. New connections work. */
  silence(): void;
  close(): void;
}

export async function openLink(port: number): Promise<Link> {
  let target: number | undefined = port;
  const pairs = new Set<readonly [Socket, Socket]>();
  const end = () => {
    for (const pair of pairs) for (const socket of pair) socket.destroy();
    pairs.clear();
  };
  const server = createServer((near) => {
    near.on("error", () => {});
    if (target === undefined) return near.destroy();
    const far = connect(target, "127.0.0.1");
    far.on("error", () => near.destroy());
    near.pipe(far).pipe(near);
    pairs.add([near, far]);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    lead: (to) => {
      target = to;
      end();
    },
    silence: () => {
      for (const [near, far] of pairs) {
        near.unpipe();
        far.unpipe();
        far.destroy();
      }
      // They stay open towards the page until the end.
    },
    close: () => {
      end();
      server.close();
    },
  };
}
