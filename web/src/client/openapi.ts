/** Made from the API's own description (/openapi.json); `npm run types` makes it again. */

export interface paths {
    "/api/v1/telemetry/track": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** One event */
        post: operations["track"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/telemetry/batch": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Many events
         * @description A JSON array, or NDJSON with one event per line. An invalid event does not affect the others. If none is valid, the answer is a 400 (or 403) with their number.
         */
        post: operations["batch"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/telemetry/beacon": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Events from navigator.sendBeacon
         * @description One event, an array of events, or NDJSON, whatever the content type. Invalid events are dropped.
         */
        post: operations["beacon"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/telemetry/timeline": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Events, newest first
         * @description Returns events in pages, newest first.
         *
         *     Follow `nextCursor` to read all pages: it is present exactly if there are more events. Send
         *     `before`, `after` and the filters again with it. A client that follows it gets every event that
         *     existed at the start once, even while new events arrive. A page ends early after the event with
         *     which it exceeds `query.page_bytes_max` (8388608) bytes, in which metadata counts once, as a text.
         *
         *     `metadataJson` is the metadata as a text, as it was sent. If it is an object, `metadata` is the same
         *     as JSON. `metadata=text` and `metadata=object` leave out the other one.
         *
         *     Events of the same millisecond are ordered by `eventId`, in ClickHouse's order of UUIDs. With a
         *     token of the whole project, each event has its `tenantId`.
         */
        get: operations["timeline"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/analytics/sessions": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Sessions and their totals
         * @description Returns the sessions in a time range, and the totals of all sessions.
         *
         *     A session is all events with the same `sessionId`. Only events in the range that match the filters
         *     count. The duration is the time between the first and the last of them. Sessions with equal values
         *     are ordered by `sessionId`.
         *
         *     `userId` is the first user of its events, `entryItemId` and `exitItemId` are the first and the last
         *     item; each is absent if there is none. `eventTypes` are up to 20 of its event types, by name.
         *
         *     `nextCursor` is present exactly if there are more sessions. Send it as `cursor`, with the other
         *     parameters as before, for the next page. It keeps the range of the first page and continues after
         *     its last session, wherever that is now: events that arrive in between may move a session across it.
         *
         *     `uniqueSessionCount`, `totalEventCount` and `avgDurationSeconds` refer to the returned sessions;
         *     `totals` refer to all sessions in the range, including those beyond `limit`. The median of an even
         *     number of values is the mean of the two in the middle. With a token of the whole project, each
         *     session has its `tenantId`.
         */
        get: operations["sessions"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/analytics/timeseries": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Number of events per interval
         * @description Returns the number of events in each interval of a range, oldest first.
         *
         *     `time` is the start of the interval (with `tz`, a local time with its offset), and `count` the
         *     number of events. The first interval counts from `from`, the last one up to `to`. A point is
         *     `partial` if its interval is cut off by the range or not over. When the clocks change, a day has 23
         *     or 25 hours, and an hour that occurs twice is two intervals.
         *
         *     With `groupBy`, each interval has one point per value, as `key`. Events without a value are the
         *     last point of the interval, without `key`. With a token of the whole project, sessions and users
         *     belong to a tenant: their points have the `tenantId`.
         *
         *     `top=5` returns only the five greatest series of the whole range, and `other=true` the sum of all
         *     others, including events without a value, as one more point of the interval, which has `other`.
         *
         *     With `measure`, each point also has the `values` of the measures: revenue per day is
         *     `interval=day&measure=sum(meta:amount)[event_type:eq:purchase]`.
         *
         *     With `cumulative`, a point is about all events of its series from the start of the range on: its
         *     `count` is their number, and users count once. With `average=7`, a point also has the `average` of
         *     its `value` and those of the six intervals before it; at the start of the range, of those there are.
         *
         *     With `compare`, `previous` has the points of the compared range. `comparedTo` of each is the `time`
         *     of the interval beside it: the one of the same number, or of the same local time for minutes and
         *     hours. With `top`, both have the series that are the greatest of the range.
         *
         *     An interval without events has no point, unless you set `fill`. `totalCount` is the sum of the
         *     returned points.
         */
        get: operations["timeseries"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/analytics/active": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Number of active users or sessions
         * @description Returns the number of active users or sessions in each interval of a range, oldest first.
         *
         *     Only events in the range count, also if the range contains only a part of an interval. Events
         *     without a user count for no user: a day with only such events has a point with 0, and a day without
         *     events has no point. A user active on two days counts on both, so the sum of the days is not
         *     the count of the month. A point is `partial` if its interval is cut off by the range or not over.
         *
         *     With `rolling=N`, every day of the range up to today has a point. `rollingCount` is the number of
         *     distinct users or sessions in the N days that end with this day, including days before `from`.
         *     `stickiness` is `count / rollingCount`.
         *
         *     With `stickiness=true`, a week or month has the average `count` of its days (those in the
         *     range and not in the future, days without events included) divided by its own `count`: DAU/WAU
         *     and DAU/MAU. Both are 0 if nobody was active.
         *
         *     With `cumulative`, a point counts the users or sessions of the range up to the end of its interval,
         *     each once, and its measures are about the same events. With `average=7`, every interval has a point,
         *     with the `average` of its `value` and those of the six intervals before it; at the start of the
         *     range, of those there are.
         *
         *     With `measure`, each point also has the `values` of the measures over all events of its interval in
         *     the range, also those without a user; with `rolling`, over those of the day itself.
         *
         *     With `compare`, `previous` has the points of the compared range. `comparedTo` of each is the `time`
         *     of the interval of the same number in the range.
         */
        get: operations["active"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/analytics/top": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Most frequent values of a field
         * @description Returns the most frequent values of a field or of a metadata key in a time range.
         *
         *     `count` is the number of events with this value, `share` their share of all events that have a
         *     value, including values beyond `limit`, and `users` the number of distinct users. Events without a
         *     value are left out. With `sessions=true`, `sessions` is the number of distinct sessions. Items are
         *     ordered by `count`, or as `order` says; equal ones by `key`.
         *
         *     With `measure`, each item also has the `values` of the measures, and is ordered by the first one
         *     unless `order` says otherwise. Items for which it is null come last. If the first one is a `count` or
         *     a `sum`, `share` is the item's share of its sum over all values; negative numbers may make it
         *     negative or greater than 1. Other measures do not add up: `share` remains the share of the events.
         *
         *     With `compare`, `previous` of each item has its numbers in the compared range, and `previous` beside
         *     `items` that range. Values that occur only there are items with a `count` of 0.
         *
         *     With `other=true`, the last item of the first page has `other` and no `key`: all values that are not
         *     on the page, whose users, sessions and measures are counted of their events. There is one exactly if
         *     there are more pages, and the `limit` does not count it.
         *
         *     `nextCursor` is present exactly if there are more items. Send it as `cursor`, with the other
         *     parameters as before, for the next page. It keeps the range of the first page and continues after
         *     the last item, wherever that is now: events that arrive in between may move an item across it.
         *
         *     With a token of the whole project, sessions and users belong to a tenant: their items have the
         *     `tenantId`.
         */
        get: operations["top"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/analytics/summary": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Figures of a range, compared with another range
         * @description Returns the figures of a time range and of the range that it is compared with.
         *
         *     - `count` of events, `sessions`, `users`: their numbers; events without a user count for no user.
         *     - `eventsPerSession`, `avgSessionDurationSeconds`, `medianSessionDurationSeconds`: a session lasts
         *       from its first to its last event in the range. The median of an even number of values is the mean
         *       of the two in the middle.
         *     - `bounceShare`: the share of sessions with exactly one event.
         *
         *     All figures per session are 0 without sessions. A session that spans both ranges counts in each,
         *     with its part.
         *
         *     With `measure`, both ranges also have the `values` of the measures.
         *
         *     `previous` contains the compared range and its figures. `compare` selects it:
         *
         *     - `previous`: the same length, up to one millisecond before `from`. Whole days of `tz` are compared
         *       with as many whole days.
         *     - `previous_month`, `previous_year`: the same dates and times of day, a month or a year earlier. If
         *       a month does not have a date, its last day is used. Whole months are compared with whole months.
         *     - `<from>..<to>`: this range, such as `2026-01-01..2026-01-31`.
         */
        get: operations["summary"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/analytics/properties": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Metadata keys and their most frequent values
         * @description Returns the metadata keys of the events, and their most frequent values, for example to offer
         *     filters.
         *
         *     The `key` of a metadata key and that of each of its `values` have the format of filters:
         *     `filter=<key>:eq:<key of the value>` matches exactly the `count` events of the value, and
         *     `filter=<key>:exists:` the `count` of the metadata key. `share` is the value's share of
         *     these. Keys and values are ordered by their number of events; equal ones by their text.
         *
         *     A JSON null is not a value, and metadata that is not an object has no keys. If an object has the
         *     same key twice, the first one counts. Empty keys, keys of more than 512 characters and values of
         *     more than 1,000 are not listed; such values still count in the `count` and `distinctValues` of
         *     their key.
         */
        get: operations["properties"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/analytics/funnel": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * How many users complete each step of a funnel
         * @description Returns how many users or sessions complete a sequence of steps, and how long it takes.
         *
         *     Every event of step 1 is a start. Step 2 is the earliest event of its type at that time or later,
         *     step 3 the earliest at the time of step 2 or later, and so on, all within `window` of the start. One
         *     event is never two steps: if two steps have the same event type, the second must be strictly later.
         *     Other events may occur in between. Each user counts once: with the start that gets furthest, and
         *     among those the earliest.
         *
         *     `count` is the number of users who reached at least this step, `share` their share of step 1, and
         *     `conversionFromPrevious` its share of the previous step. `medianSecondsFromPrevious` is the median
         *     time since the previous step; step 1, and steps that nobody reached, have none.
         *
         *     With `order=strict`, no event that matches the filters is at a time between two steps, with `exclude`
         *     no event of that type; a sequence ends where one is. With `order=any`, a user has reached as many
         *     steps as they did within `window` of the first of them, whichever these are. `stepOrder` says it for
         *     single steps.
         *
         *     With `breakdown`, `groups` has the same steps for each value at the first event, most starts first.
         *     Each group is what the funnel is with this value as a filter of step 1, so a user may be in several.
         *     Events without a value are a group without `key`. With a token of the whole project, sessions and
         *     users belong to a tenant: their groups have the `tenantId`.
         *
         *     With `interval`, `trend` has the steps of the sequences that start in each interval. A user counts
         *     once in each. The last intervals have had less time to convert. With `cumulative`, a point is about
         *     the sequences that start in the range up to the end of its interval: a user counts once, and there is
         *     no median. With `average=7`, a point also has the `average` of its conversion to the last step and
         *     that of the six intervals before it; intervals in which nobody started are left out.
         *
         *     With `compare`, `previous` has the steps of the compared range and, with `interval`, its `trend`.
         *     `comparedTo` of each point is the `time` of the interval beside it, as in `timeseries`.
         *
         *     With `measure`, each step also has the `values` of the measures over the events of that step: one
         *     event for each user who reached it, the one that is the step in their sequence. If several events of
         *     the same millisecond could be, it is the first of them in the order of the timeline (by `eventId`).
         */
        get: operations["funnel"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/analytics/retention": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * How many users come back
         * @description Returns how many of the users who were new in an interval came back in each later interval.
         *
         *     A user belongs to the cohort of the interval of their first `cohortEvent` ever: among all stored
         *     events up to `to` that match the filters, not only those since `from`. The range selects the
         *     cohorts: those whose interval overlaps it. Without `from`, it has eight intervals, the last of
         *     them that of its end. Empty cohorts are left out.
         *
         *     `period` n is the n-th calendar interval after the cohort's own. Its `count` is the number of users
         *     of the cohort with a `returnEvent` in it, up to `to` and not before their first `cohortEvent`;
         *     `share` is their share of the cohort's `count`. The last period is the interval of `to`, or the
         *     current one; it is `partial` if that interval is cut off or not over.
         *
         *     With `returns=on_or_after`, `count` is the number of those who came back in the period or a later one
         *     (rolling retention), up to `to`; with `unbounded`, returns after `to` count too.
         */
        get: operations["retention"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/analytics/paths": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Events after or before an event
         * @description Returns the events that follow an event, or precede it, and how often.
         *
         *     Every event of the type `event` in the range is a start, and `starts` is their number. The path of a
         *     start is the next `depth` events of the same session or user, ordered by time (with `previous`, the
         *     events before it, nearest first). Filters apply first: events that do not match are skipped.
         *
         *     `paths` counts every prefix of these paths: `add_to_cart`, `purchase` counts for `["add_to_cart"]`
         *     and for `["add_to_cart", "purchase"]`. `share` is the share of the starts. Paths are ordered by
         *     length, then by frequency, then by event types.
         */
        get: operations["paths"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/analytics/heatmap": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Events per hour of the week
         * @description Returns the number of events and of distinct users for each hour of the week. Without `from`, the
         *     range has the 28 local days up to that of its end.
         *
         *     There are always 168 cells, from Monday (`weekday` 1) 0:00 to Sunday (7) 23:00. Each cell covers all
         *     such hours of the range. An hour is an hour of the local clock: one that occurs twice when the
         *     clocks change is a single cell.
         *
         *     With `measure`, each cell also has the `values` of the measures.
         */
        get: operations["heatmap"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/telemetry/live": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * New events as they are committed
         * @description Sends new events as Server-Sent Events, as soon as they are committed.
         *
         *     Each event is a message: `data` is the event in the format of the timeline, and `id` the time at
         *     which it was committed. The stream shows the events that are committed after it began, whatever
         *     their own timestamps are. From time to time it sends an `id` without data, or a comment as a
         *     heartbeat.
         *
         *     Delivery is at least once. A stream that resumes with the last `id` may repeat the events of the
         *     last `query.live_overlap_s` (10.0) seconds, and misses none. After an interruption of more than 24 hours, a
         *     message of type `gap` names the time range of the missing events; the export contains them
         *     (`filter=inserted_at:…`). To count events, use `eventId`. An event whose insert takes longer than
         *     `query.live_overlap_s` (10.0) to become visible is not shown.
         *
         *     The stream ends when the token expires, with a message of type `end` and the data `{"code":
         *     "token_expired", …}`. It also ends when the worker stops or the client does not read; resume it
         *     then. While ClickHouse is down, the stream stays open.
         *
         *     A browser's EventSource cannot send headers. Prefer an implementation based on fetch, which can send
         *     Authorization. Otherwise send the token as `access_token`. Proxies log URLs and browsers store them,
         *     so use tokens with a short lifetime and few rights (the claims `endpoints` and `filters`).
         */
        get: operations["live"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/telemetry/export": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * All events of a range as a file
         * @description Sends all events of a range as a file. The number of events is unlimited.
         *
         *     - NDJSON: each line is an event in the format of the timeline, with `projectId` and `tenantId`. The
         *       ingest routes accept the same format, and `nealytics import` restores the same events. With
         *       `metadata=object`, a line has `metadata` as an object.
         *     - CSV: the same names in the first line; lines end with CRLF, and every text is quoted (RFC 4180).
         *       An absent user or item is empty and unquoted. Values are not changed, so a spreadsheet interprets
         *       one that begins with `=`, `+`, `-` or `@` as a formula: import the columns as text.
         *     - Parquet: the same columns; `timestamp` is a time (milliseconds, UTC), an absent user or item is
         *       NULL, and the rows have no order. NDJSON and CSV are ordered by time, with no order within a
         *       millisecond.
         *
         *     Every event that was committed before the export began is included exactly once. An event that is
         *     committed while it runs may be included. The first byte of NDJSON and CSV is sent at once, that of
         *     Parquet when the file is complete.
         *
         *     If an export fails while it runs, the connection is cut. Detecting that needs HTTP/1.1 (in nginx,
         *     `proxy_http_version 1.1`), and not every proxy forwards it: Caddy 2.6 makes a complete answer of it.
         *     With `end=true`, NDJSON and CSV end with a record that confirms completeness and has the number of
         *     events; the same number is in the trailer `Nealytics-Events`. Parquet has a footer, and compressed
         *     files end with a checksum.
         */
        get: operations["export"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/analytics/query": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Several reads in one request
         * @description All reads of a page in one request. Each has the parameters, limits and errors of its GET route. One that fails has an `error` in place of its answer, and the others are answered.
         */
        post: operations["query"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/queries": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * The saved queries
         * @description Those that the token may use, with their parameters and columns.
         */
        get: operations["queries"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/queries/{name}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * A saved query
         * @description Runs SQL that the operator has saved, over the events of the token's tenant. It has further parameters, which it declares.
         */
        get: operations["savedQuery"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/health": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Is the process alive? */
        get: operations["health"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/ready": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Does everything work? */
        get: operations["ready"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/ready/ingest": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Are events accepted? */
        get: operations["readyIngest"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/openapi.json": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** This description */
        get: operations["openapi"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
}
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        /**
         * ErrorCode
         * @description For programs: a code keeps its meaning. Later versions may add codes.
         * @enum {string}
         */
        ErrorCode: "answers_busy" | "bad_request" | "body_too_large" | "clickhouse_unavailable" | "data_damaged" | "expectation_failed" | "forbidden" | "http_1_1_needed" | "internal_error" | "invalid_claim" | "invalid_event" | "invalid_json" | "invalid_parameter" | "keys_unavailable" | "log_broken" | "log_full" | "method_not_allowed" | "not_found" | "outside_time_window" | "queries_busy" | "queries_unavailable" | "query_failed" | "query_too_large" | "quota_exceeded" | "rate_limited" | "request_timeout" | "result_too_large" | "scope_not_proven" | "stopping" | "streams_busy" | "too_many_connections" | "too_many_streams" | "unauthorized" | "unknown_query" | "unsupported_encoding";
        /**
         * Error
         * @description The body of every error.
         */
        Error: {
            code: components["schemas"]["ErrorCode"];
            /** @description What is wrong, with the value, in one sentence. */
            message: string;
            /** @description What to do about it. */
            detail: string;
            /** @description The request's id, as in the header `X-Request-Id` and in the server's log. */
            requestId: string;
            /** @description The parameter or JSON field at fault. */
            field?: string;
        };
        /**
         * ReadingBadRequestCode
         * @description The codes of status 400.
         * @enum {string}
         */
        ReadingBadRequestCode: "invalid_parameter" | "invalid_claim" | "bad_request";
        /** ReadingBadRequestError */
        ReadingBadRequestError: components["schemas"]["Error"] & {
            code?: components["schemas"]["ReadingBadRequestCode"];
        };
        /**
         * UnauthorizedCode
         * @description The codes of status 401.
         * @enum {string}
         */
        UnauthorizedCode: "unauthorized";
        /** UnauthorizedError */
        UnauthorizedError: components["schemas"]["Error"] & {
            code?: components["schemas"]["UnauthorizedCode"];
        };
        /**
         * ForbiddenCode
         * @description The codes of status 403.
         * @enum {string}
         */
        ForbiddenCode: "forbidden";
        /** ForbiddenError */
        ForbiddenError: components["schemas"]["Error"] & {
            code?: components["schemas"]["ForbiddenCode"];
        };
        /**
         * TooExpensiveCode
         * @description The codes of status 422.
         * @enum {string}
         */
        TooExpensiveCode: "result_too_large" | "query_too_large";
        /** TooExpensiveError */
        TooExpensiveError: components["schemas"]["Error"] & {
            code?: components["schemas"]["TooExpensiveCode"];
        };
        /**
         * ReadingTooManyRequestsCode
         * @description The codes of status 429.
         * @enum {string}
         */
        ReadingTooManyRequestsCode: "rate_limited" | "quota_exceeded";
        /** ReadingTooManyRequestsError */
        ReadingTooManyRequestsError: components["schemas"]["Error"] & {
            code?: components["schemas"]["ReadingTooManyRequestsCode"];
        };
        /**
         * ReadingServerCode
         * @description The codes of status 500.
         * @enum {string}
         */
        ReadingServerCode: "data_damaged" | "internal_error";
        /** ReadingServerError */
        ReadingServerError: components["schemas"]["Error"] & {
            code?: components["schemas"]["ReadingServerCode"];
        };
        /**
         * ReadingUnavailableCode
         * @description The codes of status 503.
         * @enum {string}
         */
        ReadingUnavailableCode: "queries_busy" | "answers_busy" | "clickhouse_unavailable" | "scope_not_proven" | "keys_unavailable" | "stopping";
        /** ReadingUnavailableError */
        ReadingUnavailableError: components["schemas"]["Error"] & {
            code?: components["schemas"]["ReadingUnavailableCode"];
        };
        /**
         * TooLargeCode
         * @description The codes of status 413.
         * @enum {string}
         */
        TooLargeCode: "body_too_large";
        /** TooLargeError */
        TooLargeError: components["schemas"]["Error"] & {
            code?: components["schemas"]["TooLargeCode"];
        };
        /**
         * StreamingTooManyRequestsCode
         * @description The codes of status 429.
         * @enum {string}
         */
        StreamingTooManyRequestsCode: "rate_limited" | "quota_exceeded" | "too_many_streams";
        /** StreamingTooManyRequestsError */
        StreamingTooManyRequestsError: components["schemas"]["Error"] & {
            code?: components["schemas"]["StreamingTooManyRequestsCode"];
        };
        /**
         * StreamingUnavailableCode
         * @description The codes of status 503.
         * @enum {string}
         */
        StreamingUnavailableCode: "queries_busy" | "answers_busy" | "clickhouse_unavailable" | "scope_not_proven" | "keys_unavailable" | "stopping" | "streams_busy";
        /** StreamingUnavailableError */
        StreamingUnavailableError: components["schemas"]["Error"] & {
            code?: components["schemas"]["StreamingUnavailableCode"];
        };
        /**
         * HttpVersionCode
         * @description The codes of status 505.
         * @enum {string}
         */
        HttpVersionCode: "http_1_1_needed";
        /** HttpVersionError */
        HttpVersionError: components["schemas"]["Error"] & {
            code?: components["schemas"]["HttpVersionCode"];
        };
        /**
         * SavedServerCode
         * @description The codes of status 500.
         * @enum {string}
         */
        SavedServerCode: "data_damaged" | "internal_error" | "query_failed";
        /** SavedServerError */
        SavedServerError: components["schemas"]["Error"] & {
            code?: components["schemas"]["SavedServerCode"];
        };
        /**
         * SavedUnavailableCode
         * @description The codes of status 503.
         * @enum {string}
         */
        SavedUnavailableCode: "queries_busy" | "answers_busy" | "clickhouse_unavailable" | "scope_not_proven" | "keys_unavailable" | "stopping" | "queries_unavailable";
        /** SavedUnavailableError */
        SavedUnavailableError: components["schemas"]["Error"] & {
            code?: components["schemas"]["SavedUnavailableCode"];
        };
        /**
         * NotFoundCode
         * @description The codes of status 404.
         * @enum {string}
         */
        NotFoundCode: "unknown_query";
        /** NotFoundError */
        NotFoundError: components["schemas"]["Error"] & {
            code?: components["schemas"]["NotFoundCode"];
        };
        /**
         * SendingBadRequestCode
         * @description The codes of status 400.
         * @enum {string}
         */
        SendingBadRequestCode: "invalid_json" | "invalid_event" | "outside_time_window" | "bad_request" | "invalid_parameter" | "invalid_claim";
        /** SendingBadRequestError */
        SendingBadRequestError: components["schemas"]["Error"] & {
            code?: components["schemas"]["SendingBadRequestCode"];
        };
        /**
         * RequestTimeoutCode
         * @description The codes of status 408.
         * @enum {string}
         */
        RequestTimeoutCode: "request_timeout";
        /** RequestTimeoutError */
        RequestTimeoutError: components["schemas"]["Error"] & {
            code?: components["schemas"]["RequestTimeoutCode"];
        };
        /**
         * UnsupportedEncodingCode
         * @description The codes of status 415.
         * @enum {string}
         */
        UnsupportedEncodingCode: "unsupported_encoding";
        /** UnsupportedEncodingError */
        UnsupportedEncodingError: components["schemas"]["Error"] & {
            code?: components["schemas"]["UnsupportedEncodingCode"];
        };
        /**
         * SendingServerCode
         * @description The codes of status 500.
         * @enum {string}
         */
        SendingServerCode: "internal_error";
        /** SendingServerError */
        SendingServerError: components["schemas"]["Error"] & {
            code?: components["schemas"]["SendingServerCode"];
        };
        /**
         * SendingUnavailableCode
         * @description The codes of status 503.
         * @enum {string}
         */
        SendingUnavailableCode: "log_full" | "log_broken" | "keys_unavailable" | "stopping";
        /** SendingUnavailableError */
        SendingUnavailableError: components["schemas"]["Error"] & {
            code?: components["schemas"]["SendingUnavailableCode"];
        };
        /** BatchAnswer */
        BatchAnswer: {
            code?: string;
            message?: string;
            detail?: string;
            requestId?: string;
            accepted: number;
            rejected: number;
            errors: components["schemas"]["Refusal"][];
            committed?: boolean;
        };
        /**
         * Refusal
         * @description One event that was not accepted, as the answer shows it.
         */
        Refusal: {
            index: number;
            field?: string;
            error: string;
            code: string;
        };
        /** Readiness */
        Readiness: {
            status: string;
            clickhouse: components["schemas"]["Part"];
            committer: components["schemas"]["Part"];
            log: components["schemas"]["Part"];
            waitingEvents: number;
            oldestWaitingSeconds: number;
            pid: number;
            /** @default [] */
            warnings?: string[];
            /** @default [] */
            damage?: string[];
        };
        /** Part */
        Part: {
            ok: boolean;
            problem?: string;
            address?: string;
            unavailable?: string[];
        };
        /** IngestReadiness */
        IngestReadiness: {
            status: string;
            log: components["schemas"]["Part"];
        };
        /** SavedAnswer */
        SavedAnswer: {
            projectId: string;
            tenantId?: string;
            /** @default [] */
            warnings?: components["schemas"]["Warn"][];
            query: string;
            title: string;
            rows: Record<string, never>[];
            columns: components["schemas"]["Column"][];
        };
        /**
         * Warn
         * @description What was requested and answered otherwise. `code` is stable, for programs.
         */
        Warn: {
            code: string;
            message: string;
            field?: string;
        };
        /**
         * Column
         * @description A column of an answer; `type` is ClickHouse's.
         */
        Column: {
            name: string;
            type: string;
        };
        /** ListAnswer */
        ListAnswer: {
            queries: components["schemas"]["Listed"][];
        };
        /**
         * Listed
         * @description A saved query in the list.
         */
        Listed: {
            name: string;
            title: string;
            path: string;
            /** @default  */
            description?: string;
            /** @default [] */
            parameters?: components["schemas"]["Input"][];
            /** @default [] */
            columns?: components["schemas"]["Column"][];
        };
        /**
         * Input
         * @description A declared parameter.
         */
        Input: {
            name: string;
            type: string;
            /** @default  */
            description?: string;
            default?: string;
            /** @default [] */
            choices?: string[];
            minimum?: number;
            maximum?: number;
        };
        /** Timeline */
        Timeline: {
            projectId: string;
            tenantId?: string;
            /** @default [] */
            warnings?: components["schemas"]["Warn"][];
            events: components["schemas"]["TimelineEvent"][];
            nextCursor?: string;
        };
        /** TimelineEvent */
        TimelineEvent: {
            eventId: string;
            tenantId?: string;
            sessionId: string;
            userId?: string;
            eventType: string;
            itemId?: string;
            metadataJson?: string;
            metadata?: Record<string, never>;
            timestamp: string;
        };
        /** Sessions */
        Sessions: {
            projectId: string;
            tenantId?: string;
            /** @default [] */
            warnings?: components["schemas"]["Warn"][];
            from: string;
            to: string;
            tz: string;
            uniqueSessionCount: number;
            totalEventCount: number;
            avgDurationSeconds: number;
            totals: components["schemas"]["Totals"];
            sessions: components["schemas"]["Session"][];
            nextCursor?: string;
        };
        /**
         * Totals
         * @description Of all sessions in the range.
         */
        Totals: {
            sessions: number;
            count: number;
            /**
             * @deprecated
             * @description Deprecated: the same as `count`.
             */
            events: number;
            avgDurationSeconds: number;
            medianDurationSeconds: number;
        };
        /** Session */
        Session: {
            sessionId: string;
            tenantId?: string;
            firstSeen: string;
            lastSeen: string;
            durationSeconds: number;
            count: number;
            /**
             * @deprecated
             * @description Deprecated: the same as `count`.
             */
            eventCount: number;
            userId?: string;
            entryItemId?: string;
            exitItemId?: string;
            eventTypes: string[];
        };
        /** TimeSeries */
        TimeSeries: {
            projectId: string;
            tenantId?: string;
            /** @default [] */
            warnings?: components["schemas"]["Warn"][];
            from: string;
            to: string;
            tz: string;
            interval: string;
            /** @default [] */
            measures?: string[];
            totalCount: number;
            points: components["schemas"]["TimeseriesPoint"][];
            previous?: components["schemas"]["TimeseriesPrevious"];
        };
        /** TimeseriesPoint */
        TimeseriesPoint: {
            time: string;
            /**
             * @deprecated
             * @description Deprecated: the same as `time`.
             */
            bucket: string;
            /** @default false */
            partial?: boolean;
            key?: string;
            /**
             * @deprecated
             * @description Deprecated: the same as `key`.
             */
            series?: string;
            /** @default false */
            other?: boolean;
            tenantId?: string;
            value: number | null;
            count: number;
            /** @default [] */
            values?: (number | null)[];
            average?: number;
            comparedTo?: string;
        };
        /**
         * TimeseriesPrevious
         * @description The points of the compared range.
         */
        TimeseriesPrevious: {
            from: string;
            to: string;
            totalCount: number;
            points: components["schemas"]["TimeseriesPoint"][];
        };
        /** Active */
        Active: {
            projectId: string;
            tenantId?: string;
            /** @default [] */
            warnings?: components["schemas"]["Warn"][];
            from: string;
            to: string;
            tz: string;
            interval: string;
            by: string;
            mode: string;
            rolling?: number;
            /** @default [] */
            measures?: string[];
            points: components["schemas"]["ActivePoint"][];
            previous?: components["schemas"]["ActivePrevious"];
        };
        /** ActivePoint */
        ActivePoint: {
            time: string;
            /**
             * @deprecated
             * @description Deprecated: the same as `time`.
             */
            bucket: string;
            /** @default false */
            partial?: boolean;
            value: number | null;
            count: number;
            /**
             * @deprecated
             * @description Deprecated: the same as `count`.
             */
            activeCount: number;
            rollingCount?: number;
            stickiness?: number;
            /** @default [] */
            values?: (number | null)[];
            average?: number;
            comparedTo?: string;
        };
        /**
         * ActivePrevious
         * @description The points of the compared range.
         */
        ActivePrevious: {
            from: string;
            to: string;
            points: components["schemas"]["ActivePoint"][];
        };
        /** Top */
        Top: {
            projectId: string;
            tenantId?: string;
            /** @default [] */
            warnings?: components["schemas"]["Warn"][];
            from: string;
            to: string;
            tz: string;
            dimension: string;
            previous?: components["schemas"]["Range"];
            /** @default [] */
            measures?: string[];
            items: components["schemas"]["Item"][];
            nextCursor?: string;
        };
        /** Range */
        Range: {
            from: string;
            to: string;
        };
        /** Item */
        Item: {
            key?: string;
            /** @default false */
            other?: boolean;
            tenantId?: string;
            value: number | null;
            count: number;
            share: number;
            users: number;
            sessions?: number;
            /** @default [] */
            values?: (number | null)[];
            previous?: components["schemas"]["Counts"];
        };
        /** Counts */
        Counts: {
            value: number | null;
            count: number;
            users: number;
            sessions?: number;
            /** @default [] */
            values?: (number | null)[];
        };
        /**
         * Summary
         * @description The figures of the range and of the compared range.
         */
        Summary: {
            projectId: string;
            tenantId?: string;
            /** @default [] */
            warnings?: components["schemas"]["Warn"][];
            from: string;
            to: string;
            tz: string;
            compare: string;
            value: number | null;
            count: number;
            /**
             * @deprecated
             * @description Deprecated: the same as `count`.
             */
            events: number;
            sessions: number;
            users: number;
            eventsPerSession: number;
            avgSessionDurationSeconds: number;
            medianSessionDurationSeconds: number;
            bounceShare: number;
            /** @default [] */
            measures?: string[];
            /** @default [] */
            values?: (number | null)[];
            previous: components["schemas"]["Figures"];
        };
        /** Figures */
        Figures: {
            from: string;
            to: string;
            value: number | null;
            count: number;
            /**
             * @deprecated
             * @description Deprecated: the same as `count`.
             */
            events: number;
            sessions: number;
            users: number;
            eventsPerSession: number;
            avgSessionDurationSeconds: number;
            medianSessionDurationSeconds: number;
            bounceShare: number;
            /** @default [] */
            values?: (number | null)[];
        };
        /** Properties */
        Properties: {
            projectId: string;
            tenantId?: string;
            /** @default [] */
            warnings?: components["schemas"]["Warn"][];
            from: string;
            to: string;
            tz: string;
            keys: components["schemas"]["Key"][];
        };
        /** Key */
        Key: {
            key: string;
            count: number;
            /**
             * @deprecated
             * @description Deprecated: the same as `count`.
             */
            events: number;
            distinctValues: number;
            values: components["schemas"]["Value"][];
        };
        /** Value */
        Value: {
            key: string;
            /**
             * @deprecated
             * @description Deprecated: the same as `key`.
             */
            value: string;
            count: number;
            share: number;
        };
        /** Funnel */
        Funnel: {
            projectId: string;
            tenantId?: string;
            /** @default [] */
            warnings?: components["schemas"]["Warn"][];
            from: string;
            to: string;
            tz: string;
            by: string;
            windowSeconds: number;
            /** @default [] */
            measures?: string[];
            steps: components["schemas"]["StepCount"][];
            breakdown?: string;
            groups?: components["schemas"]["Group"][];
            interval?: string;
            trend?: components["schemas"]["Interval"][];
            previous?: components["schemas"]["FunnelPrevious"];
        };
        /** StepCount */
        StepCount: {
            step: number;
            eventType: string;
            value: number | null;
            count: number;
            share: number;
            /**
             * @deprecated
             * @description Deprecated: the same as `share`.
             */
            conversion: number;
            conversionFromPrevious: number;
            medianSecondsFromPrevious?: number;
            /** @default [] */
            values?: (number | null)[];
        };
        /** Group */
        Group: {
            key?: string;
            tenantId?: string;
            steps: components["schemas"]["StepCount"][];
        };
        /** Interval */
        Interval: {
            time: string;
            /** @default false */
            partial?: boolean;
            steps: components["schemas"]["StepCount"][];
            average?: number;
            comparedTo?: string;
        };
        /**
         * FunnelPrevious
         * @description The funnel of the compared range.
         */
        FunnelPrevious: {
            from: string;
            to: string;
            steps: components["schemas"]["StepCount"][];
            trend?: components["schemas"]["Interval"][];
        };
        /** Retention */
        Retention: {
            projectId: string;
            tenantId?: string;
            /** @default [] */
            warnings?: components["schemas"]["Warn"][];
            from: string;
            to: string;
            tz: string;
            interval: string;
            by: string;
            cohortEvent?: string;
            returnEvent?: string;
            returns?: string;
            cohorts: components["schemas"]["Cohort"][];
        };
        /** Cohort */
        Cohort: {
            time: string;
            /**
             * @deprecated
             * @description Deprecated: the same as `time`.
             */
            cohort: string;
            value: number;
            count: number;
            /**
             * @deprecated
             * @description Deprecated: the same as `count`.
             */
            size: number;
            periods: components["schemas"]["Period"][];
        };
        /** Period */
        Period: {
            period: number;
            /** @default false */
            partial?: boolean;
            value: number;
            count: number;
            share: number;
        };
        /** Paths */
        Paths: {
            projectId: string;
            tenantId?: string;
            /** @default [] */
            warnings?: components["schemas"]["Warn"][];
            from: string;
            to: string;
            tz: string;
            event: string;
            direction: string;
            depth: number;
            by: string;
            starts: number;
            paths: components["schemas"]["Path"][];
        };
        /** Path */
        Path: {
            events: string[];
            value: number;
            count: number;
            share: number;
        };
        /** Heatmap */
        Heatmap: {
            projectId: string;
            tenantId?: string;
            /** @default [] */
            warnings?: components["schemas"]["Warn"][];
            from: string;
            to: string;
            tz: string;
            /** @default [] */
            measures?: string[];
            totalCount: number;
            cells: components["schemas"]["Cell"][];
        };
        /** Cell */
        Cell: {
            weekday: number;
            hour: number;
            value: number | null;
            count: number;
            users: number;
            /** @default [] */
            values?: (number | null)[];
        };
        /**
         * Argument
         * @description The value of a query parameter; a list where the parameter may be repeated.
         */
        Argument: string | number | boolean | null | (string | number | boolean | null)[];
        /**
         * Combined
         * @description Conditions, each as in the parameter `filter` or combined again. Of `and` all must match, of `or` at least one; `not` keeps the events that do not match. It has one of the three. Together at most 100 conditions, nested at most 8 deep.
         */
        Combined: {
            and?: (string | components["schemas"]["Combined"])[];
            or?: (string | components["schemas"]["Combined"])[];
            not?: string | components["schemas"]["Combined"];
        };
        /**
         * Conditions
         * @description One condition, or a list of which all must match.
         */
        Conditions: string | components["schemas"]["Combined"] | (string | components["schemas"]["Combined"])[] | null;
        /**
         * Question
         * @description One read: the name of its endpoint, and its query parameters by name.
         */
        Question: {
            /** @enum {string} */
            endpoint: "timeline" | "sessions" | "timeseries" | "active" | "top" | "summary" | "properties" | "funnel" | "retention" | "paths" | "heatmap";
            filter?: components["schemas"]["Conditions"];
        } & {
            [key: string]: components["schemas"]["Argument"];
        };
        /**
         * Questions
         * @description Several reads. A parameter beside `queries` is the default for every read that has such a parameter.
         */
        Questions: {
            /** @description The reads, each under a name of your choice. */
            queries: {
                [key: string]: components["schemas"]["Question"];
            };
            limit?: components["schemas"]["Argument"];
            before?: components["schemas"]["Argument"];
            after?: components["schemas"]["Argument"];
            cursor?: components["schemas"]["Argument"];
            tz?: components["schemas"]["Argument"];
            filter?: components["schemas"]["Conditions"];
            any?: components["schemas"]["Argument"];
            eventType?: components["schemas"]["Argument"];
            sessionId?: components["schemas"]["Argument"];
            userId?: components["schemas"]["Argument"];
            itemId?: components["schemas"]["Argument"];
            metaKey?: components["schemas"]["Argument"];
            metaValue?: components["schemas"]["Argument"];
            metadata?: components["schemas"]["Argument"];
            from?: components["schemas"]["Argument"];
            to?: components["schemas"]["Argument"];
            order?: components["schemas"]["Argument"];
            interval?: components["schemas"]["Argument"];
            measure?: components["schemas"]["Argument"];
            groupBy?: components["schemas"]["Argument"];
            top?: components["schemas"]["Argument"];
            other?: components["schemas"]["Argument"];
            fill?: components["schemas"]["Argument"];
            cumulative?: components["schemas"]["Argument"];
            average?: components["schemas"]["Argument"];
            compare?: components["schemas"]["Argument"];
            by?: components["schemas"]["Argument"];
            mode?: components["schemas"]["Argument"];
            rolling?: components["schemas"]["Argument"];
            stickiness?: components["schemas"]["Argument"];
            dimension?: components["schemas"]["Argument"];
            sessions?: components["schemas"]["Argument"];
            under?: components["schemas"]["Argument"];
            key?: components["schemas"]["Argument"];
            values?: components["schemas"]["Argument"];
            step?: components["schemas"]["Argument"];
            stepFilter?: components["schemas"]["Argument"];
            window?: components["schemas"]["Argument"];
            stepOrder?: components["schemas"]["Argument"];
            exclude?: components["schemas"]["Argument"];
            breakdown?: components["schemas"]["Argument"];
            cohortEvent?: components["schemas"]["Argument"];
            returnEvent?: components["schemas"]["Argument"];
            returns?: components["schemas"]["Argument"];
            periods?: components["schemas"]["Argument"];
            event?: components["schemas"]["Argument"];
            direction?: components["schemas"]["Argument"];
            depth?: components["schemas"]["Argument"];
        };
        /**
         * Failure
         * @description In place of an answer: why this read failed.
         */
        Failure: {
            error: components["schemas"]["Error"];
        };
        /** Answers */
        Answers: {
            projectId: string;
            tenantId?: string;
            /** @description Each read's answer or failure, under its name. */
            results: {
                [key: string]: components["schemas"]["Failure"] | components["schemas"]["Timeline"] | components["schemas"]["Sessions"] | components["schemas"]["TimeSeries"] | components["schemas"]["Active"] | components["schemas"]["Top"] | components["schemas"]["Summary"] | components["schemas"]["Properties"] | components["schemas"]["Funnel"] | components["schemas"]["Retention"] | components["schemas"]["Paths"] | components["schemas"]["Heatmap"];
            };
        };
        /** Health */
        Health: {
            /** @constant */
            status: "ok";
        };
        /**
         * Event
         * @description Other fields are ignored. A client that may have to send an event again gives it `eventId` and `timestamp`: then it is counted once.
         * @example {
         *       "projectId": "my-app",
         *       "tenantId": "tenant-1",
         *       "sessionId": "abc-123",
         *       "eventType": "page_view",
         *       "userId": "ada",
         *       "itemId": "/home",
         *       "metadata": {
         *         "referrer": "example.com"
         *       }
         *     }
         */
        Event: {
            /** @description The application that the event belongs to. Required, unless the key or token has it. */
            projectId?: string;
            /** @description The customer of the application whose analytics it is part of. Required, unless the key or token has it. */
            tenantId?: string;
            /** @description Events with the same value are one visit. */
            sessionId: string;
            /** @description What happened. */
            eventType: string;
            /** @description Who did it; empty counts as absent. If the token has a user, it is this one. */
            userId?: string | null;
            /** @description What it was done to, such as a page's URL; empty counts as absent. */
            itemId?: string | null;
            /** @description The metadata as a text, not validated; overrides `metadata`. Default: `{}`. The limit counts bytes of UTF-8. */
            metadataJson?: string | null;
            /** @description Whatever else is to be known; stored as it was sent. */
            metadata?: Record<string, never> | null;
            /** @description Made by the server if absent. What is sent again with the same counts once. */
            eventId?: string | null;
            /** @description When it happened: ISO 8601 (without a zone UTC) or, as a number, epoch milliseconds. Absent: the time inside a UUIDv7 `eventId`, else now. */
            timestamp?: string | number | null;
        };
        /** TimeZone */
        TimeZone: string;
    };
    responses: {
        /** @description The request is invalid; `field` names the parameter or field at fault. */
        Reading400: {
            headers: {
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/json": components["schemas"]["ReadingBadRequestError"];
            };
        };
        /** @description The key or token is missing or not valid. */
        Reading401: {
            headers: {
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/json": components["schemas"]["UnauthorizedError"];
            };
        };
        /** @description The key or token is valid but does not permit this. */
        Reading403: {
            headers: {
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/json": components["schemas"]["ForbiddenError"];
            };
        };
        /** @description The query is valid but too large or too expensive; `detail` says what to narrow. */
        Reading422: {
            headers: {
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/json": components["schemas"]["TooExpensiveError"];
            };
        };
        /** @description Too many requests, or a quota is used up; retry after `Retry-After` seconds. */
        Reading429: {
            headers: {
                "X-Request-Id": components["headers"]["X-Request-Id"];
                "Retry-After": components["headers"]["Retry-After"];
                [name: string]: unknown;
            };
            content: {
                "application/json": components["schemas"]["ReadingTooManyRequestsError"];
            };
        };
        /** @description The server failed; its log has the reason. */
        Reading500: {
            headers: {
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/json": components["schemas"]["ReadingServerError"];
            };
        };
        /** @description Temporarily unavailable; retry after `Retry-After` seconds. */
        Reading503: {
            headers: {
                "X-Request-Id": components["headers"]["X-Request-Id"];
                "Retry-After": components["headers"]["Retry-After"];
                [name: string]: unknown;
            };
            content: {
                "application/json": components["schemas"]["ReadingUnavailableError"];
            };
        };
        /** @description The request is invalid; `field` names the parameter or field at fault. */
        Asking400: {
            headers: {
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/json": components["schemas"]["ReadingBadRequestError"];
            };
        };
        /** @description The key or token is missing or not valid. */
        Asking401: {
            headers: {
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/json": components["schemas"]["UnauthorizedError"];
            };
        };
        /** @description The key or token is valid but does not permit this. */
        Asking403: {
            headers: {
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/json": components["schemas"]["ForbiddenError"];
            };
        };
        /** @description The query is valid but too large or too expensive; `detail` says what to narrow. */
        Asking422: {
            headers: {
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/json": components["schemas"]["TooExpensiveError"];
            };
        };
        /** @description Too many requests, or a quota is used up; retry after `Retry-After` seconds. */
        Asking429: {
            headers: {
                "X-Request-Id": components["headers"]["X-Request-Id"];
                "Retry-After": components["headers"]["Retry-After"];
                [name: string]: unknown;
            };
            content: {
                "application/json": components["schemas"]["ReadingTooManyRequestsError"];
            };
        };
        /** @description The server failed; its log has the reason. */
        Asking500: {
            headers: {
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/json": components["schemas"]["ReadingServerError"];
            };
        };
        /** @description Temporarily unavailable; retry after `Retry-After` seconds. */
        Asking503: {
            headers: {
                "X-Request-Id": components["headers"]["X-Request-Id"];
                "Retry-After": components["headers"]["Retry-After"];
                [name: string]: unknown;
            };
            content: {
                "application/json": components["schemas"]["ReadingUnavailableError"];
            };
        };
        /** @description The body, or an event in it, is too large. */
        Asking413: {
            headers: {
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/json": components["schemas"]["TooLargeError"];
            };
        };
        /** @description The request is invalid; `field` names the parameter or field at fault. */
        Streaming400: {
            headers: {
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/json": components["schemas"]["ReadingBadRequestError"];
            };
        };
        /** @description The key or token is missing or not valid. */
        Streaming401: {
            headers: {
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/json": components["schemas"]["UnauthorizedError"];
            };
        };
        /** @description The key or token is valid but does not permit this. */
        Streaming403: {
            headers: {
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/json": components["schemas"]["ForbiddenError"];
            };
        };
        /** @description The query is valid but too large or too expensive; `detail` says what to narrow. */
        Streaming422: {
            headers: {
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/json": components["schemas"]["TooExpensiveError"];
            };
        };
        /** @description Too many requests, or a quota is used up; retry after `Retry-After` seconds. */
        Streaming429: {
            headers: {
                "X-Request-Id": components["headers"]["X-Request-Id"];
                "Retry-After": components["headers"]["Retry-After"];
                [name: string]: unknown;
            };
            content: {
                "application/json": components["schemas"]["StreamingTooManyRequestsError"];
            };
        };
        /** @description The server failed; its log has the reason. */
        Streaming500: {
            headers: {
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/json": components["schemas"]["ReadingServerError"];
            };
        };
        /** @description Temporarily unavailable; retry after `Retry-After` seconds. */
        Streaming503: {
            headers: {
                "X-Request-Id": components["headers"]["X-Request-Id"];
                "Retry-After": components["headers"]["Retry-After"];
                [name: string]: unknown;
            };
            content: {
                "application/json": components["schemas"]["StreamingUnavailableError"];
            };
        };
        /** @description Streams need HTTP/1.1: HTTP/1.0 cannot mark the end of one reliably. */
        Streaming505: {
            headers: {
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/json": components["schemas"]["HttpVersionError"];
            };
        };
        /** @description The request is invalid; `field` names the parameter or field at fault. */
        Saved400: {
            headers: {
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/json": components["schemas"]["ReadingBadRequestError"];
            };
        };
        /** @description The key or token is missing or not valid. */
        Saved401: {
            headers: {
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/json": components["schemas"]["UnauthorizedError"];
            };
        };
        /** @description The key or token is valid but does not permit this. */
        Saved403: {
            headers: {
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/json": components["schemas"]["ForbiddenError"];
            };
        };
        /** @description The query is valid but too large or too expensive; `detail` says what to narrow. */
        Saved422: {
            headers: {
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/json": components["schemas"]["TooExpensiveError"];
            };
        };
        /** @description Too many requests, or a quota is used up; retry after `Retry-After` seconds. */
        Saved429: {
            headers: {
                "X-Request-Id": components["headers"]["X-Request-Id"];
                "Retry-After": components["headers"]["Retry-After"];
                [name: string]: unknown;
            };
            content: {
                "application/json": components["schemas"]["ReadingTooManyRequestsError"];
            };
        };
        /** @description The server failed; its log has the reason. */
        Saved500: {
            headers: {
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/json": components["schemas"]["SavedServerError"];
            };
        };
        /** @description Temporarily unavailable; retry after `Retry-After` seconds. */
        Saved503: {
            headers: {
                "X-Request-Id": components["headers"]["X-Request-Id"];
                "Retry-After": components["headers"]["Retry-After"];
                [name: string]: unknown;
            };
            content: {
                "application/json": components["schemas"]["SavedUnavailableError"];
            };
        };
        /** @description There is no saved query of this name; `detail` lists those that there are. */
        Saved404: {
            headers: {
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/json": components["schemas"]["NotFoundError"];
            };
        };
        /** @description Streams need HTTP/1.1: HTTP/1.0 cannot mark the end of one reliably. */
        Saved505: {
            headers: {
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/json": components["schemas"]["HttpVersionError"];
            };
        };
        /** @description The request is invalid; `field` names the parameter or field at fault. */
        Sending400: {
            headers: {
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/json": components["schemas"]["SendingBadRequestError"];
            };
        };
        /** @description The key or token is missing or not valid. */
        Sending401: {
            headers: {
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/json": components["schemas"]["UnauthorizedError"];
            };
        };
        /** @description The key or token is valid but does not permit this. */
        Sending403: {
            headers: {
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/json": components["schemas"]["ForbiddenError"];
            };
        };
        /** @description The request took too long to arrive. */
        Sending408: {
            headers: {
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/json": components["schemas"]["RequestTimeoutError"];
            };
        };
        /** @description The body, or an event in it, is too large. */
        Sending413: {
            headers: {
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/json": components["schemas"]["TooLargeError"];
            };
        };
        /** @description The `Content-Encoding` is not supported. */
        Sending415: {
            headers: {
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/json": components["schemas"]["UnsupportedEncodingError"];
            };
        };
        /** @description Too many requests, or a quota is used up; retry after `Retry-After` seconds. */
        Sending429: {
            headers: {
                "X-Request-Id": components["headers"]["X-Request-Id"];
                "Retry-After": components["headers"]["Retry-After"];
                [name: string]: unknown;
            };
            content: {
                "application/json": components["schemas"]["ReadingTooManyRequestsError"];
            };
        };
        /** @description The server failed; its log has the reason. */
        Sending500: {
            headers: {
                "X-Request-Id": components["headers"]["X-Request-Id"];
                [name: string]: unknown;
            };
            content: {
                "application/json": components["schemas"]["SendingServerError"];
            };
        };
        /** @description Temporarily unavailable; retry after `Retry-After` seconds. */
        Sending503: {
            headers: {
                "X-Request-Id": components["headers"]["X-Request-Id"];
                "Retry-After": components["headers"]["Retry-After"];
                [name: string]: unknown;
            };
            content: {
                "application/json": components["schemas"]["SendingUnavailableError"];
            };
        };
    };
    parameters: never;
    requestBodies: never;
    headers: {
        /** @description The version of the answer, for `If-None-Match`; absent if it must not be cached. */
        ETag: string;
        /** @description `private, max-age=…` if the request names an end of the range, or a `cursor`, more than a minute in the past; else `no-store`. */
        "Cache-Control": string;
        /** @description Seconds to wait before a retry. */
        "Retry-After": number;
        /** @description The id of the request, as in the server's log; the client's own if it sent a valid one. Every answer has it. */
        "X-Request-Id": string;
        /** @description What other answers have in `warnings`, as JSON; absent without warnings. */
        "Nealytics-Warnings": string;
    };
    pathItems: never;
}
export type $defs = Record<string, never>;
export interface operations {
    track: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Event"];
            };
        };
        responses: {
            /** @description The event is on disk. */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["Sending400"];
            401: components["responses"]["Sending401"];
            403: components["responses"]["Sending403"];
            408: components["responses"]["Sending408"];
            413: components["responses"]["Sending413"];
            415: components["responses"]["Sending415"];
            429: components["responses"]["Sending429"];
            500: components["responses"]["Sending500"];
            503: components["responses"]["Sending503"];
        };
    };
    batch: {
        parameters: {
            query?: {
                /** @description Answer only after ClickHouse has stored the events. */
                wait?: boolean;
                /** @description The sender's clock, in epoch milliseconds. Counted in a metric. */
                sentAt?: number;
                /** @description With a token: the tenant of the events. If the token is bound to another one, the answer is a 403, and nothing was stored. */
                tenant?: string;
                /** @description With a token: the user of the events. If the token is bound to another one, the answer is a 403, and nothing was stored. */
                user?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Event"][] | components["schemas"]["Event"];
                "application/x-ndjson": string;
            };
        };
        responses: {
            /** @description With `wait`: ClickHouse has stored the accepted events. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["BatchAnswer"];
                };
            };
            /** @description The accepted events are on disk. */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["BatchAnswer"];
                };
            };
            400: components["responses"]["Sending400"];
            401: components["responses"]["Sending401"];
            403: components["responses"]["Sending403"];
            408: components["responses"]["Sending408"];
            413: components["responses"]["Sending413"];
            415: components["responses"]["Sending415"];
            429: components["responses"]["Sending429"];
            500: components["responses"]["Sending500"];
            503: components["responses"]["Sending503"];
        };
    };
    beacon: {
        parameters: {
            query?: {
                /** @description The sender's clock, in epoch milliseconds. Counted in a metric. */
                sentAt?: number;
                /** @description With a token: the tenant of the events. If the token is bound to another one, the answer is a 403, and nothing was stored. */
                tenant?: string;
                /** @description With a token: the user of the events. If the token is bound to another one, the answer is a 403, and nothing was stored. */
                user?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Event"][] | components["schemas"]["Event"];
                "text/plain": string;
                "application/x-ndjson": string;
            };
        };
        responses: {
            /** @description The valid events are on disk. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["Sending400"];
            401: components["responses"]["Sending401"];
            403: components["responses"]["Sending403"];
            408: components["responses"]["Sending408"];
            413: components["responses"]["Sending413"];
            415: components["responses"]["Sending415"];
            429: components["responses"]["Sending429"];
            500: components["responses"]["Sending500"];
            503: components["responses"]["Sending503"];
        };
    };
    timeline: {
        parameters: {
            query?: {
                /** @description Maximum number of events; default 100. A value below 1 becomes 1, a value above `query.limit_max` (10000) becomes that, with a warning. */
                limit?: number;
                /** @description Only events strictly older than this timestamp. */
                before?: string;
                /** @description Only events strictly newer than this timestamp. */
                after?: string;
                /** @description The `nextCursor` of the previous page. Send the same `before`, `after` and filters with it. */
                cursor?: string;
                /**
                 * @description IANA time zone, such as `Europe/Berlin`. Times without a zone are in it; days, weeks and hours are those of its calendar; buckets have its offset. Default: UTC.
                 * @example Europe/Berlin
                 */
                tz?: components["schemas"]["TimeZone"];
                /**
                 * @description A condition `<field>:<op>:<value>`; only events that match all conditions count. Fields: `event_type`, `session_id`, `user_id`, `item_id`, `event_id`, `tenant_id`, `timestamp`, `received_at`, `inserted_at`, `meta:<path>`. Operations: `eq`, `ne`, `in`, `contains`, `starts`, `matches`, `gt`, `lt`, `exists`. `not:` in front keeps the other events. Or a segment of users: `did(<event type>, >=2, 30d)`, `not_did(…)`, `first_seen(30d)`, `segment(<name>)`; with `session_` in front, of sessions.
                 * @example [
                 *       "meta:plan:eq:pro"
                 *     ]
                 */
                filter?: string[];
                /**
                 * @description A condition as in `filter`; events that match at least one of these count. A number in front makes groups, of which each must have a match: `any=2:<condition>`, 1 to 10; default 1.
                 * @example [
                 *       "event_type:eq:purchase",
                 *       "event_type:eq:refund"
                 *     ]
                 */
                any?: string[];
                /** @description Same as `filter=event_type:eq:…`. */
                eventType?: string;
                /** @description Same as `filter=session_id:eq:…`. */
                sessionId?: string;
                /** @description Same as `filter=user_id:eq:…`. */
                userId?: string;
                /** @description Same as `filter=item_id:eq:…`. */
                itemId?: string;
                /** @description Only events whose metadata has the value `metaValue` under this key. Without `metaValue` it is ignored. */
                metaKey?: string;
                /** @description The value for `metaKey`; ignored without it. */
                metaValue?: string;
                /** @description How events have their metadata: as `text` in `metadataJson`; as `object` in `metadata`, or as text if it is no object; or `both`. */
                metadata?: "both" | "text" | "object";
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    "Cache-Control": components["headers"]["Cache-Control"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "projectId": "my-app",
                     *       "tenantId": "tenant-1",
                     *       "events": [
                     *         {
                     *           "eventId": "0190163d-8694-739b-aea5-966c26f8ad91",
                     *           "sessionId": "abc-123",
                     *           "userId": "ada",
                     *           "eventType": "purchase",
                     *           "itemId": "/shop",
                     *           "metadataJson": "{\"plan\":\"pro\"}",
                     *           "metadata": {
                     *             "plan": "pro"
                     *           },
                     *           "timestamp": "2026-06-15T10:30:00.123Z"
                     *         }
                     *       ],
                     *       "nextCursor": "lQHPAAABnsrUvLvEEAGQFj2GlHObrqWWbCb4rZGocHVyY2hhc2WodGVuYW50LTE"
                     *     }
                     */
                    "application/json": components["schemas"]["Timeline"];
                };
            };
            /** @description Unchanged: the answer still has the version of `If-None-Match`. */
            304: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    "Cache-Control": components["headers"]["Cache-Control"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["Reading400"];
            401: components["responses"]["Reading401"];
            403: components["responses"]["Reading403"];
            422: components["responses"]["Reading422"];
            429: components["responses"]["Reading429"];
            500: components["responses"]["Reading500"];
            503: components["responses"]["Reading503"];
        };
    };
    sessions: {
        parameters: {
            query?: {
                /**
                 * @description Start of the range, inclusive: an ISO 8601 date or time, in `tz` unless it names a zone; or a relative one, such as `-7d`, `-24h`, `today`, `this_month`, `last_month`. Default: `query.default_range_hours` (24) before `to`.
                 * @example 2026-06-01
                 */
                from?: string;
                /**
                 * @description End of the range, inclusive: an ISO 8601 date or time, in `tz` unless it names a zone; or a relative one. A date alone includes that whole day, as do `-1d` and `yesterday`; `last_month` includes that whole month. Default: now.
                 * @example 2026-06-07
                 */
                to?: string;
                /**
                 * @description IANA time zone, such as `Europe/Berlin`. Times without a zone are in it; days, weeks and hours are those of its calendar; buckets have its offset. Default: UTC.
                 * @example Europe/Berlin
                 */
                tz?: components["schemas"]["TimeZone"];
                /**
                 * @description A condition `<field>:<op>:<value>`; only events that match all conditions count. Fields: `event_type`, `session_id`, `user_id`, `item_id`, `event_id`, `tenant_id`, `timestamp`, `received_at`, `inserted_at`, `meta:<path>`. Operations: `eq`, `ne`, `in`, `contains`, `starts`, `matches`, `gt`, `lt`, `exists`. `not:` in front keeps the other events. Or a segment of users: `did(<event type>, >=2, 30d)`, `not_did(…)`, `first_seen(30d)`, `segment(<name>)`; with `session_` in front, of sessions.
                 * @example [
                 *       "meta:plan:eq:pro"
                 *     ]
                 */
                filter?: string[];
                /**
                 * @description A condition as in `filter`; events that match at least one of these count. A number in front makes groups, of which each must have a match: `any=2:<condition>`, 1 to 10; default 1.
                 * @example [
                 *       "event_type:eq:purchase",
                 *       "event_type:eq:refund"
                 *     ]
                 */
                any?: string[];
                /** @description Same as `filter=event_type:eq:…`. */
                eventType?: string;
                /** @description Same as `filter=session_id:eq:…`. */
                sessionId?: string;
                /** @description Same as `filter=user_id:eq:…`. */
                userId?: string;
                /** @description Same as `filter=item_id:eq:…`. */
                itemId?: string;
                /** @description Only events whose metadata has the value `metaValue` under this key. Without `metaValue` it is ignored. */
                metaKey?: string;
                /** @description The value for `metaKey`; ignored without it. */
                metaValue?: string;
                /** @description Order of the sessions; `-` means descending. */
                order?: "start" | "-start" | "duration" | "-duration" | "events" | "-events";
                /** @description Maximum number of sessions; default 100. A value below 1 becomes 1, a value above `query.limit_max` (10000) becomes that, with a warning. */
                limit?: number;
                /** @description The `nextCursor` of the previous page. Send the other parameters again with it; the range is that of the first page. */
                cursor?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    "Cache-Control": components["headers"]["Cache-Control"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "projectId": "my-app",
                     *       "tenantId": "tenant-1",
                     *       "from": "2026-06-01T00:00:00Z",
                     *       "to": "2026-06-30T23:59:59.999Z",
                     *       "tz": "UTC",
                     *       "uniqueSessionCount": 1,
                     *       "totalEventCount": 28,
                     *       "avgDurationSeconds": 930.5,
                     *       "totals": {
                     *         "sessions": 412,
                     *         "count": 9870,
                     *         "events": 9870,
                     *         "avgDurationSeconds": 302.25,
                     *         "medianDurationSeconds": 184.5
                     *       },
                     *       "sessions": [
                     *         {
                     *           "sessionId": "abc-123",
                     *           "firstSeen": "2026-06-15T10:30:00Z",
                     *           "lastSeen": "2026-06-15T10:45:30.5Z",
                     *           "durationSeconds": 930.5,
                     *           "count": 28,
                     *           "eventCount": 28,
                     *           "userId": "ada",
                     *           "entryItemId": "/home",
                     *           "exitItemId": "/shop",
                     *           "eventTypes": [
                     *             "page_view",
                     *             "purchase"
                     *           ]
                     *         }
                     *       ],
                     *       "nextCursor": "lwGoc2Vzc2lvbnPPAAABnoB67ADPAAABnxr5s_8Bp2FiYy0xMjOodGVuYW50LTE"
                     *     }
                     */
                    "application/json": components["schemas"]["Sessions"];
                };
            };
            /** @description Unchanged: the answer still has the version of `If-None-Match`. */
            304: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    "Cache-Control": components["headers"]["Cache-Control"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["Reading400"];
            401: components["responses"]["Reading401"];
            403: components["responses"]["Reading403"];
            422: components["responses"]["Reading422"];
            429: components["responses"]["Reading429"];
            500: components["responses"]["Reading500"];
            503: components["responses"]["Reading503"];
        };
    };
    timeseries: {
        parameters: {
            query?: {
                /** @description Width of a bucket. Weeks start on Monday. */
                interval?: "minute" | "hour" | "day" | "week" | "month";
                /**
                 * @description Start of the range, inclusive: an ISO 8601 date or time, in `tz` unless it names a zone; or a relative one, such as `-7d`, `-24h`, `today`, `this_month`, `last_month`. Default: `query.default_range_hours` (24) before `to`.
                 * @example 2026-06-01
                 */
                from?: string;
                /**
                 * @description End of the range, inclusive: an ISO 8601 date or time, in `tz` unless it names a zone; or a relative one. A date alone includes that whole day, as do `-1d` and `yesterday`; `last_month` includes that whole month. Default: now.
                 * @example 2026-06-07
                 */
                to?: string;
                /**
                 * @description IANA time zone, such as `Europe/Berlin`. Times without a zone are in it; days, weeks and hours are those of its calendar; buckets have its offset. Default: UTC.
                 * @example Europe/Berlin
                 */
                tz?: components["schemas"]["TimeZone"];
                /**
                 * @description A condition `<field>:<op>:<value>`; only events that match all conditions count. Fields: `event_type`, `session_id`, `user_id`, `item_id`, `event_id`, `tenant_id`, `timestamp`, `received_at`, `inserted_at`, `meta:<path>`. Operations: `eq`, `ne`, `in`, `contains`, `starts`, `matches`, `gt`, `lt`, `exists`. `not:` in front keeps the other events. Or a segment of users: `did(<event type>, >=2, 30d)`, `not_did(…)`, `first_seen(30d)`, `segment(<name>)`; with `session_` in front, of sessions.
                 * @example [
                 *       "meta:plan:eq:pro"
                 *     ]
                 */
                filter?: string[];
                /**
                 * @description A condition as in `filter`; events that match at least one of these count. A number in front makes groups, of which each must have a match: `any=2:<condition>`, 1 to 10; default 1.
                 * @example [
                 *       "event_type:eq:purchase",
                 *       "event_type:eq:refund"
                 *     ]
                 */
                any?: string[];
                /** @description Same as `filter=event_type:eq:…`. */
                eventType?: string;
                /** @description Same as `filter=session_id:eq:…`. */
                sessionId?: string;
                /** @description Same as `filter=user_id:eq:…`. */
                userId?: string;
                /** @description Same as `filter=item_id:eq:…`. */
                itemId?: string;
                /** @description Only events whose metadata has the value `metaValue` under this key. Without `metaValue` it is ignored. */
                metaKey?: string;
                /** @description The value for `metaKey`; ignored without it. */
                metaValue?: string;
                /**
                 * @description What to calculate, up to five: `count`, `users`, `sessions`, `sum(meta:<path>)`, likewise `avg`, `min`, `max`, `median`, `p50`, `p75`, `p90`, `p95`, `p99`, `distinct(<field>)`, `rate(<event type>)` (of users), `session_rate(<event type>)`. A filter in brackets after it limits the events that count: `sum(meta:amount)[event_type:eq:purchase]`. The answer lists them as `measures`, and their `values` in the same order.
                 * @example [
                 *       "sum(meta:amount)[event_type:eq:purchase]"
                 *     ]
                 */
                measure?: string[];
                /** @description One point per interval and value of this field, which is its `series`: a column, or `meta:<path>` for a value of the metadata. */
                groupBy?: ("event_type" | "item_id" | "user_id" | "session_id" | "tenant_id") | string;
                /** @description Only the series with the most events in the whole range, or with the greatest first `measure`: so many of them. Events without a value are none of them. It needs `groupBy`. */
                top?: number;
                /** @description With `top`: all other events are one more series, whose points have `other`. */
                other?: boolean;
                /** @description Return every interval of the range, with 0 where there are no events; with `groupBy` for every series that occurs in the range. */
                fill?: boolean;
                /** @description Each point is about all events of its series from the start of the range up to the end of its interval. */
                cumulative?: boolean;
                /**
                 * @description Each point has the `average` of its `value` and those of the intervals before it in the range, this many in all. It implies `fill`.
                 * @example 7
                 */
                average?: number;
                /**
                 * @description The answer also has the points of this range, as in `summary`, as `previous`. Default: no comparison.
                 * @example previous_month
                 */
                compare?: string;
                /** @description Maximum number of points; default `query.limit_max` (10000). A value below 1 becomes 1, a value above `query.limit_max` (10000) becomes that, with a warning. */
                limit?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    "Cache-Control": components["headers"]["Cache-Control"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "projectId": "my-app",
                     *       "tenantId": "tenant-1",
                     *       "from": "2026-06-01T00:00:00Z",
                     *       "to": "2026-06-07T23:59:59.999Z",
                     *       "tz": "UTC",
                     *       "interval": "day",
                     *       "totalCount": 28,
                     *       "points": [
                     *         {
                     *           "time": "2026-06-01T00:00:00Z",
                     *           "bucket": "2026-06-01T00:00:00Z",
                     *           "key": "purchase",
                     *           "series": "purchase",
                     *           "value": 28,
                     *           "count": 28
                     *         }
                     *       ]
                     *     }
                     */
                    "application/json": components["schemas"]["TimeSeries"];
                };
            };
            /** @description Unchanged: the answer still has the version of `If-None-Match`. */
            304: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    "Cache-Control": components["headers"]["Cache-Control"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["Reading400"];
            401: components["responses"]["Reading401"];
            403: components["responses"]["Reading403"];
            422: components["responses"]["Reading422"];
            429: components["responses"]["Reading429"];
            500: components["responses"]["Reading500"];
            503: components["responses"]["Reading503"];
        };
    };
    active: {
        parameters: {
            query?: {
                /** @description Width of a bucket. Weeks start on Monday. */
                interval?: "day" | "week" | "month";
                /** @description Whether users or sessions are counted. Events without a user count for no user. */
                by?: "user" | "session";
                /** @description How users or sessions are counted: exactly, or estimated with less memory (`approx`). */
                mode?: "exact" | "approx";
                /**
                 * @description With `interval=day`: every day has a point, with `rollingCount`, the number active in this many days up to and including it, and `stickiness`, `count` divided by that.
                 * @example 28
                 */
                rolling?: number;
                /** @description With `interval=week` or `month`: each point has the average daily `count` divided by its own (DAU/WAU, DAU/MAU). */
                stickiness?: boolean;
                /** @description Each point counts the users or sessions active from the start of the range up to the end of its interval, each of them once; its measures are about the same events. */
                cumulative?: boolean;
                /**
                 * @description Every interval has a point, with the `average` of its `value` and those of the intervals before it in the range, this many in all.
                 * @example 7
                 */
                average?: number;
                /**
                 * @description Start of the range, inclusive: an ISO 8601 date or time, in `tz` unless it names a zone; or a relative one, such as `-7d`, `-24h`, `today`, `this_month`, `last_month`. Default: `query.default_range_hours` (24) before `to`.
                 * @example 2026-06-01
                 */
                from?: string;
                /**
                 * @description End of the range, inclusive: an ISO 8601 date or time, in `tz` unless it names a zone; or a relative one. A date alone includes that whole day, as do `-1d` and `yesterday`; `last_month` includes that whole month. Default: now.
                 * @example 2026-06-07
                 */
                to?: string;
                /**
                 * @description IANA time zone, such as `Europe/Berlin`. Times without a zone are in it; days, weeks and hours are those of its calendar; buckets have its offset. Default: UTC.
                 * @example Europe/Berlin
                 */
                tz?: components["schemas"]["TimeZone"];
                /**
                 * @description A condition `<field>:<op>:<value>`; only events that match all conditions count. Fields: `event_type`, `session_id`, `user_id`, `item_id`, `event_id`, `tenant_id`, `timestamp`, `received_at`, `inserted_at`, `meta:<path>`. Operations: `eq`, `ne`, `in`, `contains`, `starts`, `matches`, `gt`, `lt`, `exists`. `not:` in front keeps the other events. Or a segment of users: `did(<event type>, >=2, 30d)`, `not_did(…)`, `first_seen(30d)`, `segment(<name>)`; with `session_` in front, of sessions.
                 * @example [
                 *       "meta:plan:eq:pro"
                 *     ]
                 */
                filter?: string[];
                /**
                 * @description A condition as in `filter`; events that match at least one of these count. A number in front makes groups, of which each must have a match: `any=2:<condition>`, 1 to 10; default 1.
                 * @example [
                 *       "event_type:eq:purchase",
                 *       "event_type:eq:refund"
                 *     ]
                 */
                any?: string[];
                /** @description Same as `filter=event_type:eq:…`. */
                eventType?: string;
                /** @description Same as `filter=session_id:eq:…`. */
                sessionId?: string;
                /** @description Same as `filter=user_id:eq:…`. */
                userId?: string;
                /** @description Same as `filter=item_id:eq:…`. */
                itemId?: string;
                /** @description Only events whose metadata has the value `metaValue` under this key. Without `metaValue` it is ignored. */
                metaKey?: string;
                /** @description The value for `metaKey`; ignored without it. */
                metaValue?: string;
                /**
                 * @description What to calculate, up to five: `count`, `users`, `sessions`, `sum(meta:<path>)`, likewise `avg`, `min`, `max`, `median`, `p50`, `p75`, `p90`, `p95`, `p99`, `distinct(<field>)`, `rate(<event type>)` (of users), `session_rate(<event type>)`. A filter in brackets after it limits the events that count: `sum(meta:amount)[event_type:eq:purchase]`. The answer lists them as `measures`, and their `values` in the same order.
                 * @example [
                 *       "sum(meta:amount)[event_type:eq:purchase]"
                 *     ]
                 */
                measure?: string[];
                /**
                 * @description The answer also has the points of this range, as in `summary`, as `previous`. Default: no comparison.
                 * @example previous_month
                 */
                compare?: string;
                /** @description Maximum number of points; default `query.limit_max` (10000). A value below 1 becomes 1, a value above `query.limit_max` (10000) becomes that, with a warning. */
                limit?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    "Cache-Control": components["headers"]["Cache-Control"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "projectId": "my-app",
                     *       "tenantId": "tenant-1",
                     *       "from": "2026-06-01T00:00:00Z",
                     *       "to": "2026-06-01T23:59:59.999Z",
                     *       "tz": "UTC",
                     *       "interval": "day",
                     *       "by": "user",
                     *       "mode": "exact",
                     *       "rolling": 28,
                     *       "points": [
                     *         {
                     *           "time": "2026-06-01T00:00:00Z",
                     *           "bucket": "2026-06-01T00:00:00Z",
                     *           "value": 7,
                     *           "count": 7,
                     *           "activeCount": 7,
                     *           "rollingCount": 28,
                     *           "stickiness": 0.25
                     *         }
                     *       ]
                     *     }
                     */
                    "application/json": components["schemas"]["Active"];
                };
            };
            /** @description Unchanged: the answer still has the version of `If-None-Match`. */
            304: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    "Cache-Control": components["headers"]["Cache-Control"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["Reading400"];
            401: components["responses"]["Reading401"];
            403: components["responses"]["Reading403"];
            422: components["responses"]["Reading422"];
            429: components["responses"]["Reading429"];
            500: components["responses"]["Reading500"];
            503: components["responses"]["Reading503"];
        };
    };
    top: {
        parameters: {
            query?: {
                /** @description What is counted: one of these, or `meta:<path>`, a value of the metadata. */
                dimension?: ("event_type" | "item_id" | "user_id" | "session_id" | "tenant_id") | string;
                /**
                 * @description Start of the range, inclusive: an ISO 8601 date or time, in `tz` unless it names a zone; or a relative one, such as `-7d`, `-24h`, `today`, `this_month`, `last_month`. Default: `query.default_range_hours` (24) before `to`.
                 * @example 2026-06-01
                 */
                from?: string;
                /**
                 * @description End of the range, inclusive: an ISO 8601 date or time, in `tz` unless it names a zone; or a relative one. A date alone includes that whole day, as do `-1d` and `yesterday`; `last_month` includes that whole month. Default: now.
                 * @example 2026-06-07
                 */
                to?: string;
                /**
                 * @description IANA time zone, such as `Europe/Berlin`. Times without a zone are in it; days, weeks and hours are those of its calendar; buckets have its offset. Default: UTC.
                 * @example Europe/Berlin
                 */
                tz?: components["schemas"]["TimeZone"];
                /**
                 * @description A condition `<field>:<op>:<value>`; only events that match all conditions count. Fields: `event_type`, `session_id`, `user_id`, `item_id`, `event_id`, `tenant_id`, `timestamp`, `received_at`, `inserted_at`, `meta:<path>`. Operations: `eq`, `ne`, `in`, `contains`, `starts`, `matches`, `gt`, `lt`, `exists`. `not:` in front keeps the other events. Or a segment of users: `did(<event type>, >=2, 30d)`, `not_did(…)`, `first_seen(30d)`, `segment(<name>)`; with `session_` in front, of sessions.
                 * @example [
                 *       "meta:plan:eq:pro"
                 *     ]
                 */
                filter?: string[];
                /**
                 * @description A condition as in `filter`; events that match at least one of these count. A number in front makes groups, of which each must have a match: `any=2:<condition>`, 1 to 10; default 1.
                 * @example [
                 *       "event_type:eq:purchase",
                 *       "event_type:eq:refund"
                 *     ]
                 */
                any?: string[];
                /** @description Same as `filter=event_type:eq:…`. */
                eventType?: string;
                /** @description Same as `filter=session_id:eq:…`. */
                sessionId?: string;
                /** @description Same as `filter=user_id:eq:…`. */
                userId?: string;
                /** @description Same as `filter=item_id:eq:…`. */
                itemId?: string;
                /** @description Only events whose metadata has the value `metaValue` under this key. Without `metaValue` it is ignored. */
                metaKey?: string;
                /** @description The value for `metaKey`; ignored without it. */
                metaValue?: string;
                /**
                 * @description What to calculate, up to five: `count`, `users`, `sessions`, `sum(meta:<path>)`, likewise `avg`, `min`, `max`, `median`, `p50`, `p75`, `p90`, `p95`, `p99`, `distinct(<field>)`, `rate(<event type>)` (of users), `session_rate(<event type>)`. A filter in brackets after it limits the events that count: `sum(meta:amount)[event_type:eq:purchase]`. The answer lists them as `measures`, and their `values` in the same order.
                 * @example [
                 *       "sum(meta:amount)[event_type:eq:purchase]"
                 *     ]
                 */
                measure?: string[];
                /** @description What the items are ordered by, the greatest first. `-sessions` implies `sessions=true`. `-value` is the first `measure`. Default: `-value` with a `measure`, else `-count`. */
                order?: "-count" | "-users" | "-sessions" | "-value";
                /** @description Whether each item has its number of sessions. */
                sessions?: boolean;
                /** @description Whether the first page ends with an item of all values that are not on it, which has `other`. */
                other?: boolean;
                /**
                 * @description Each item also has its numbers in this range, as in `summary`. Default: no comparison.
                 * @example previous_month
                 */
                compare?: string;
                /** @description Maximum number of items; default 20. A value below 1 becomes 1, a value above `query.limit_max` (10000) becomes that, with a warning. */
                limit?: number;
                /** @description The `nextCursor` of the previous page. Send the other parameters again with it; the range is that of the first page. */
                cursor?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    "Cache-Control": components["headers"]["Cache-Control"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "projectId": "my-app",
                     *       "tenantId": "tenant-1",
                     *       "from": "2026-06-01T00:00:00Z",
                     *       "to": "2026-06-07T23:59:59.999Z",
                     *       "tz": "UTC",
                     *       "dimension": "event_type",
                     *       "items": [
                     *         {
                     *           "key": "purchase",
                     *           "value": 28,
                     *           "count": 28,
                     *           "share": 0.07,
                     *           "users": 19
                     *         }
                     *       ],
                     *       "nextCursor": "lwGjdG9wzwAAAZ6AeuwAzwAAAZ6kh2__AahwdXJjaGFzZah0ZW5hbnQtMQ"
                     *     }
                     */
                    "application/json": components["schemas"]["Top"];
                };
            };
            /** @description Unchanged: the answer still has the version of `If-None-Match`. */
            304: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    "Cache-Control": components["headers"]["Cache-Control"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["Reading400"];
            401: components["responses"]["Reading401"];
            403: components["responses"]["Reading403"];
            422: components["responses"]["Reading422"];
            429: components["responses"]["Reading429"];
            500: components["responses"]["Reading500"];
            503: components["responses"]["Reading503"];
        };
    };
    summary: {
        parameters: {
            query?: {
                /**
                 * @description Start of the range, inclusive: an ISO 8601 date or time, in `tz` unless it names a zone; or a relative one, such as `-7d`, `-24h`, `today`, `this_month`, `last_month`. Default: `query.default_range_hours` (24) before `to`.
                 * @example 2026-06-01
                 */
                from?: string;
                /**
                 * @description End of the range, inclusive: an ISO 8601 date or time, in `tz` unless it names a zone; or a relative one. A date alone includes that whole day, as do `-1d` and `yesterday`; `last_month` includes that whole month. Default: now.
                 * @example 2026-06-07
                 */
                to?: string;
                /**
                 * @description IANA time zone, such as `Europe/Berlin`. Times without a zone are in it; days, weeks and hours are those of its calendar; buckets have its offset. Default: UTC.
                 * @example Europe/Berlin
                 */
                tz?: components["schemas"]["TimeZone"];
                /**
                 * @description A condition `<field>:<op>:<value>`; only events that match all conditions count. Fields: `event_type`, `session_id`, `user_id`, `item_id`, `event_id`, `tenant_id`, `timestamp`, `received_at`, `inserted_at`, `meta:<path>`. Operations: `eq`, `ne`, `in`, `contains`, `starts`, `matches`, `gt`, `lt`, `exists`. `not:` in front keeps the other events. Or a segment of users: `did(<event type>, >=2, 30d)`, `not_did(…)`, `first_seen(30d)`, `segment(<name>)`; with `session_` in front, of sessions.
                 * @example [
                 *       "meta:plan:eq:pro"
                 *     ]
                 */
                filter?: string[];
                /**
                 * @description A condition as in `filter`; events that match at least one of these count. A number in front makes groups, of which each must have a match: `any=2:<condition>`, 1 to 10; default 1.
                 * @example [
                 *       "event_type:eq:purchase",
                 *       "event_type:eq:refund"
                 *     ]
                 */
                any?: string[];
                /** @description Same as `filter=event_type:eq:…`. */
                eventType?: string;
                /** @description Same as `filter=session_id:eq:…`. */
                sessionId?: string;
                /** @description Same as `filter=user_id:eq:…`. */
                userId?: string;
                /** @description Same as `filter=item_id:eq:…`. */
                itemId?: string;
                /** @description Only events whose metadata has the value `metaValue` under this key. Without `metaValue` it is ignored. */
                metaKey?: string;
                /** @description The value for `metaKey`; ignored without it. */
                metaValue?: string;
                /**
                 * @description What to calculate, up to five: `count`, `users`, `sessions`, `sum(meta:<path>)`, likewise `avg`, `min`, `max`, `median`, `p50`, `p75`, `p90`, `p95`, `p99`, `distinct(<field>)`, `rate(<event type>)` (of users), `session_rate(<event type>)`. A filter in brackets after it limits the events that count: `sum(meta:amount)[event_type:eq:purchase]`. The answer lists them as `measures`, and their `values` in the same order.
                 * @example [
                 *       "sum(meta:amount)[event_type:eq:purchase]"
                 *     ]
                 */
                measure?: string[];
                /**
                 * @description The range of `previous`: of the same length just before, the same dates a month or a year before, or any range as `<from>..<to>`.
                 * @example previous_month
                 */
                compare?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    "Cache-Control": components["headers"]["Cache-Control"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "projectId": "my-app",
                     *       "tenantId": "tenant-1",
                     *       "from": "2026-06-08T00:00:00Z",
                     *       "to": "2026-06-14T23:59:59.999Z",
                     *       "tz": "UTC",
                     *       "compare": "previous",
                     *       "value": 9870,
                     *       "count": 9870,
                     *       "events": 9870,
                     *       "sessions": 420,
                     *       "users": 211,
                     *       "eventsPerSession": 23.5,
                     *       "avgSessionDurationSeconds": 302.25,
                     *       "medianSessionDurationSeconds": 184.5,
                     *       "bounceShare": 0.25,
                     *       "previous": {
                     *         "from": "2026-06-01T00:00:00Z",
                     *         "to": "2026-06-07T23:59:59.999Z",
                     *         "value": 8000,
                     *         "count": 8000,
                     *         "events": 8000,
                     *         "sessions": 400,
                     *         "users": 190,
                     *         "eventsPerSession": 20,
                     *         "avgSessionDurationSeconds": 290.75,
                     *         "medianSessionDurationSeconds": 171,
                     *         "bounceShare": 0.3
                     *       }
                     *     }
                     */
                    "application/json": components["schemas"]["Summary"];
                };
            };
            /** @description Unchanged: the answer still has the version of `If-None-Match`. */
            304: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    "Cache-Control": components["headers"]["Cache-Control"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["Reading400"];
            401: components["responses"]["Reading401"];
            403: components["responses"]["Reading403"];
            422: components["responses"]["Reading422"];
            429: components["responses"]["Reading429"];
            500: components["responses"]["Reading500"];
            503: components["responses"]["Reading503"];
        };
    };
    properties: {
        parameters: {
            query?: {
                /** @description List the keys inside this object of the metadata, such as `cart` or `cart.address`. Default: the top level. */
                under?: string;
                /** @description Only this key, as a path relative to `under`, such as `plan`. */
                key?: string;
                /** @description Maximum number of keys; default 20. A value below 1 becomes 1, a value above `query.limit_max` (10000) becomes that, with a warning. */
                limit?: number;
                /** @description Maximum number of values per key; default 10. */
                values?: number;
                /**
                 * @description Start of the range, inclusive: an ISO 8601 date or time, in `tz` unless it names a zone; or a relative one, such as `-7d`, `-24h`, `today`, `this_month`, `last_month`. Default: `query.default_range_hours` (24) before `to`.
                 * @example 2026-06-01
                 */
                from?: string;
                /**
                 * @description End of the range, inclusive: an ISO 8601 date or time, in `tz` unless it names a zone; or a relative one. A date alone includes that whole day, as do `-1d` and `yesterday`; `last_month` includes that whole month. Default: now.
                 * @example 2026-06-07
                 */
                to?: string;
                /**
                 * @description IANA time zone, such as `Europe/Berlin`. Times without a zone are in it; days, weeks and hours are those of its calendar; buckets have its offset. Default: UTC.
                 * @example Europe/Berlin
                 */
                tz?: components["schemas"]["TimeZone"];
                /**
                 * @description A condition `<field>:<op>:<value>`; only events that match all conditions count. Fields: `event_type`, `session_id`, `user_id`, `item_id`, `event_id`, `tenant_id`, `timestamp`, `received_at`, `inserted_at`, `meta:<path>`. Operations: `eq`, `ne`, `in`, `contains`, `starts`, `matches`, `gt`, `lt`, `exists`. `not:` in front keeps the other events. Or a segment of users: `did(<event type>, >=2, 30d)`, `not_did(…)`, `first_seen(30d)`, `segment(<name>)`; with `session_` in front, of sessions.
                 * @example [
                 *       "meta:plan:eq:pro"
                 *     ]
                 */
                filter?: string[];
                /**
                 * @description A condition as in `filter`; events that match at least one of these count. A number in front makes groups, of which each must have a match: `any=2:<condition>`, 1 to 10; default 1.
                 * @example [
                 *       "event_type:eq:purchase",
                 *       "event_type:eq:refund"
                 *     ]
                 */
                any?: string[];
                /** @description Same as `filter=event_type:eq:…`. */
                eventType?: string;
                /** @description Same as `filter=session_id:eq:…`. */
                sessionId?: string;
                /** @description Same as `filter=user_id:eq:…`. */
                userId?: string;
                /** @description Same as `filter=item_id:eq:…`. */
                itemId?: string;
                /** @description Only events whose metadata has the value `metaValue` under this key. Without `metaValue` it is ignored. */
                metaKey?: string;
                /** @description The value for `metaKey`; ignored without it. */
                metaValue?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    "Cache-Control": components["headers"]["Cache-Control"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "projectId": "my-app",
                     *       "tenantId": "tenant-1",
                     *       "from": "2026-06-01T00:00:00Z",
                     *       "to": "2026-06-07T23:59:59.999Z",
                     *       "tz": "UTC",
                     *       "keys": [
                     *         {
                     *           "key": "meta:plan",
                     *           "count": 400,
                     *           "events": 400,
                     *           "distinctValues": 2,
                     *           "values": [
                     *             {
                     *               "key": "free",
                     *               "value": "free",
                     *               "count": 300,
                     *               "share": 0.75
                     *             },
                     *             {
                     *               "key": "pro",
                     *               "value": "pro",
                     *               "count": 100,
                     *               "share": 0.25
                     *             }
                     *           ]
                     *         }
                     *       ]
                     *     }
                     */
                    "application/json": components["schemas"]["Properties"];
                };
            };
            /** @description Unchanged: the answer still has the version of `If-None-Match`. */
            304: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    "Cache-Control": components["headers"]["Cache-Control"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["Reading400"];
            401: components["responses"]["Reading401"];
            403: components["responses"]["Reading403"];
            422: components["responses"]["Reading422"];
            429: components["responses"]["Reading429"];
            500: components["responses"]["Reading500"];
            503: components["responses"]["Reading503"];
        };
    };
    funnel: {
        parameters: {
            query: {
                /**
                 * @description An event type. Repeat it 2 to 10 times, in the order of the funnel.
                 * @example [
                 *       "product_view",
                 *       "purchase"
                 *     ]
                 */
                step: string[];
                /**
                 * @description A condition for one step only: `<n>:<field>:<op>:<value>`; the first step is 1.
                 * @example [
                 *       "1:item_id:starts:/shop"
                 *     ]
                 */
                stepFilter?: string[];
                /**
                 * @description Time from the first step within which the others count: 1s to 90d, such as `30m`.
                 * @example 2h
                 */
                window?: string;
                /** @description Whether users or sessions are counted. Events without a user count for no user. */
                by?: "user" | "session";
                /** @description `sequence`: other events may occur between two steps. `strict`: none may. `any`: the steps may occur in any order. */
                order?: "sequence" | "strict" | "any";
                /**
                 * @description As `order`, for one step only: `<n>:strict`, `<n>:any` (with the step before it) or `<n>:sequence`; n from 2.
                 * @example [
                 *       "2:strict"
                 *     ]
                 */
                stepOrder?: string[];
                /**
                 * @description An event type that must not occur between two steps: `<n>:<event type>` for step n and the one before, n from 2; without a number for all. An event type that itself begins with a number and a colon needs the number of a step.
                 * @example [
                 *       "2:refund"
                 *     ]
                 */
                exclude?: string[];
                /** @description Also return the conversion over time, by the interval in which a sequence starts. */
                interval?: "hour" | "day" | "week" | "month";
                /** @description With `interval`: each point of the trend is about the sequences that start from the start of the range up to the end of its interval. Each user counts once. */
                cumulative?: boolean;
                /**
                 * @description With `interval`: each point of the trend has the `average` of its conversion to the last step and that of the intervals before it in the range, this many in all.
                 * @example 7
                 */
                average?: number;
                /**
                 * @description Also return one funnel per value of this field in the event of the first step.
                 * @example meta:plan
                 */
                breakdown?: ("event_type" | "item_id" | "user_id" | "session_id" | "tenant_id") | string;
                /**
                 * @description Start of the range, inclusive: an ISO 8601 date or time, in `tz` unless it names a zone; or a relative one, such as `-7d`, `-24h`, `today`, `this_month`, `last_month`. Default: `query.default_range_hours` (24) before `to`.
                 * @example 2026-06-01
                 */
                from?: string;
                /**
                 * @description End of the range, inclusive: an ISO 8601 date or time, in `tz` unless it names a zone; or a relative one. A date alone includes that whole day, as do `-1d` and `yesterday`; `last_month` includes that whole month. Default: now.
                 * @example 2026-06-07
                 */
                to?: string;
                /**
                 * @description IANA time zone, such as `Europe/Berlin`. Times without a zone are in it; days, weeks and hours are those of its calendar; buckets have its offset. Default: UTC.
                 * @example Europe/Berlin
                 */
                tz?: components["schemas"]["TimeZone"];
                /**
                 * @description A condition `<field>:<op>:<value>`; only events that match all conditions count. Fields: `event_type`, `session_id`, `user_id`, `item_id`, `event_id`, `tenant_id`, `timestamp`, `received_at`, `inserted_at`, `meta:<path>`. Operations: `eq`, `ne`, `in`, `contains`, `starts`, `matches`, `gt`, `lt`, `exists`. `not:` in front keeps the other events. Or a segment of users: `did(<event type>, >=2, 30d)`, `not_did(…)`, `first_seen(30d)`, `segment(<name>)`; with `session_` in front, of sessions.
                 * @example [
                 *       "meta:plan:eq:pro"
                 *     ]
                 */
                filter?: string[];
                /**
                 * @description A condition as in `filter`; events that match at least one of these count. A number in front makes groups, of which each must have a match: `any=2:<condition>`, 1 to 10; default 1.
                 * @example [
                 *       "event_type:eq:purchase",
                 *       "event_type:eq:refund"
                 *     ]
                 */
                any?: string[];
                /** @description Same as `filter=event_type:eq:…`. */
                eventType?: string;
                /** @description Same as `filter=session_id:eq:…`. */
                sessionId?: string;
                /** @description Same as `filter=user_id:eq:…`. */
                userId?: string;
                /** @description Same as `filter=item_id:eq:…`. */
                itemId?: string;
                /** @description Only events whose metadata has the value `metaValue` under this key. Without `metaValue` it is ignored. */
                metaKey?: string;
                /** @description The value for `metaKey`; ignored without it. */
                metaValue?: string;
                /**
                 * @description What to calculate, up to five: `count`, `users`, `sessions`, `sum(meta:<path>)`, likewise `avg`, `min`, `max`, `median`, `p50`, `p75`, `p90`, `p95`, `p99`, `distinct(<field>)`, `rate(<event type>)` (of users), `session_rate(<event type>)`. A filter in brackets after it limits the events that count: `sum(meta:amount)[event_type:eq:purchase]`. The answer lists them as `measures`, and their `values` in the same order.
                 * @example [
                 *       "sum(meta:amount)[event_type:eq:purchase]"
                 *     ]
                 */
                measure?: string[];
                /**
                 * @description The answer also has the steps, and the trend, of this range, as in `summary`, as `previous`. Default: no comparison.
                 * @example previous_month
                 */
                compare?: string;
                /** @description Maximum number of groups; default 20. A value below 1 becomes 1, a value above `query.limit_max` (10000) becomes that, with a warning. */
                limit?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    "Cache-Control": components["headers"]["Cache-Control"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "projectId": "my-app",
                     *       "tenantId": "tenant-1",
                     *       "from": "2026-06-01T00:00:00Z",
                     *       "to": "2026-06-07T23:59:59.999Z",
                     *       "tz": "UTC",
                     *       "by": "user",
                     *       "windowSeconds": 86400,
                     *       "steps": [
                     *         {
                     *           "step": 1,
                     *           "eventType": "product_view",
                     *           "value": 200,
                     *           "count": 200,
                     *           "share": 1,
                     *           "conversion": 1,
                     *           "conversionFromPrevious": 1
                     *         },
                     *         {
                     *           "step": 2,
                     *           "eventType": "purchase",
                     *           "value": 50,
                     *           "count": 50,
                     *           "share": 0.25,
                     *           "conversion": 0.25,
                     *           "conversionFromPrevious": 0.25,
                     *           "medianSecondsFromPrevious": 324.5
                     *         }
                     *       ]
                     *     }
                     */
                    "application/json": components["schemas"]["Funnel"];
                };
            };
            /** @description Unchanged: the answer still has the version of `If-None-Match`. */
            304: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    "Cache-Control": components["headers"]["Cache-Control"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["Reading400"];
            401: components["responses"]["Reading401"];
            403: components["responses"]["Reading403"];
            422: components["responses"]["Reading422"];
            429: components["responses"]["Reading429"];
            500: components["responses"]["Reading500"];
            503: components["responses"]["Reading503"];
        };
    };
    retention: {
        parameters: {
            query?: {
                /** @description Length of a cohort and of a period. Weeks start on Monday. */
                interval?: "day" | "week" | "month";
                /** @description Whether users or sessions are counted. Events without a user count for no user. */
                by?: "user" | "session";
                /**
                 * @description Event type that puts a user into a cohort. Default: any event.
                 * @example signup
                 */
                cohortEvent?: string;
                /**
                 * @description Event type that counts as a return. Default: any event.
                 * @example purchase
                 */
                returnEvent?: string;
                /** @description Which returns count for a period: those in it (`on`), in it or any later one up to `to` (`on_or_after`), or in it or at any time after (`unbounded`). */
                returns?: "on" | "on_or_after" | "unbounded";
                /** @description Number of periods after the first, 0 to 60; default 11. */
                periods?: number;
                /**
                 * @description Start of the range, inclusive: an ISO 8601 date or time, in `tz` unless it names a zone; or a relative one, such as `-7d`, `-24h`, `today`, `this_month`, `last_month`. Default: `query.default_range_hours` (24) before `to`.
                 * @example 2026-06-01
                 */
                from?: string;
                /**
                 * @description End of the range, inclusive: an ISO 8601 date or time, in `tz` unless it names a zone; or a relative one. A date alone includes that whole day, as do `-1d` and `yesterday`; `last_month` includes that whole month. Default: now.
                 * @example 2026-06-07
                 */
                to?: string;
                /**
                 * @description IANA time zone, such as `Europe/Berlin`. Times without a zone are in it; days, weeks and hours are those of its calendar; buckets have its offset. Default: UTC.
                 * @example Europe/Berlin
                 */
                tz?: components["schemas"]["TimeZone"];
                /**
                 * @description A condition `<field>:<op>:<value>`; only events that match all conditions count. Fields: `event_type`, `session_id`, `user_id`, `item_id`, `event_id`, `tenant_id`, `timestamp`, `received_at`, `inserted_at`, `meta:<path>`. Operations: `eq`, `ne`, `in`, `contains`, `starts`, `matches`, `gt`, `lt`, `exists`. `not:` in front keeps the other events. Or a segment of users: `did(<event type>, >=2, 30d)`, `not_did(…)`, `first_seen(30d)`, `segment(<name>)`; with `session_` in front, of sessions.
                 * @example [
                 *       "meta:plan:eq:pro"
                 *     ]
                 */
                filter?: string[];
                /**
                 * @description A condition as in `filter`; events that match at least one of these count. A number in front makes groups, of which each must have a match: `any=2:<condition>`, 1 to 10; default 1.
                 * @example [
                 *       "event_type:eq:purchase",
                 *       "event_type:eq:refund"
                 *     ]
                 */
                any?: string[];
                /** @description Same as `filter=event_type:eq:…`. */
                eventType?: string;
                /** @description Same as `filter=session_id:eq:…`. */
                sessionId?: string;
                /** @description Same as `filter=user_id:eq:…`. */
                userId?: string;
                /** @description Same as `filter=item_id:eq:…`. */
                itemId?: string;
                /** @description Only events whose metadata has the value `metaValue` under this key. Without `metaValue` it is ignored. */
                metaKey?: string;
                /** @description The value for `metaKey`; ignored without it. */
                metaValue?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    "Cache-Control": components["headers"]["Cache-Control"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "projectId": "my-app",
                     *       "tenantId": "tenant-1",
                     *       "from": "2026-06-01T00:00:00Z",
                     *       "to": "2026-06-14T23:59:59.999Z",
                     *       "tz": "UTC",
                     *       "interval": "week",
                     *       "by": "user",
                     *       "cohortEvent": "signup",
                     *       "cohorts": [
                     *         {
                     *           "time": "2026-06-01T00:00:00Z",
                     *           "cohort": "2026-06-01T00:00:00Z",
                     *           "value": 40,
                     *           "count": 40,
                     *           "size": 40,
                     *           "periods": [
                     *             {
                     *               "period": 0,
                     *               "value": 40,
                     *               "count": 40,
                     *               "share": 1
                     *             },
                     *             {
                     *               "period": 1,
                     *               "value": 10,
                     *               "count": 10,
                     *               "share": 0.25
                     *             }
                     *           ]
                     *         },
                     *         {
                     *           "time": "2026-06-08T00:00:00Z",
                     *           "cohort": "2026-06-08T00:00:00Z",
                     *           "value": 8,
                     *           "count": 8,
                     *           "size": 8,
                     *           "periods": [
                     *             {
                     *               "period": 0,
                     *               "value": 8,
                     *               "count": 8,
                     *               "share": 1
                     *             }
                     *           ]
                     *         }
                     *       ]
                     *     }
                     */
                    "application/json": components["schemas"]["Retention"];
                };
            };
            /** @description Unchanged: the answer still has the version of `If-None-Match`. */
            304: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    "Cache-Control": components["headers"]["Cache-Control"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["Reading400"];
            401: components["responses"]["Reading401"];
            403: components["responses"]["Reading403"];
            422: components["responses"]["Reading422"];
            429: components["responses"]["Reading429"];
            500: components["responses"]["Reading500"];
            503: components["responses"]["Reading503"];
        };
    };
    paths: {
        parameters: {
            query: {
                /**
                 * @description The event type to start from.
                 * @example product_view
                 */
                event: string;
                /** @description Whether the events after the start are followed, or those before it. */
                direction?: "next" | "previous";
                /** @description Maximum number of events in a path, 1 to 5; default 3. */
                depth?: number;
                /** @description Whether users or sessions are counted. Events without a user count for no user. */
                by?: "user" | "session";
                /**
                 * @description Start of the range, inclusive: an ISO 8601 date or time, in `tz` unless it names a zone; or a relative one, such as `-7d`, `-24h`, `today`, `this_month`, `last_month`. Default: `query.default_range_hours` (24) before `to`.
                 * @example 2026-06-01
                 */
                from?: string;
                /**
                 * @description End of the range, inclusive: an ISO 8601 date or time, in `tz` unless it names a zone; or a relative one. A date alone includes that whole day, as do `-1d` and `yesterday`; `last_month` includes that whole month. Default: now.
                 * @example 2026-06-07
                 */
                to?: string;
                /**
                 * @description IANA time zone, such as `Europe/Berlin`. Times without a zone are in it; days, weeks and hours are those of its calendar; buckets have its offset. Default: UTC.
                 * @example Europe/Berlin
                 */
                tz?: components["schemas"]["TimeZone"];
                /**
                 * @description A condition `<field>:<op>:<value>`; only events that match all conditions count. Fields: `event_type`, `session_id`, `user_id`, `item_id`, `event_id`, `tenant_id`, `timestamp`, `received_at`, `inserted_at`, `meta:<path>`. Operations: `eq`, `ne`, `in`, `contains`, `starts`, `matches`, `gt`, `lt`, `exists`. `not:` in front keeps the other events. Or a segment of users: `did(<event type>, >=2, 30d)`, `not_did(…)`, `first_seen(30d)`, `segment(<name>)`; with `session_` in front, of sessions.
                 * @example [
                 *       "meta:plan:eq:pro"
                 *     ]
                 */
                filter?: string[];
                /**
                 * @description A condition as in `filter`; events that match at least one of these count. A number in front makes groups, of which each must have a match: `any=2:<condition>`, 1 to 10; default 1.
                 * @example [
                 *       "event_type:eq:purchase",
                 *       "event_type:eq:refund"
                 *     ]
                 */
                any?: string[];
                /** @description Same as `filter=event_type:eq:…`. */
                eventType?: string;
                /** @description Same as `filter=session_id:eq:…`. */
                sessionId?: string;
                /** @description Same as `filter=user_id:eq:…`. */
                userId?: string;
                /** @description Same as `filter=item_id:eq:…`. */
                itemId?: string;
                /** @description Only events whose metadata has the value `metaValue` under this key. Without `metaValue` it is ignored. */
                metaKey?: string;
                /** @description The value for `metaKey`; ignored without it. */
                metaValue?: string;
                /** @description Maximum number of paths of each length; default 50. A value below 1 becomes 1, a value above `query.limit_max` (10000) becomes that, with a warning. */
                limit?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    "Cache-Control": components["headers"]["Cache-Control"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "projectId": "my-app",
                     *       "tenantId": "tenant-1",
                     *       "from": "2026-06-01T00:00:00Z",
                     *       "to": "2026-06-07T23:59:59.999Z",
                     *       "tz": "UTC",
                     *       "event": "product_view",
                     *       "direction": "next",
                     *       "depth": 2,
                     *       "by": "session",
                     *       "starts": 200,
                     *       "paths": [
                     *         {
                     *           "events": [
                     *             "add_to_cart"
                     *           ],
                     *           "value": 80,
                     *           "count": 80,
                     *           "share": 0.4
                     *         },
                     *         {
                     *           "events": [
                     *             "search"
                     *           ],
                     *           "value": 20,
                     *           "count": 20,
                     *           "share": 0.1
                     *         },
                     *         {
                     *           "events": [
                     *             "add_to_cart",
                     *             "purchase"
                     *           ],
                     *           "value": 50,
                     *           "count": 50,
                     *           "share": 0.25
                     *         }
                     *       ]
                     *     }
                     */
                    "application/json": components["schemas"]["Paths"];
                };
            };
            /** @description Unchanged: the answer still has the version of `If-None-Match`. */
            304: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    "Cache-Control": components["headers"]["Cache-Control"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["Reading400"];
            401: components["responses"]["Reading401"];
            403: components["responses"]["Reading403"];
            422: components["responses"]["Reading422"];
            429: components["responses"]["Reading429"];
            500: components["responses"]["Reading500"];
            503: components["responses"]["Reading503"];
        };
    };
    heatmap: {
        parameters: {
            query?: {
                /**
                 * @description Start of the range, inclusive: an ISO 8601 date or time, in `tz` unless it names a zone; or a relative one, such as `-7d`, `-24h`, `today`, `this_month`, `last_month`. Default: `query.default_range_hours` (24) before `to`.
                 * @example 2026-06-01
                 */
                from?: string;
                /**
                 * @description End of the range, inclusive: an ISO 8601 date or time, in `tz` unless it names a zone; or a relative one. A date alone includes that whole day, as do `-1d` and `yesterday`; `last_month` includes that whole month. Default: now.
                 * @example 2026-06-07
                 */
                to?: string;
                /**
                 * @description IANA time zone, such as `Europe/Berlin`. Times without a zone are in it; days, weeks and hours are those of its calendar; buckets have its offset. Default: UTC.
                 * @example Europe/Berlin
                 */
                tz?: components["schemas"]["TimeZone"];
                /**
                 * @description A condition `<field>:<op>:<value>`; only events that match all conditions count. Fields: `event_type`, `session_id`, `user_id`, `item_id`, `event_id`, `tenant_id`, `timestamp`, `received_at`, `inserted_at`, `meta:<path>`. Operations: `eq`, `ne`, `in`, `contains`, `starts`, `matches`, `gt`, `lt`, `exists`. `not:` in front keeps the other events. Or a segment of users: `did(<event type>, >=2, 30d)`, `not_did(…)`, `first_seen(30d)`, `segment(<name>)`; with `session_` in front, of sessions.
                 * @example [
                 *       "meta:plan:eq:pro"
                 *     ]
                 */
                filter?: string[];
                /**
                 * @description A condition as in `filter`; events that match at least one of these count. A number in front makes groups, of which each must have a match: `any=2:<condition>`, 1 to 10; default 1.
                 * @example [
                 *       "event_type:eq:purchase",
                 *       "event_type:eq:refund"
                 *     ]
                 */
                any?: string[];
                /** @description Same as `filter=event_type:eq:…`. */
                eventType?: string;
                /** @description Same as `filter=session_id:eq:…`. */
                sessionId?: string;
                /** @description Same as `filter=user_id:eq:…`. */
                userId?: string;
                /** @description Same as `filter=item_id:eq:…`. */
                itemId?: string;
                /** @description Only events whose metadata has the value `metaValue` under this key. Without `metaValue` it is ignored. */
                metaKey?: string;
                /** @description The value for `metaKey`; ignored without it. */
                metaValue?: string;
                /**
                 * @description What to calculate, up to five: `count`, `users`, `sessions`, `sum(meta:<path>)`, likewise `avg`, `min`, `max`, `median`, `p50`, `p75`, `p90`, `p95`, `p99`, `distinct(<field>)`, `rate(<event type>)` (of users), `session_rate(<event type>)`. A filter in brackets after it limits the events that count: `sum(meta:amount)[event_type:eq:purchase]`. The answer lists them as `measures`, and their `values` in the same order.
                 * @example [
                 *       "sum(meta:amount)[event_type:eq:purchase]"
                 *     ]
                 */
                measure?: string[];
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    "Cache-Control": components["headers"]["Cache-Control"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "projectId": "my-app",
                     *       "tenantId": "tenant-1",
                     *       "from": "2026-06-01T00:00:00+02:00",
                     *       "to": "2026-06-07T23:59:59.999+02:00",
                     *       "tz": "Europe/Berlin",
                     *       "totalCount": 28,
                     *       "cells": [
                     *         {
                     *           "weekday": 1,
                     *           "hour": 14,
                     *           "value": 28,
                     *           "count": 28,
                     *           "users": 19
                     *         }
                     *       ]
                     *     }
                     */
                    "application/json": components["schemas"]["Heatmap"];
                };
            };
            /** @description Unchanged: the answer still has the version of `If-None-Match`. */
            304: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    "Cache-Control": components["headers"]["Cache-Control"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["Reading400"];
            401: components["responses"]["Reading401"];
            403: components["responses"]["Reading403"];
            422: components["responses"]["Reading422"];
            429: components["responses"]["Reading429"];
            500: components["responses"]["Reading500"];
            503: components["responses"]["Reading503"];
        };
    };
    live: {
        parameters: {
            query?: {
                /**
                 * @description Resume after the message with this `id`. The header Last-Event-ID, which an EventSource sends by itself, has precedence.
                 * @example 1781519400123
                 */
                lastEventId?: string;
                /** @description The token, for a browser's EventSource, which cannot send the header Authorization. Give it a short life: URLs end up in the logs of proxies. */
                access_token?: string;
                /**
                 * @description A condition `<field>:<op>:<value>`; only events that match all conditions count. Fields: `event_type`, `session_id`, `user_id`, `item_id`, `event_id`, `tenant_id`, `timestamp`, `received_at`, `inserted_at`, `meta:<path>`. Operations: `eq`, `ne`, `in`, `contains`, `starts`, `matches`, `gt`, `lt`, `exists`. `not:` in front keeps the other events. Or a segment of users: `did(<event type>, >=2, 30d)`, `not_did(…)`, `first_seen(30d)`, `segment(<name>)`; with `session_` in front, of sessions.
                 * @example [
                 *       "meta:plan:eq:pro"
                 *     ]
                 */
                filter?: string[];
                /**
                 * @description A condition as in `filter`; events that match at least one of these count. A number in front makes groups, of which each must have a match: `any=2:<condition>`, 1 to 10; default 1.
                 * @example [
                 *       "event_type:eq:purchase",
                 *       "event_type:eq:refund"
                 *     ]
                 */
                any?: string[];
                /** @description Same as `filter=event_type:eq:…`. */
                eventType?: string;
                /** @description Same as `filter=session_id:eq:…`. */
                sessionId?: string;
                /** @description Same as `filter=user_id:eq:…`. */
                userId?: string;
                /** @description Same as `filter=item_id:eq:…`. */
                itemId?: string;
                /** @description Only events whose metadata has the value `metaValue` under this key. Without `metaValue` it is ignored. */
                metaKey?: string;
                /** @description The value for `metaKey`; ignored without it. */
                metaValue?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The stream. */
            200: {
                headers: {
                    "Cache-Control": components["headers"]["Cache-Control"];
                    "Nealytics-Warnings": components["headers"]["Nealytics-Warnings"];
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example retry: 2000
                     *     id: 1781519400000
                     *
                     *     id: 1781519400123
                     *     data: {"eventId":"0190163d-8694-739b-aea5-966c26f8ad91","sessionId":"abc-123","userId":"ada","eventType":"purchase","itemId":"/shop","metadataJson":"{\"plan\":\"pro\"}","timestamp":"2026-06-15T10:30:00.123Z","metadata":{"plan":"pro"}}
                     */
                    "text/event-stream": string;
                };
            };
            400: components["responses"]["Streaming400"];
            401: components["responses"]["Streaming401"];
            403: components["responses"]["Streaming403"];
            422: components["responses"]["Streaming422"];
            429: components["responses"]["Streaming429"];
            500: components["responses"]["Streaming500"];
            503: components["responses"]["Streaming503"];
        };
    };
    export: {
        parameters: {
            query?: {
                /** @description Format of the file. Default: what the header Accept prefers, else ndjson. */
                format?: "ndjson" | "csv" | "parquet";
                /** @description Add a last record that marks the export as complete and has the number of events. Parquet ignores it: its footer does that. */
                end?: boolean;
                /**
                 * @description Start of the range, inclusive: an ISO 8601 date or time, in `tz` unless it names a zone; or a relative one, such as `-7d`, `-24h`, `today`, `this_month`, `last_month`. Default: `query.default_range_hours` (24) before `to`.
                 * @example 2026-06-01
                 */
                from?: string;
                /**
                 * @description End of the range, inclusive: an ISO 8601 date or time, in `tz` unless it names a zone; or a relative one. A date alone includes that whole day, as do `-1d` and `yesterday`; `last_month` includes that whole month. Default: now.
                 * @example 2026-06-07
                 */
                to?: string;
                /**
                 * @description IANA time zone, such as `Europe/Berlin`. Times without a zone are in it; days, weeks and hours are those of its calendar; buckets have its offset. Default: UTC.
                 * @example Europe/Berlin
                 */
                tz?: components["schemas"]["TimeZone"];
                /**
                 * @description A condition `<field>:<op>:<value>`; only events that match all conditions count. Fields: `event_type`, `session_id`, `user_id`, `item_id`, `event_id`, `tenant_id`, `timestamp`, `received_at`, `inserted_at`, `meta:<path>`. Operations: `eq`, `ne`, `in`, `contains`, `starts`, `matches`, `gt`, `lt`, `exists`. `not:` in front keeps the other events. Or a segment of users: `did(<event type>, >=2, 30d)`, `not_did(…)`, `first_seen(30d)`, `segment(<name>)`; with `session_` in front, of sessions.
                 * @example [
                 *       "meta:plan:eq:pro"
                 *     ]
                 */
                filter?: string[];
                /**
                 * @description A condition as in `filter`; events that match at least one of these count. A number in front makes groups, of which each must have a match: `any=2:<condition>`, 1 to 10; default 1.
                 * @example [
                 *       "event_type:eq:purchase",
                 *       "event_type:eq:refund"
                 *     ]
                 */
                any?: string[];
                /** @description Same as `filter=event_type:eq:…`. */
                eventType?: string;
                /** @description Same as `filter=session_id:eq:…`. */
                sessionId?: string;
                /** @description Same as `filter=user_id:eq:…`. */
                userId?: string;
                /** @description Same as `filter=item_id:eq:…`. */
                itemId?: string;
                /** @description Only events whose metadata has the value `metaValue` under this key. Without `metaValue` it is ignored. */
                metaKey?: string;
                /** @description The value for `metaKey`; ignored without it. */
                metaValue?: string;
                /** @description How events have their metadata: as `text` in `metadataJson`; as `object` in `metadata`, or as text if it is no object; or `both`. */
                metadata?: "both" | "text" | "object";
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The stream. */
            200: {
                headers: {
                    "Cache-Control": components["headers"]["Cache-Control"];
                    "Nealytics-Warnings": components["headers"]["Nealytics-Warnings"];
                    [name: string]: unknown;
                };
                content: {
                    /** @example {"eventId":"0190163d-8694-739b-aea5-966c26f8ad91","projectId":"my-app","tenantId":"tenant-1","sessionId":"abc-123","userId":"ada","eventType":"purchase","itemId":"/shop","metadataJson":"{\"plan\":\"pro\"}","timestamp":"2026-06-15T10:30:00.123Z"} */
                    "application/x-ndjson": string;
                    "text/csv": string;
                    "application/vnd.apache.parquet": string;
                };
            };
            400: components["responses"]["Streaming400"];
            401: components["responses"]["Streaming401"];
            403: components["responses"]["Streaming403"];
            422: components["responses"]["Streaming422"];
            429: components["responses"]["Streaming429"];
            500: components["responses"]["Streaming500"];
            503: components["responses"]["Streaming503"];
            505: components["responses"]["Streaming505"];
        };
    };
    query: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "from": "2026-06-01",
                 *       "to": "2026-06-08",
                 *       "queries": {
                 *         "figures": {
                 *           "endpoint": "summary"
                 *         },
                 *         "pages": {
                 *           "endpoint": "top",
                 *           "dimension": "item_id"
                 *         }
                 *       }
                 *     }
                 */
                "application/json": components["schemas"]["Questions"];
            };
        };
        responses: {
            /** @description The answers, by the names of the reads. */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    "Cache-Control": components["headers"]["Cache-Control"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Answers"];
                    "application/x-ndjson": string;
                };
            };
            /** @description Unchanged: the answer still has the version of `If-None-Match`. */
            304: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    "Cache-Control": components["headers"]["Cache-Control"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["Asking400"];
            401: components["responses"]["Asking401"];
            403: components["responses"]["Asking403"];
            413: components["responses"]["Asking413"];
            422: components["responses"]["Asking422"];
            429: components["responses"]["Asking429"];
            500: components["responses"]["Asking500"];
            503: components["responses"]["Asking503"];
        };
    };
    queries: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The saved queries. */
            200: {
                headers: {
                    "Cache-Control": components["headers"]["Cache-Control"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ListAnswer"];
                };
            };
            400: components["responses"]["Reading400"];
            401: components["responses"]["Reading401"];
            403: components["responses"]["Reading403"];
            422: components["responses"]["Reading422"];
            429: components["responses"]["Reading429"];
            500: components["responses"]["Reading500"];
            503: components["responses"]["Reading503"];
        };
    };
    savedQuery: {
        parameters: {
            query?: {
                /** @description Format of the answer. Default: what the header Accept prefers, else json. */
                format?: "json" | "csv" | "ndjson" | "parquet";
            };
            header?: never;
            path: {
                /** @description Its name, as in the list. */
                name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    "Cache-Control": components["headers"]["Cache-Control"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SavedAnswer"];
                    "application/x-ndjson": string;
                    "text/csv": string;
                    "application/vnd.apache.parquet": string;
                };
            };
            /** @description Unchanged: the answer still has the version of `If-None-Match`. */
            304: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    "Cache-Control": components["headers"]["Cache-Control"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["Saved400"];
            401: components["responses"]["Saved401"];
            403: components["responses"]["Saved403"];
            404: components["responses"]["Saved404"];
            422: components["responses"]["Saved422"];
            429: components["responses"]["Saved429"];
            500: components["responses"]["Saved500"];
            503: components["responses"]["Saved503"];
            505: components["responses"]["Saved505"];
        };
    };
    health: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Yes. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Health"];
                };
            };
        };
    };
    ready: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Yes. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Readiness"];
                };
            };
            /** @description No; the parts say why. */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Readiness"];
                };
            };
        };
    };
    readyIngest: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Yes. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["IngestReadiness"];
                };
            };
            /** @description No; the parts say why. */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["IngestReadiness"];
                };
            };
        };
    };
    openapi: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description OpenAPI 3.1. */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    "Cache-Control": components["headers"]["Cache-Control"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": Record<string, never>;
                };
            };
            /** @description Unchanged since the version of `If-None-Match`. */
            304: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
}
