// Bundles a test's page or program.  node bundle.mjs ENTRY OUT [browser|node] [PACKAGE=OTHER …]
//
// OTHER stands in the place of PACKAGE, such as react18 in that of react.
import { build } from "esbuild";

const [entry, out, platform = "browser", ...aliases] = process.argv.slice(2);
await build({
  entryPoints: [entry],
  outfile: out,
  bundle: true,
  format: platform === "node" ? "cjs" : "esm",
  platform,
  conditions: platform === "node" ? ["node"] : [],
  preserveSymlinks: true,
  define: { "process.env.NODE_ENV": '"development"' },
  nodePaths: ["node_modules"],
  alias: Object.fromEntries(aliases.map((alias) => alias.split("="))),
  jsx: "automatic",
});
