/** The words in other languages than English, by the first part of a language tag. */

import type { Messages } from "./messages.ts";

export const LANGUAGES: Readonly<Record<string, Messages>> = {
  de: {
    today: "Heute", yesterday: "Gestern", "7d": "Letzte 7 Tage", "30d": "Letzte 30 Tage", "90d": "Letzte 90 Tage",
    this_month: "Dieser Monat", last_month: "Letzter Monat", custom: "Eigener Zeitraum", from: "Von", to: "Bis",
    apply: "Anwenden", compare: "Vergleichen", compare_none: "Kein Vergleich", compare_previous: "Vorheriger Zeitraum",
    compare_year: "Vorjahr", events: "Ereignisse", sessions: "Sitzungen", users: "Nutzer",
    eventsPerSession: "Ereignisse je Sitzung", medianSessionDurationSeconds: "Mittlere Dauer", bounceShare: "Absprungrate",
    event_type: "Ereignisse", item_id: "Seiten und Inhalte", user_id: "Nutzer", tenant_id: "Mandanten",
    session_id: "Sitzungen", other: "Andere", total: "Gesamt", share: "Anteil", value: "Wert", time: "Zeit",
    change: "Änderung", previous: "Zuvor", funnel: "Trichter", retention: "Wiederkehr", cohort: "Zuerst gesehen",
    size: "Personen", median_time: "Median", filter: "Filtern", remove_filter: "Filter entfernen",
    download_csv: "Als CSV laden", download_all: "Alle Ereignisse laden", copy_link: "Link kopieren", print: "Drucken",
    more: "Mehr", loading: "Lädt", empty: "Keine Daten in diesem Zeitraum",
    empty_hint: "Wähle einen längeren Zeitraum oder entferne einen Filter.",
    error: "Dieses Diagramm konnte nicht geladen werden", offline: "Du scheinst offline zu sein",
    expired: "Deine Anmeldung ist abgelaufen", expired_hint: "Melde dich neu an, um deine Daten zu sehen.",
    busy: "Gerade zu viele Anfragen", too_large: "Zu viele Daten für ein Diagramm",
    too_large_hint: "Wähle einen kürzeren Zeitraum oder füge einen Filter hinzu.", retry: "Erneut versuchen",
    no_change: "unverändert", up: "plus {0}", down: "minus {0}", chart_peak: "Am meisten am {0}: {1}.",
    show_table: "Als Tabelle",
  },
};
