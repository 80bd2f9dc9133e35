// The words of each language are a module beside the elements, `embed-de.js`, which a page loads if it needs it.
import { readdirSync } from "node:fs";

const LANGUAGES = "src/text/languages";

/** The entry points, by the names of the modules. */
export const words = Object.fromEntries(
  readdirSync(LANGUAGES).sort().map((file) => [`embed-${file.slice(0, -3)}`, `${LANGUAGES}/${file}`]),
);

export const languages = {
  name: "a language is loaded by the pages that need it",
  setup: (it) => it.onResolve({ filter: /^\.\/languages\// }, ({ path }) => ({ path: `./embed-${path.slice(-5, -3)}.js`, external: true })),
};
