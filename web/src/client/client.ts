/**
 * A typed client of the read API, for Node 20 and newer, browsers, Deno and Bun.
 *
 * Promises: a token is always fresh, and asked for again once after a 401. Reads are asked again with growing delays
 * when the node or the network fails for the moment, never sooner than `Retry-After` says. What cannot be answered is
 * a `NealyticsError`. A cut export never looks complete.
 */

import createClient, { type Client as OpenApiClient } from "openapi-fetch";

import { errorOf, errorOfResponse, QueryError, retryAfterOf } from "../data/error.ts";
import { type GetToken, Tokens } from "../data/token.ts";
import { checked, type ExportFormat, lines, streamed } from "./export.ts";
import { type Gap, LiveEvents, type LiveOptions } from "./live.ts";
import type { components, operations, paths } from "./openapi.ts";
import { backOffMs, isTransient, wait } from "./retry.ts";
import type { AnswerOf, ApiError, Endpoint, ExportedEvent, Failure, LiveEvent, Params, Question, Results, Shared, TimelineEvent } from "./types.ts";

export { QueryError as NealyticsError, LiveEvents };
export type {
  AnswerOf, ApiError, components, Endpoint, ExportedEvent, ExportFormat, Failure, Gap, GetToken, LiveEvent, LiveOptions, operations, Params,
  paths, Question, Results, Shared, TimelineEvent,
};

export interface ClientOptions {
  /** Of the node, such as `https://analytics.example.com`; a path in front of `/api` belongs to it. */
  readonly url: string;
  /** Gives a token for reading. Called before the first request, a minute before a token ends, and once after a 401. */
  readonly getToken: GetToken;
  /** How often a read is asked again that fails for the moment; default 4. */
  readonly retries?: number | undefined;
  /** In place of the global one. */
  readonly fetch?: typeof globalThis.fetch | undefined;
}

export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
}

const RETRIES = 4;
/** A server that asks for more patience than this has failed. */
const RETRY_AFTER_S_MAX = 60;
/** Their bodies are read while they come. */
const STREAMS = ["/api/v1/telemetry/live", "/api/v1/telemetry/export"] as const;
const QUERY = "/api/v1/analytics/query";

type Plain<Name extends keyof operations> = Omit<Params<Name>, "cursor">;

export class NealyticsClient {
  /** Every route as `openapi-fetch` types it, with the token, retries and errors of this client. */
  readonly api: OpenApiClient<paths>;
  readonly #tokens: Tokens;
  readonly #retries: number;
  readonly #fetch: typeof globalThis.fetch;

  constructor(options: ClientOptions) {
    this.#tokens = new Tokens(options.getToken);
    this.#retries = options.retries ?? RETRIES;
    this.#fetch = options.fetch ?? ((input, init) => globalThis.fetch(input, init));
    this.api = createClient<paths>({
      baseUrl: options.url,
      credentials: "omit",
      fetch: (request) => this.#send(request, this.#retries),
    });
  }

  /** The token may belong to somebody else from now on. */
  forgetToken(): void {
    this.#tokens.forget();
  }

  summary(params: Params<"summary"> = {}, options?: CallOptions): Promise<AnswerOf<"summary">> {
    return this.#get("summary", params, options);
  }

  sessions(params: Params<"sessions"> = {}, options?: CallOptions): Promise<AnswerOf<"sessions">> {
    return this.#get("sessions", params, options);
  }

  timeseries(params: Params<"timeseries"> = {}, options?: CallOptions): Promise<AnswerOf<"timeseries">> {
    return this.#get("timeseries", params, options);
  }

  active(params: Params<"active"> = {}, options?: CallOptions): Promise<AnswerOf<"active">> {
    return this.#get("active", params, options);
  }

  top(params: Params<"top">, options?: CallOptions): Promise<AnswerOf<"top">> {
    return this.#get("top", params, options);
  }

  properties(params: Params<"properties"> = {}, options?: CallOptions): Promise<AnswerOf<"properties">> {
    return this.#get("properties", params, options);
  }

  funnel(params: Params<"funnel">, options?: CallOptions): Promise<AnswerOf<"funnel">> {
    return this.#get("funnel", params, options);
  }

  retention(params: Params<"retention"> = {}, options?: CallOptions): Promise<AnswerOf<"retention">> {
    return this.#get("retention", params, options);
  }

  paths(params: Params<"paths">, options?: CallOptions): Promise<AnswerOf<"paths">> {
    return this.#get("paths", params, options);
  }

  heatmap(params: Params<"heatmap"> = {}, options?: CallOptions): Promise<AnswerOf<"heatmap">> {
    return this.#get("heatmap", params, options);
  }

  /** Up to 30 questions with one request. One that fails has `{error}` in its place: `"error" in answer` tells. */
  async query<const Questions extends Record<string, Question>>(
    questions: Shared & { readonly queries: Questions },
    options?: CallOptions,
  ): Promise<{ projectId: string; tenantId?: string; results: Results<Questions> }> {
    // The description knows a question's parameters only as "any"; here each has those of its route.
    const body = questions as unknown as components["schemas"]["Questions"];
    const answer: unknown = await answered(this.api.POST(QUERY, { body, ...options }));
    return answer as { projectId: string; results: Results<Questions> };
  }

  /** One page of the timeline. */
  timelinePage(params: Params<"timeline"> = {}, options?: CallOptions): Promise<AnswerOf<"timeline">> {
    return this.#get("timeline", params, options);
  }

  /** All events of the timeline, newest first; pages of `limit` are fetched as they are needed. */
  async *timeline(params: Plain<"timeline"> = {}, options?: CallOptions): AsyncGenerator<TimelineEvent> {
    let cursor: string | undefined;
    do {
      const page: AnswerOf<"timeline"> = await this.timelinePage({ ...params, ...(cursor !== undefined && { cursor }) }, options);
      yield* page.events;
      cursor = page.nextCursor;
    } while (cursor !== undefined);
  }

  /** New events from now on, across breaks, restarts and ends of tokens. Ends with the signal, or with `break`. */
  live(params: Omit<Params<"live">, "access_token" | "lastEventId"> = {}, options: LiveOptions = {}): LiveEvents {
    const opens = (lastEventId: string | undefined, signal: AbortSignal): Promise<ReadableStream<Uint8Array>> =>
      // It takes itself up again, however often that takes.
      this.#stream(STREAMS[0], { ...params, ...(lastEventId !== undefined && { lastEventId }) }, signal, 0);
    return new LiveEvents(opens, () => this.#tokens.expire(), options);
  }

  /** All events of a range, oldest first. Throws `export_cut` at its end if the export was not complete. */
  async *export(params: Omit<Params<"export">, "format" | "end"> = {}, options?: CallOptions): AsyncGenerator<ExportedEvent> {
    const pieces = await this.#exported({ ...params, format: "ndjson" }, options);
    for await (const line of lines(pieces)) yield JSON.parse(line) as ExportedEvent;
  }

  /** The same as a file. The stream fails with `export_cut` in place of its end if the export was not complete. */
  async exportFile(
    params: Omit<Params<"export">, "end"> & { readonly format: ExportFormat },
    options?: CallOptions,
  ): Promise<ReadableStream<Uint8Array>> {
    return streamed(await this.#exported(params, options));
  }

  async #exported(
    params: Omit<Params<"export">, "end"> & { readonly format: ExportFormat },
    options?: CallOptions,
  ): Promise<AsyncGenerator<Uint8Array>> {
    const marked = params.format === "parquet" ? params : { ...params, end: true };
    const body = await this.#stream(STREAMS[1], marked, options?.signal, this.#retries);
    return checked(body, params.format, options?.signal);
  }

  #get<Name extends Endpoint>(name: Name, query: Params<Name>, options?: CallOptions): Promise<AnswerOf<Name>> {
    // The path and the name are one and the same route, which the compiler cannot see in general.
    const get = this.api.GET as unknown as (path: string, init: object) => Promise<Sent<AnswerOf<Name>>>;
    const path = `/api/v1/${name === "timeline" ? "telemetry" : "analytics"}/${name}`;
    return answered(get(path, { params: { query }, ...options }));
  }

  async #stream(path: (typeof STREAMS)[number], query: object, signal: AbortSignal | undefined, retries: number): Promise<ReadableStream<Uint8Array>> {
    const get = this.api.GET as unknown as (path: string, init: object) => Promise<Sent<ReadableStream<Uint8Array>>>;
    const fetch = (request: Request): Promise<Response> => this.#send(request, retries);
    return answered(get(path, { params: { query }, parseAs: "stream", cache: "no-store", fetch, signal }));
  }

  /** The last answer there is: the good one, or the error that did not go away. Throws where there is none. */
  async #send(request: Request, retries: number): Promise<Response> {
    const { pathname } = new URL(request.url);
    const isStream = STREAMS.some((path) => pathname.endsWith(path));
    const isRead = request.method === "GET" || pathname.endsWith(QUERY);
    let refused = false;
    for (let failures = 0; ; ) {
      const response = await this.#once(request.clone(), isRead, isStream).catch((error: unknown) => {
        if (request.signal.aborted || !(error instanceof QueryError)) throw error;
        return error;
      });
      if (response instanceof Response) {
        if (response.ok || response.status === 304) return response;
        // Another `Authorization` is the caller's own: a fresh token of `getToken` changes nothing about it.
        if (response.status === 401 && bearerOf.has(response) && !refused) {
          refused = true;
          this.#tokens.forget(bearerOf.get(response));
          continue;
        }
      }
      const error = response instanceof Response ? await errorOfResponse(response.clone()) : response;
      const again = isRead && isTransient(error) && failures < retries && error.retryAfterS <= RETRY_AFTER_S_MAX;
      if (!again && response instanceof Response) return response;
      if (!again) throw error;
      await wait(backOffMs(failures++, error), request.signal);
    }
  }

  async #once(request: Request, isRead: boolean, isStream: boolean): Promise<Response> {
    let token: string | undefined;
    if (isRead && !request.headers.has("Authorization")) {
      token = await this.#tokens.get();
      request.headers.set("Authorization", `Bearer ${token}`);
    }
    try {
      let response = await this.#fetch(request);
      this.#tokens.saw(response.headers.get("Date"));
      // Read to its end here, so that an answer that breaks off is asked for again, too.
      if (!isStream && response.body) response = new Response(await whole(response), response);
      if (token !== undefined) bearerOf.set(response, token);
      return response;
    } catch (error) {
      if (request.signal.aborted) throw error;
      const { message, cause } = error instanceof Error ? error : { message: String(error), cause: undefined };
      throw new QueryError("offline", cause instanceof Error ? `${message}: ${cause.message}` : message);
    }
  }
}

/** The body. Throws if it has broken off: Node takes what came before the end of a connection for all of it. */
async function whole(response: Response): Promise<ArrayBuffer> {
  const body = await response.arrayBuffer();
  const isJson = response.headers.get("Content-Type")?.startsWith("application/json");
  if (response.ok && isJson && !response.headers.has("Content-Length")) JSON.parse(new TextDecoder().decode(body));
  return body;
}

/** The token that an answer is about. */
const bearerOf = new WeakMap<Response, string>();

interface Sent<Data> {
  readonly data?: Data;
  readonly error?: unknown;
  readonly response: Response;
}

/** What was asked for. Throws `NealyticsError`. */
async function answered<Data>(sent: Promise<Sent<Data>>): Promise<Data> {
  let found: Sent<Data>;
  try {
    found = await sent;
  } catch (error) {
    if (error instanceof SyntaxError) throw new QueryError("http", `the answer is not JSON: ${error.message}`);
    throw error;
  }
  const { data, error, response } = found;
  if (!response.ok) throw errorOf(error, response.status, retryAfterOf(response));
  return data as Data;
}
