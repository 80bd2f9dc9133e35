// Makes the types of the API out of its description.  nealytics/http/openapi.py → node api-types.mjs < openapi.json > openapi.ts
import openapiTS, { astToString } from "openapi-typescript";
import { text } from "node:stream/consumers";

// What has a default is left out of an answer all the same, and may be left out of a question.
const types = astToString(await openapiTS(JSON.parse(await text(process.stdin)), { defaultNonNullable: false }));
process.stdout.write(`/** Made from the API's own description (/openapi.json); \`npm run types\` makes it again. */\n\n${types}`);
