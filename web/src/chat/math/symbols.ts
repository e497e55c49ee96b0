/** The symbols of TeX's commands in formulas, in the order of their kinds. */

const pairs = (text: string): [string, string][] =>
  text
    .trim()
    .split(/\s+/)
    .map((pair) => {
      const at = pair.lastIndexOf("=");
      return [pair.slice(0, at), pair.slice(at + 1)];
    });

/** Set upright or slanted as the font does. */
export const identifiers = new Map(
  pairs(`
alpha=α beta=β gamma=γ delta=δ epsilon=ϵ varepsilon=ε zeta=ζ eta=η theta=θ vartheta=ϑ iota=ι kappa=κ lambda=λ mu=μ nu=ν xi=ξ
pi=π varpi=ϖ rho=ρ varrho=ϱ sigma=σ varsigma=ς tau=τ upsilon=υ phi=ϕ varphi=φ chi=χ psi=ψ omega=ω
Gamma=Γ Delta=Δ Theta=Θ Lambda=Λ Xi=Ξ Pi=Π Sigma=Σ Upsilon=Υ Phi=Φ Psi=Ψ Omega=Ω
hbar=ℏ ell=ℓ infty=∞ emptyset=∅ varnothing=∅ aleph=ℵ Re=ℜ Im=ℑ wp=℘ partial=∂ nabla=∇ imath=ı jmath=ȷ top=⊤ bot=⊥
angle=∠ triangle=△ square=□ blacksquare=■ checkmark=✓ degree=° ldots=… cdots=⋯ vdots=⋮ ddots=⋱ dots=… dotsc=… dotsb=⋯ prime=′
`),
);

export const operators = new Map(
  pairs(`
pm=± mp=∓ times=× div=÷ cdot=⋅ ast=∗ star=⋆ circ=∘ bullet=∙ oplus=⊕ ominus=⊖ otimes=⊗ odot=⊙ cap=∩ cup=∪ sqcap=⊓ sqcup=⊔
setminus=∖ wedge=∧ vee=∨ land=∧ lor=∨ neg=¬ lnot=¬ forall=∀ exists=∃ nexists=∄ dagger=† ddagger=‡ wr=≀ amalg=⨿
leq=≤ le=≤ geq=≥ ge=≥ neq=≠ ne=≠ ll=≪ gg=≫ approx=≈ equiv=≡ sim=∼ simeq=≃ cong=≅ propto=∝ doteq=≐ prec=≺ succ=≻ preceq=⪯
succeq=⪰ in=∈ notin=∉ ni=∋ subset=⊂ supset=⊃ subseteq=⊆ supseteq=⊇ subsetneq=⊊ supsetneq=⊋ perp=⟂ parallel=∥ mid=∣ nmid=∤
models=⊨ vdash=⊢ dashv=⊣ lesssim=≲ gtrsim=≳ leqslant=⩽ geqslant=⩾ triangleq=≜ coloneqq=≔ therefore=∴ because=∵ asymp=≍ bowtie=⋈
to=→ rightarrow=→ leftarrow=← gets=← leftrightarrow=↔ Rightarrow=⇒ Leftarrow=⇐ Leftrightarrow=⇔ implies=⟹ impliedby=⟸ iff=⟺
mapsto=↦ longmapsto=⟼ longrightarrow=⟶ longleftarrow=⟵ Longrightarrow=⟹ hookrightarrow=↪ uparrow=↑ downarrow=↓ updownarrow=↕
Uparrow=⇑ Downarrow=⇓ nearrow=↗ searrow=↘ rightharpoonup=⇀ rightleftharpoons=⇌ leadsto=⇝
colon=: surd=√
`),
);

/** Fences, also after \left, \right and \big. */
export const fences = new Map(
  pairs(`
langle=⟨ rangle=⟩ lfloor=⌊ rfloor=⌋ lceil=⌈ rceil=⌉ lbrace={ rbrace=} lbrack=[ rbrack=] vert=| Vert=‖ lvert=| rvert=| lVert=‖
rVert=‖ {={ }=} |=‖ backslash=\\
`),
);

/** Bounds stand below and above in a formula of its own, beside in a line. */
export const largeOperators = new Map(
  pairs(`
sum=∑ prod=∏ coprod=∐ bigcup=⋃ bigcap=⋂ bigoplus=⨁ bigotimes=⨂ bigvee=⋁ bigwedge=⋀ bigsqcup=⨆
`),
);

/** Bounds stand beside always. */
export const integrals = new Map(pairs("int=∫ iint=∬ iiint=∭ oint=∮"));

/** Names in upright letters; of the second kind bounds stand below. */
export const functions = new Set(
  "sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh coth log ln lg exp deg dim ker hom arg".split(" "),
);
export const limits = new Set("lim limsup liminf max min sup inf det gcd Pr argmax argmin".split(" "));

export const accents = new Map(
  pairs(`
hat=^ widehat=^ bar=¯ overline=‾ vec=→ overrightarrow=→ dot=˙ ddot=¨ tilde=~ widetilde=~ check=ˇ breve=˘ acute=´ grave=\` mathring=˚
overbrace=⏞
`),
);
export const underAccents = new Map(pairs("underline=_ underbrace=⏟"));

/** Widths in em. */
export const spaces = new Map(
  pairs(",=0.167 :=0.222 >=0.222 ;=0.278 !=-0.167 quad=1 qquad=2 enspace=0.5 thinspace=0.167"),
);

/** Sizes and positions that MathML finds itself. */
export const ignored = new Set(
  "displaystyle textstyle scriptstyle nonumber notag bigl bigr Bigl Bigr biggl biggr big Big bigg Bigg middle".split(
    " ",
  ),
);

/** First capital and first small letter of each alphabet, and the letters that lie elsewhere. */
const alphabets: Readonly<Record<string, readonly [capital: number, small: number, digit: number, except: string]>> = {
  mathbf: [0x1d400, 0x1d41a, 0x1d7ce, ""],
  boldsymbol: [0x1d468, 0x1d482, 0x1d7ce, ""],
  bm: [0x1d468, 0x1d482, 0x1d7ce, ""],
  mathbb: [0x1d538, 0x1d552, 0x1d7d8, "CℂHℍNℕPℙQℚRℝZℤ"],
  mathcal: [0x1d49c, 0x1d4b6, 0, "BℬEℰFℱHℋIℐLℒMℳRℛeℯgℊoℴ"],
  mathscr: [0x1d49c, 0x1d4b6, 0, "BℬEℰFℱHℋIℐLℒMℳRℛeℯgℊoℴ"],
  mathfrak: [0x1d504, 0x1d51e, 0, "CℭHℌIℑRℜZℨ"],
  mathsf: [0x1d5a0, 0x1d5ba, 0x1d7e2, ""],
  mathtt: [0x1d670, 0x1d68a, 0x1d7f6, ""],
};

export const isAlphabet = (name: string): boolean => Object.hasOwn(alphabets, name);

/** A letter or digit in an alphabet of mathematics; what that has not stays as it is. */
export function letterOf(alphabet: string, character: string): string {
  const [capital, small, digit, except] = alphabets[alphabet]!;
  const at = except.indexOf(character);
  if (at >= 0 && at % 2 === 0) return except[at + 1]!;
  const code = character.charCodeAt(0);
  if (code >= 65 && code <= 90) return String.fromCodePoint(capital + code - 65);
  if (code >= 97 && code <= 122) return String.fromCodePoint(small + code - 97);
  if (code >= 48 && code <= 57 && digit > 0) return String.fromCodePoint(digit + code - 48);
  return character;
}
