// Makes the npm package: its directory, and with PACK its file.  node package.mjs DIRECTORY
//
//   nealytics/embed    the elements        nealytics/react    components of them
//   nealytics/client   the read API        nealytics/tracker  what /t.js is made of
//   types/             of all of them, from the sources
//   embed-XX.js        words of the elements, each loaded by a page in that language
//
// What the package needs of others stays an import, so that a page that has Lit already has it once.
import { build } from "esbuild";
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

import { languages, words } from "./languages.mjs";
import { templates } from "./templates.mjs";

const out = process.argv[2];
if (!out) throw new Error("package.mjs: name the directory that the package is to be in");
const own = JSON.parse(readFileSync("package.json", "utf8"));
const REPOSITORY = "https://github.com/neavents/nealytics";
const ENTRIES = { embed: "src/embed.ts", react: "src/react/index.ts", client: "src/client/client.ts", tracker: "src/tracker/index.ts", ...words };

rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
for (const [name, entry] of Object.entries(ENTRIES)) {
  await build({
    entryPoints: { [name]: entry },
    outdir: out,
    bundle: true,
    packages: "external",
    minifySyntax: true,
    minifyWhitespace: name.startsWith("embed"),
    charset: "utf8", // as modules are always read
    format: "esm",
    target: ["es2022"],
    define: { SERVED_BY_NODE: "false" },
    banner: name === "react" ? { js: '"use client";' } : {},
    plugins: [
      templates,
      languages,
      {
        name: "the components import the elements",
        setup: (it) => it.onResolve({ filter: /\/embed\.ts$/ }, ({ kind }) => (kind === "entry-point" ? undefined : { path: "./embed.js", external: true })),
      },
    ],
  });
}

execFileSync(process.execPath, [
  "node_modules/typescript/bin/tsc", "--project", "tsconfig.json", "--noEmit", "false", "--emitDeclarationOnly", "--declaration",
  "--rootDir", "src", "--outDir", join(out, "types"),
], { stdio: "inherit" });
for (const none of ["embed-page.d.ts", "home-page.d.ts", "t.d.ts", "text/languages"]) rmSync(join(out, "types", none), { recursive: true });
for (const file of readdirSync(join(out, "types"), { recursive: true })) {
  if (!file.endsWith(".d.ts")) continue;
  const path = join(out, "types", file);
  writeFileSync(path, readFileSync(path, "utf8").replace(/(from |import )"(\.[^"]*)\.ts"/g, '$1"$2.js"'));
}

const at = (types, file) => ({ types: `./types/${types}.d.ts`, default: `./${file}.js` });
const manifest = {
  name: own.name,
  version: own.version,
  description: own.description,
  license: own.license,
  homepage: `${REPOSITORY}#readme`,
  bugs: `${REPOSITORY}/issues`,
  keywords: ["analytics", "tracker", "charts", "dashboard", "web-components", "react", "multi-tenant"],
  repository: { type: "git", url: `git+${REPOSITORY}.git`, directory: "web" },
  type: "module",
  sideEffects: ["./embed.js"],
  exports: {
    "./embed": at("embed", "embed"),
    "./react": at("react/index", "react"),
    "./client": at("client/client", "client"),
    "./tracker": at("tracker/index", "tracker"),
    "./package.json": "./package.json",
  },
  files: ["*.js", "types"],
  engines: { node: ">=20" },
  dependencies: own.dependencies,
  peerDependencies: { react: ">=18" },
  peerDependenciesMeta: { react: { optional: true } },
};
writeFileSync(join(out, "package.json"), `${JSON.stringify(manifest, null, 2)}\n`);
copyFileSync("README.md", join(out, "README.md"));
copyFileSync("../LICENSE", join(out, "LICENSE"));

for (const name of Object.keys(ENTRIES)) {
  const bytes = readFileSync(join(out, `${name}.js`));
  console.log(`nealytics/${name}: ${bytes.length} bytes, ${gzipSync(bytes, { level: 9 }).length} compressed`);
}
