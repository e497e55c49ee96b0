/** Prompts of the kinds that guess differently well: a file given back, facts taken out, a talk, something new. */

const file = `import sys

NAMES = ["Ada", "Grace", "Edsger", "Donald", "Barbara"]

def greet(name, punctuation="!"):
    """Says hello to somebody."""
    if not name:
        raise ValueError("a name is needed")
    message = "Hello, " + name + punctuation
    print(message)
    return message

def greet_all(names):
    count = 0
    for name in names:
        greet(name)
        count += 1
    return count

def farewell(name, punctuation="."):
    """Says goodbye to somebody."""
    if not name:
        raise ValueError("a name is needed")
    message = "Goodbye, " + name + punctuation
    print(message)
    return message

if __name__ == "__main__":
    if len(sys.argv) > 1:
        greet_all(sys.argv[1:])
    else:
        greet_all(NAMES)
`;

const letter = `The north mill was built in 1842 by Anna Weber and burned down in 1871. The south mill, of 1855,
belonged to Karl Meier until 1880, when Ida Brand bought it for 4,200 thalers. The little mill at the ford is of 1790;
nobody knows who built it, but from 1833 on it was run by Jakob Frey.`;

export const draftPrompts: Readonly<Record<string, string>> = {
  edit:
    "Return this file with the function `greet` renamed to `welcome`, and nothing else changed. Return only the " +
    `code.\n\n\`\`\`python\n${file}\`\`\``,
  extract: `List every mill in this text as a JSON array of objects with name, year, owner:\n\n${letter}`,
  chat: "Explain in a few paragraphs how a four-stroke engine works, and why it needs a camshaft.",
  write: "Write a Python class for a priority queue with a binary heap: push, pop, peek and length, with type hints.",
};
