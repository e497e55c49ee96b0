/** Components that render again only when a property is another value. */
import { Component, type ComponentChild, type FunctionComponent, h } from "preact";

export function memo<P extends object>(render: FunctionComponent<P>): FunctionComponent<P> {
  class Memo extends Component<P> {
    override shouldComponentUpdate(next: Readonly<P>): boolean {
      const before = this.props as Readonly<Record<string, unknown>>;
      const after = next as Readonly<Record<string, unknown>>;
      for (const name in { ...before, ...after }) if (!Object.is(before[name], after[name])) return true;
      return false;
    }

    override render(): ComponentChild {
      return h(render, this.props as P);
    }
  }
  return Memo as unknown as FunctionComponent<P>;
}
