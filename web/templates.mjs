import { readFileSync } from "node:fs";

/** Nobody reads the indentation of templates, nor the comments and spaces of style sheets, in what is served. */
export const templates = {
  name: "templates without their spaces",
  setup: (it) => {
    it.onLoad({ filter: /\/src\/.*\.ts$/ }, ({ path }) => ({
      loader: "ts",
      contents: readFileSync(path, "utf8")
        .replace(/css`[^`]*`/g, (sheet) => sheet.replace(/\/\*.*?\*\//gs, "").replace(/\s+/g, " ").replace(/ ?([{};,]) ?/g, "$1").replace(/: /g, ":").replace(/;\}/g, "}").replace(/\b0\.(?=\d)/g, "."))
        .replace(/\n\s+/g, "\n"),
    }));
  },
};
