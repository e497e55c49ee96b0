/**
 * Names of pasts: a hash of everything their bytes follow from. Each block of 256 tokens is hashed with the name of
 * what stands before it, so equal names mean equal beginnings, whatever follows.
 */
import { createHash } from "node:crypto";
import { pagePositions } from "../ops/ops.js";

/** The things besides tokens that a past follows from. */
export interface PastRoot {
  /** Stands for weights, adapters, KV types, program and numeric version: fingerprint.ts. */
  readonly fingerprint: string;
  /** The scales of adapters; absent: none counts. */
  readonly adapters?: readonly number[] | undefined;
  /** The name of its owner: pasts of different scopes are never mixed. Default: everybody's. */
  readonly scope?: string | undefined;
}

export class PastChain {
  readonly tokens: Int32Array;
  /** Names at multiples of 256 positions. */
  private readonly names: Buffer[];

  constructor(root: PastRoot, tokens: Int32Array) {
    this.tokens = tokens;
    const { fingerprint, adapters = [], scope = "" } = root;
    this.names = [sha256(JSON.stringify([fingerprint, adapters, scope]))];
  }

  /** The name of the past before `position`, in hexadecimal. */
  at(position: number): string {
    const blocks = Math.floor(position / pagePositions);
    while (this.names.length <= blocks) {
      const at = this.names.length * pagePositions;
      this.names.push(sha256(this.names.at(-1)!, this.bytes(at - pagePositions, at)));
    }
    const whole = this.names[blocks]!;
    const rest = this.bytes(blocks * pagePositions, position);
    return (rest.length === 0 ? whole : sha256(whole, rest)).toString("hex").slice(0, nameLength);
  }

  /**
   * The name of the tokens in [from, to), behind what stands before `from`, a multiple of 256. Its first half is that
   * of what stands before: blocks that begin at the same place of the same past share it.
   */
  block(from: number, to: number): string {
    return this.before(from) + this.at(to).slice(0, nameLength / 2);
  }

  /** The half of the names of blocks that begin at `from`, a multiple of 256. */
  before(from: number): string {
    return this.at(from).slice(0, nameLength / 2);
  }

  private bytes(from: number, to: number): Uint8Array {
    const part = this.tokens.subarray(from, to);
    return new Uint8Array(part.buffer, part.byteOffset, part.byteLength);
  }
}

/** 160 bits. */
const nameLength = 40;

function sha256(...parts: readonly (string | Uint8Array)[]): Buffer {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest();
}
