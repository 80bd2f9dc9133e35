/** The menu for the whole page: all its events as a file, a link to it, and paper. */

import { html, nothing, type TemplateResult } from "lit";

import { QueryError } from "../../data/client.ts";
import type { Page } from "../../data/page.ts";
import type { WithPage } from "../base.ts";
import { download, fileName } from "../dom.ts";
import { reasonOf } from "../reason.ts";
import type { Menus } from "./menus.ts";

/** The last record of an export, behind the end of the line before. */
const EXPORT_END = /\n"nealyticsExport\.end","\d+",*\r\n$/;
const EXPORT_END_BYTES = 256;
const SAID_MS = 4_000;

export class MoreMenu {
  /** For a moment, after something was done that shows nothing else. */
  #said = "";

  constructor(
    private readonly host: WithPage,
    private readonly menus: Menus,
    /** The address of what the page shows; undefined where addresses do not say it. */
    private readonly address: () => string | undefined,
  ) {}

  menu(): TemplateResult {
    const f = this.host.format;
    const address = this.address();
    return html`<span class="said end" role="status">${this.#said}</span>
      ${this.menus.menu("more", { title: f.text("more"), label: f.text("more"), icon: "more", classes: "icon", end: true }, () => html`
        ${this.menus.item(f.text("download_all"), () => void this.#download())}
        ${address ? this.menus.item(f.text("copy_link"), () => void this.#copy(address)) : nothing}
        ${this.menus.item(f.text("print"), () => window.print())}`)}`;
  }

  async #download(): Promise<void> {
    const f = this.host.format;
    this.#say(`${f.text("loading")} …`, Number.POSITIVE_INFINITY);
    try {
      const name = `all-events-${fileName(this.host.page.range)}.csv`;
      download(name, await exported(this.host.page), "text/csv;charset=utf-8");
      this.#say("");
    } catch (error) {
      console.warn(`nealytics: export: ${String(error)}`);
      const isOffline = error instanceof QueryError && error.code === "offline";
      this.#say(isOffline ? reasonOf(error, f)[0] : f.text("export_failed"));
    }
  }

  async #copy(address: string): Promise<void> {
    try {
      await navigator.clipboard.writeText(address);
      this.#say(this.host.format.text("copied"));
    } catch (error) {
      console.warn(`nealytics: the browser does not allow to copy: ${String(error)}`);
      this.#say(this.host.format.text("copy_failed"));
    }
  }

  #say(text: string, ms = SAID_MS): void {
    this.#said = text;
    this.host.requestUpdate();
    if (text && Number.isFinite(ms)) setTimeout(() => this.#said === text && this.#say(""), ms);
  }
}

/** All events of the range and the filters, as the export route writes them. Throws `QueryError`, also if the end is missing. */
async function exported(page: Page): Promise<Blob> {
  const { from, to, tz, filter } = page.shared;
  const query = new URLSearchParams([["format", "csv"], ["end", "true"], ["from", from], ["to", to], ["tz", tz], ...filter.map((one) => ["filter", one])]);
  // By fetch, since a link could not send the token; so the browser holds the file until it is complete.
  const response = await page.client.fetch(`api/v1/telemetry/export?${query}`, {});
  const file = await response.blob();
  // A proxy may make a complete answer of one that broke off.
  const end = EXPORT_END.exec(await file.slice(-EXPORT_END_BYTES).text());
  if (!end) throw new QueryError("export_cut", "the export is not complete: its last record is missing");
  return file.slice(0, file.size - end[0].length + 1);
}
