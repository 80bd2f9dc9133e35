// Runs the suite in this runtime and prints what came out.  node|deno|bun run.mjs PATH-OF-client.js CONFIGURATION
import { run } from "./suite.mjs";

const [path, configuration] = globalThis.Deno?.args ?? process.argv.slice(2);
const results = await run(await import(path), JSON.parse(configuration));
console.log(JSON.stringify(results));
// What is left open would keep the process.
globalThis.Deno ? Deno.exit() : process.exit();
