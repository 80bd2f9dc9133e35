// Builds what the node serves into ../nealytics/web/: the same bytes for the same sources.  node build.mjs [DIRECTORY]
import { build } from "esbuild";
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

import { languages, words } from "./languages.mjs";
import { templates } from "./templates.mjs";

const out = process.argv[2] ?? "../nealytics/web";
mkdirSync(out, { recursive: true });
const { metafile } = await build({
  metafile: true,
  entryPoints: { embed: "src/embed.ts", "embed-page": "src/embed-page.ts", "home-page": "src/home-page.ts", "dead-letter-page": "src/dead-letter-page.ts", ...words },
  outdir: out,
  bundle: true,
  minify: true,
  format: "esm",
  charset: "utf8", // as modules are always read
  target: ["es2022"],
  define: { SERVED_BY_NODE: "true" },
  legalComments: "none",
  banner: { js: "/* Nealytics, MIT. Contains Lit (BSD-3-Clause). */" },
  plugins: [
    templates,
    {
      // The page loads the elements as everybody does, so that they are one script and one cache entry.
      name: "embed is a script of its own",
      setup: (it) => it.onResolve({ filter: /^\.\/embed\.ts$/ }, () => ({ path: "./embed.js", external: true })),
    },
    languages,
  ],
});
// A classic script, because a module does not know its own element. It has no banner: each byte counts.
await build({
  entryPoints: ["src/t.ts"],
  outdir: out,
  bundle: true,
  minify: true,
  format: "iife",
  target: ["es2022"],
  tsconfigRaw: { compilerOptions: { alwaysStrict: false } },
});
// Their licences ask that the notices go with every copy.
const packages = Object.keys(metafile.inputs).flatMap((path) => /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1] ?? []);
const notices = [...new Set(packages)].sort().map((name) => `${name}\n\n${readFileSync(`node_modules/${name}/LICENSE`, "utf8").trim()}\n`);
writeFileSync(`${out}/LICENSES.txt`, notices.join(`\n${"-".repeat(80)}\n\n`));
for (const name of ["embed.html", "home.html", "dead-letter.html", "embed-page.css"]) copyFileSync(`pages/${name}`, `${out}/${name}`);
for (const name of ["t.js", "embed.js", "embed-page.js", "home-page.js", "dead-letter-page.js", ...Object.keys(words).map((one) => `${one}.js`)]) {
  const bytes = readFileSync(`${out}/${name}`);
  console.log(`${name}: ${bytes.length} bytes, ${gzipSync(bytes, { level: 9 }).length} compressed`);
}
