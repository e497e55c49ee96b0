/** Reads a template: its text, its `{{ }}` and its statements. */
import { syntaxError, type Token, tokenize } from "./lexer.js";
import { ExpressionParser, isConstantName } from "./parse-expression.js";
import type { Block, Expression, Parameter, Statement, Target } from "./syntax.js";

/** Names of tags that end the statement they belong to. */
type Ends = readonly string[];

/** @throws TemplateFault (TemplateSyntaxError) naming the line */
export function parseTemplate(source: string): Block {
  const parser = new StatementParser(tokenize(source));
  return parser.template();
}

class StatementParser extends ExpressionParser {
  private loops = 0;

  template(): Block {
    const body = this.block([]);
    if (!this.is("end")) throw this.unexpected("the end of the template");
    return body;
  }

  /** Statements up to a tag of `ends`, whose name is the current token then. */
  private block(ends: Ends): Block {
    return this.nested(() => {
      const out: Statement[] = [];
      while (!this.is("end")) {
        const token = this.take();
        if (token.kind === "text") out.push({ type: "text", text: token.text });
        else if (token.text === "{{") {
          out.push({ type: "print", value: this.tuple() });
          this.expect("close");
        } else {
          if (this.current.kind === "name" && ends.includes(this.current.text)) return out;
          out.push(this.statement());
        }
      }
      if (ends.length > 0) throw this.unexpected(`{% ${ends.at(-1)} %}`);
      return out;
    });
  }

  /** A body up to `end`, with that tag read. */
  private body(end: string): Block {
    this.expect("close");
    const body = this.block([end]);
    this.end();
    return body;
  }

  /** The rest of a tag of which the name is current. */
  private end(): void {
    this.take();
    // {% endmacro name %} and {% endblock name %}
    this.skip("name");
    this.expect("close");
  }

  private statement(): Statement {
    const token = this.expect("name");
    const simple = (statement: Statement): Statement => {
      this.expect("close");
      return statement;
    };
    switch (token.text) {
      case "if":
        return this.ifStatement();
      case "for":
        return this.forStatement();
      case "set":
        return this.set();
      case "macro":
        return this.macro();
      case "call":
        return this.callBlock(token.line);
      case "filter":
        return { type: "filter-block", filter: this.filter(undefined, true), body: this.body("endfilter") };
      case "with":
        return this.with();
      case "block":
        this.expect("name");
        while (this.skip("name", "scoped") || this.skip("name", "required"));
        return { type: "scope", body: this.body("endblock") };
      case "generation":
        return { type: "scope", body: this.body("endgeneration") };
      case "autoescape":
        return { type: "autoescape", on: this.expression(), body: this.body("endautoescape") };
      case "break":
      case "continue":
        if (this.loops === 0) throw syntaxError(`'${token.text}' outside of a loop`, token.line);
        return simple({ type: token.text });
      case "extends":
      case "include":
      case "import":
      case "from":
        throw syntaxError(`{% ${token.text} %} needs other template files, which a chat template has not`, token.line);
      default:
        throw syntaxError(`unknown tag '${token.text}'`, token.line);
    }
  }

  private ifStatement(): Statement {
    const branches: { test: Expression; body: Block }[] = [];
    let otherwise: Block = [];
    for (;;) {
      const test = this.tuple(false);
      this.expect("close");
      branches.push({ test, body: this.block(["elif", "else", "endif"]) });
      if (this.skip("name", "elif")) continue;
      if (this.skip("name", "else")) {
        this.expect("close");
        otherwise = this.block(["endif"]);
      }
      this.end();
      return { type: "if", branches, otherwise };
    }
  }

  private forStatement(): Statement {
    const target = this.target();
    this.expect("name", "in");
    const items = this.tuple(false, (token) => isName(token, "recursive") || isName(token, "if"));
    const test = this.skip("name", "if") ? this.expression() : undefined;
    const recursive = this.skip("name", "recursive");
    this.expect("close");
    this.loops++;
    const body = this.block(["else", "endfor"]);
    this.loops--;
    let otherwise: Block = [];
    if (this.skip("name", "else")) {
      this.expect("close");
      otherwise = this.block(["endfor"]);
    }
    this.end();
    return { type: "for", target, items, test, recursive, body, otherwise };
  }

  private set(): Statement {
    const target = this.target(true);
    if (this.skip("operator", "=")) {
      const value = this.tuple();
      this.expect("close");
      return { type: "set", target, value };
    }
    const filter = this.isOperator("|") ? this.filters() : undefined;
    return { type: "set-block", target, filter, body: this.body("endset") };
  }

  /** `|a|b`, each over the one before. */
  private filters() {
    let filter = this.filter(undefined);
    while (this.isOperator("|")) filter = this.filter(filter);
    return filter;
  }

  private macro(): Statement {
    const { text: name } = this.name();
    const parameters = this.parameters();
    return { type: "macro", name, parameters, body: this.inner("endmacro") };
  }

  /** The body of a macro: loops around it are not its own. */
  private inner(end: string): Block {
    const { loops } = this;
    this.loops = 0;
    const body = this.body(end);
    this.loops = loops;
    return body;
  }

  private callBlock(line: number): Statement {
    const parameters = this.isOperator("(") ? this.parameters() : [];
    const call = this.expression();
    if (call.type !== "call") throw syntaxError("expected a call", line);
    return { type: "call-block", call, parameters, body: this.inner("endcall") };
  }

  private parameters(): Parameter[] {
    this.expect("operator", "(");
    const out: Parameter[] = [];
    while (!this.isOperator(")")) {
      if (out.length > 0) this.expect("operator", ",");
      if (this.isOperator(")")) break;
      const { text: name, line } = this.name();
      const or = this.skip("operator", "=") ? this.expression() : undefined;
      if (or === undefined && out.some((p) => p.or !== undefined))
        throw syntaxError("non-default argument follows default argument", line);
      out.push({ name, or });
    }
    this.take();
    return out;
  }

  private with(): Statement {
    const assignments: { target: Target; value: Expression }[] = [];
    while (!this.is("close")) {
      if (assignments.length > 0) this.expect("operator", ",");
      const target = this.target(false, false);
      this.expect("operator", "=");
      assignments.push({ target, value: this.expression() });
    }
    return { type: "with", assignments, body: this.body("endwith") };
  }

  private name(): Token {
    const token = this.expect("name");
    if (isConstantName(token.text)) throw syntaxError(`cannot assign to '${token.text}'`, token.line);
    return token;
  }

  private target(attributes = false, several = true): Target {
    const one = (): Target => {
      if (this.skip("operator", "(")) {
        const inner = this.nested(() => this.target());
        this.expect("operator", ")");
        return inner;
      }
      const { text: name } = this.name();
      if (attributes && this.skip("operator", ".")) {
        return { type: "attribute", name, attribute: this.expect("name").text };
      }
      return { type: "name", name };
    };
    const first = one();
    if (!several || !this.isOperator(",")) return first;
    const items = [first];
    while (this.skip("operator", ",")) {
      if (this.isOperator(")") || this.isOperator("=") || isName(this.current, "in") || this.is("close")) break;
      items.push(one());
    }
    return { type: "tuple", items };
  }
}

const isName = (token: Token, text: string): boolean => token.kind === "name" && token.text === text;
