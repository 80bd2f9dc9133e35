/**
 * The words in the reader's language. English is part of the script. Each other language is a module of its own, so
 * a page loads at most one of them, from where the script is.
 */

import type { Words } from "./messages.ts";

const LANGUAGES: Readonly<Record<string, () => Promise<{ readonly default: Words }>>> = {
  ar: () => import("./languages/ar.ts"),
  de: () => import("./languages/de.ts"),
  es: () => import("./languages/es.ts"),
  fr: () => import("./languages/fr.ts"),
  ja: () => import("./languages/ja.ts"),
  pt: () => import("./languages/pt.ts"),
};
const loaded = new Map<string, Words | undefined>();
const loading = new Map<string, Promise<void>>();

/** Undefined for English, for a language that there is not, and until it is loaded. */
export function wordsOf(tag: string): Words | undefined {
  return loaded.get(languageOf(tag));
}

/** What to wait for before something is written in that language; undefined if nothing. */
export function loadingOf(tag: string): Promise<void> | undefined {
  const language = languageOf(tag);
  const load = LANGUAGES[language];
  if (!load || loaded.has(language)) return undefined;
  let found = loading.get(language);
  if (!found) {
    found = load().then(
      (module) => void loaded.set(language, module.default),
      (error: unknown) => {
        console.warn(`nealytics: the words in "${language}" cannot be loaded, so they are in English: ${String(error)}`);
        loaded.set(language, undefined);
      },
    );
    loading.set(language, found);
  }
  return found;
}

function languageOf(tag: string): string {
  return tag.split("-")[0] ?? "";
}
