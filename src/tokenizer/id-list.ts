/** Growing list of token ids: a Node array of a million numbers would be copied and boxed on the way. */
export class IdList {
  #ids = new Int32Array(256);
  length = 0;

  push(id: number): void {
    if (this.length === this.#ids.length) {
      const grown = new Int32Array(this.length * 2);
      grown.set(this.#ids);
      this.#ids = grown;
    }
    this.#ids[this.length++] = id;
  }

  at(index: number): number {
    return this.#ids[index]!;
  }

  toArray(): Int32Array {
    return this.#ids.slice(0, this.length);
  }
}
