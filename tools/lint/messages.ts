/**
 * A rule for `deno lint`: every message of an error of dipc has the form "cannot x: what is so; what to do", in lower case and
 * without a full stop.
 *
 * @module
 */

/** Classes of errors, and which argument is the message. */
const CLASSES: ReadonlyMap<string, number> = new Map([["DipcError", 1], ["LocalError", 1], ["UsageError", 0]]);

/** Stands for a value that is put into a message. */
const VALUE = "\u{FFFC}";

/** The texts that an expression can be, values replaced by {@linkcode VALUE}; none if it only passes a message on. */
function textsOf(node: Deno.lint.Expression | Deno.lint.PrivateIdentifier): string[] {
  switch (node.type) {
    case "Literal":
      return typeof node.value === "string" ? [node.value] : [];
    case "TemplateLiteral":
      return [node.quasis.map(({ cooked }) => cooked).join(VALUE)];
    case "ConditionalExpression":
      return [...textsOf(node.consequent), ...textsOf(node.alternate)];
    case "BinaryExpression": {
      const left = textsOf(node.left);
      const right = textsOf(node.right);
      return left.flatMap((start) => (right.length === 0 ? [VALUE] : right).map((end) => start + end));
    }
    default:
      return [];
  }
}

/** What is wrong with a message, or `null`. */
export function faultOf(text: string): string | null {
  if (!/^cannot [a-z\u{FFFC}]/u.test(text)) return 'it begins with "cannot " and what was being done';
  if (!/: \S/.test(text)) return "what is so comes after a colon";
  if (/[.!]$/.test(text) && !/(?:\.\.\.|…)$/.test(text)) return "it ends without a full stop";
  return null;
}

const plugin: Deno.lint.Plugin = {
  name: "dipc",
  rules: {
    "message-form": {
      create(context) {
        // Tests, tools and examples may word their errors as they like.
        if (!/\/(?:src|ffi)\/[^/]/.test(context.filename)) return {};
        return {
          NewExpression(node) {
            const position = node.callee.type === "Identifier" ? CLASSES.get(node.callee.name) : undefined;
            const argument = position === undefined ? undefined : node.arguments[position];
            if (argument === undefined || argument.type === "SpreadElement") return;
            for (const text of textsOf(argument as Deno.lint.Expression)) {
              const fault = faultOf(text);
              if (fault === null) continue;
              context.report({
                node: argument,
                message: `a message has the form "cannot x: what is so; what to do": ${fault}`,
                hint: text.replaceAll(VALUE, "${…}"),
              });
            }
          },
        };
      },
    },
  },
};

export default plugin;
