/** The API's types by short names, made from its own description (`openapi.ts`). */

import type { components, operations } from "./openapi.ts";

/** A route that answers with JSON, by its name. */
export type Endpoint = components["schemas"]["Question"]["endpoint"];

/** The parameters of a route. */
export type Params<Name extends keyof operations> = NonNullable<operations[Name]["parameters"]["query"]>;

/** What a route answers. */
export type AnswerOf<Name extends Endpoint> = operations[Name]["responses"][200]["content"]["application/json"];

/** One of the questions of a request. */
export type Question = { [Name in Endpoint]: { readonly endpoint: Name } & Params<Name> }[Endpoint];

/** Parameters for all questions of a request whose routes have them. */
export type Shared = Partial<Omit<Params<"summary">, "compare">>;

export type ApiError = components["schemas"]["Error"];

/** In the place of an answer. */
export type Failure = components["schemas"]["Failure"];

/** The answers by the questions' names. */
export type Results<Questions extends Record<string, Question>> = {
  [Name in keyof Questions]: AnswerOf<Questions[Name]["endpoint"]> | Failure;
};

export type TimelineEvent = components["schemas"]["TimelineEvent"];
/** With a token of the whole project it has its `tenantId`. */
export type LiveEvent = TimelineEvent;
export interface ExportedEvent extends TimelineEvent {
  projectId: string;
  tenantId: string;
}
