// The TypeScript of a module, for tests that Node runs as they are.
import { build } from "esbuild";

export async function source(path) {
  const { outputFiles } = await build({ entryPoints: [path], bundle: true, format: "esm", write: false });
  return import(`data:text/javascript;base64,${Buffer.from(outputFiles[0].contents).toString("base64")}`);
}
