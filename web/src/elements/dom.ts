/** Small things of the DOM that several elements need. */

import { html, noChange, svg, type TemplateResult } from "lit";
import { directive, Directive, type ElementPart } from "lit/directive.js";

import type { Range } from "../data/range.ts";
import type { Format } from "../text/format.ts";
import type { Key } from "../text/messages.ts";

/** Sets a custom property of the element through the CSSOM, which a strict `style-src` allows and `style=` not. */
class CssVar extends Directive {
  render(_name: string, _value: string | number): unknown {
    return noChange;
  }
  override update(part: ElementPart, [name, value]: [string, string | number]): unknown {
    (part.element as HTMLElement | SVGElement).style.setProperty(name, String(value));
    return noChange;
  }
}
export const cssVar = directive(CssVar);

export function icon(name: keyof typeof ICONS): TemplateResult {
  return svg`<svg viewBox="0 0 16 16" aria-hidden="true">${ICONS[name]}</svg>`;
}

const ICONS = {
  calendar: svg`<rect x="2" y="3" width="12" height="11" rx="2"/><path d="M2 6.5h12M5 1.5v3M11 1.5v3"/>`,
  chevron: svg`<path d="m4.5 6.5 3.5 3.5 3.5-3.5"/>`,
  filter: svg`<path d="M2 4h12M4.5 8h7M6.5 12h3"/>`,
  back: svg`<path d="m9.5 4.5-3.5 3.5 3.5 3.5"/>`,
  close: svg`<path d="m4 4 8 8m0-8-8 8"/>`,
  compare: svg`<path d="M2 11.5 6 7l3 3 5-6M2 14h12"/>`,
  pause: svg`<path d="M5.5 3.5v9M10.5 3.5v9" stroke-width="2.2"/>`,
  play: svg`<path d="M5 3.5v9l7-4.5z" fill="currentColor"/>`,
  more: svg`<path d="M3.5 8h.01M8 8h.01M12.5 8h.01" stroke-width="2.4"/>`,
};

/** A text of the page's words with an element in the place of its value. */
export function around(f: Format, key: Key, value: TemplateResult): TemplateResult {
  const [before, after] = f.text(key, "\0").split("\0");
  return html`${before}${value}${after}`;
}

export interface Table {
  readonly head: readonly string[];
  readonly rows: readonly (readonly (string | number)[])[];
  /** The first column as it is read; a file has it as it is, such as a date of ISO 8601. */
  readonly read?: (key: string) => string;
}

/** RFC 4180. A text that a spreadsheet would take for a formula gets a quote in front. */
export function csv(table: Table): string {
  const cell = (value: string | number): string => {
    const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return [table.head, ...table.rows].map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}

/** A range as a part of a file's name, which has no colons on Windows. */
export function fileName({ from, to }: Range): string {
  return `${from}-${to}`.replaceAll(":", "");
}

export function download(name: string, content: BlobPart, type: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
