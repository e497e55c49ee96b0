/**
 * GGUF bytes by hand, apart from the writer, so that readers can be shown versions and damage the writer never makes.
 */
export class Bytes {
  readonly #parts: number[] = [];

  get length(): number {
    return this.#parts.length;
  }
  raw(...bytes: readonly number[]): this {
    for (const byte of bytes) this.#parts.push(byte & 255);
    return this;
  }
  /** Little-endian integer of `width` bytes. */
  int(value: number | bigint, width: number): this {
    for (let i = 0; i < width; i++) this.#parts.push(Number((BigInt(value) >> BigInt(8 * i)) & 255n));
    return this;
  }
  u32(value: number): this {
    return this.int(value, 4);
  }
  u64(value: number | bigint): this {
    return this.int(value, 8);
  }
  float(value: number, width: 4 | 8): this {
    const data = new DataView(new ArrayBuffer(width));
    if (width === 4) data.setFloat32(0, value, true);
    else data.setFloat64(0, value, true);
    return this.raw(...new Uint8Array(data.buffer));
  }
  text(text: string): this {
    return this.raw(...Buffer.from(text, "utf8"));
  }
  pad(alignment: number): this {
    while (this.length % alignment !== 0) this.#parts.push(0);
    return this;
  }
  done(): Uint8Array {
    return Uint8Array.from(this.#parts);
  }
}

/** The parts of a file; lengths have 4 bytes in version 1, else 8. */
export class GgufBuilder {
  readonly #wide: boolean;
  readonly #version: number;
  readonly #metadata: Bytes[] = [];
  readonly #tensors: Bytes[] = [];
  alignment = 32;
  data: Uint8Array = new Uint8Array(0);

  constructor(version = 3) {
    this.#version = version;
    this.#wide = version > 1;
  }

  length(into: Bytes, value: number | bigint): Bytes {
    return into.int(value, this.#wide ? 8 : 4);
  }
  string(into: Bytes, text: string): Bytes {
    const bytes = Buffer.from(text, "utf8");
    return this.length(into, bytes.length).raw(...bytes);
  }

  /** Key, type id, and whatever `value` appends. */
  key(key: string, type: number, value: (into: Bytes) => unknown): this {
    const record = this.string(new Bytes(), key).u32(type);
    value(record);
    this.#metadata.push(record);
    return this;
  }

  /** Dimensions, type id and offset as they shall stand there, right or wrong. */
  tensor(name: string, dims: readonly (number | bigint)[], type: number, offset: number | bigint): this {
    const record = this.string(new Bytes(), name).u32(dims.length);
    for (const size of dims) this.length(record, size);
    this.#tensors.push(record.u32(type).u64(offset));
    return this;
  }

  build(counts: { tensors?: number | bigint; keys?: number | bigint } = {}): Uint8Array {
    const file = new Bytes().text("GGUF").u32(this.#version);
    this.length(file, counts.tensors ?? this.#tensors.length);
    this.length(file, counts.keys ?? this.#metadata.length);
    for (const record of [...this.#metadata, ...this.#tensors]) file.raw(...record.done());
    return file
      .pad(this.alignment)
      .raw(...this.data)
      .done();
  }
}
