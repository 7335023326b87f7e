// npm solc (WebAssembly) behind the command line of the native solc, as far as py-solc-x and forge use it:
//   --version
//   --standard-json [FILE] [--base-path DIR] [--include-path DIR]... [--allow-paths ...]
// Imports that are not in the input are looked up in the base path, the include paths and node_modules.
"use strict";
const fs = require("fs");
const path = require("path");
const solc = require("solc");

const WITH_VALUE = new Set(["--base-path", "--include-path", "--allow-paths"]);

function parse(argv) {
  const options = { flags: new Set(), roots: [], files: [] };
  for (let i = 0; i < argv.length; i++) {
    if (WITH_VALUE.has(argv[i])) {
      if (argv[i] !== "--allow-paths") options.roots.push(argv[i + 1]);
      i += 1;
    } else if (argv[i].startsWith("--")) {
      options.flags.add(argv[i]);
    } else if (argv[i] !== "-") {
      options.files.push(argv[i]);
    }
  }
  options.roots.push(".", path.join(__dirname, "node_modules"));
  return options;
}

function finder(roots) {
  return (name) => {
    const found = roots.map((root) => path.join(root, name)).find((file) => fs.existsSync(file));
    return found ? { contents: fs.readFileSync(found, "utf8") } : { error: `File not found: ${name}` };
  };
}

const options = parse(process.argv.slice(2));
if (options.flags.has("--version")) {
  // py-solc-x and forge read the "+commit" part and a native platform's name.
  const version = solc.version().replace(".Emscripten.clang", ".Linux.g++");
  console.log(`solc, the solidity compiler commandline interface\nVersion: ${version}`);
} else if (options.flags.has("--standard-json")) {
  const input = fs.readFileSync(options.files[0] || 0, "utf8");
  process.stdout.write(solc.compile(input, { import: finder(options.roots) }));
} else {
  console.error("solcshim: found neither --version nor --standard-json, the two that are allowed");
  process.exit(2);
}
