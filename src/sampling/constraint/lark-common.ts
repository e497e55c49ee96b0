/**
 * The terminals of Lark's module `common`, as patterns.
 * @source Lark documentation, "Importing terminals from a library"
 */
const digit = "[0-9]";
const int = `${digit}+`;
const exponent = `[eE][+-]?${int}`;
const decimal = `(${int}\\.(${int})?|\\.${int})`;
const float = `(${int}${exponent}|${decimal}(${exponent})?)`;
const number = `(${float}|${int})`;

export const commonTerminals: Readonly<Record<string, string | undefined>> = {
  DIGIT: digit,
  HEXDIGIT: "[0-9a-fA-F]",
  INT: int,
  SIGNED_INT: `[+-]?${int}`,
  DECIMAL: decimal,
  _EXP: exponent,
  FLOAT: float,
  SIGNED_FLOAT: `[+-]?${float}`,
  NUMBER: number,
  SIGNED_NUMBER: `[+-]?${number}`,
  // No quote that is escaped ends it.
  ESCAPED_STRING: '"([^"\\\\\\n]|\\\\[^\\n])*"',
  LCASE_LETTER: "[a-z]",
  UCASE_LETTER: "[A-Z]",
  LETTER: "[A-Za-z]",
  WORD: "[A-Za-z]+",
  CNAME: "[_A-Za-z][_A-Za-z0-9]*",
  WS_INLINE: "[ \\t]+",
  WS: "[ \\t\\f\\r\\n]+",
  CR: "\\r",
  LF: "\\n",
  NEWLINE: "(\\r?\\n)+",
  SH_COMMENT: "#[^\\n]*",
  CPP_COMMENT: "//[^\\n]*",
  SQL_COMMENT: "--[^\\n]*",
};
