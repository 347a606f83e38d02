// The tutorial's TypeScript: checked, made JavaScript of, and its protocol part used as an app would.
//
//   node react_native.mjs FOLDER SERVER TOKEN RECORDING
//
// FOLDER: where to put the JavaScript. Says `answered N` (bytes) and `states …`; its line is cut by whoever counts the bytes.

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const require = createRequire(new URL("../contract/sdks/package.json", import.meta.url));
const ts = require("typescript");
globalThis.WebSocket ??= require("ws").WebSocket; // of Node.js below 22

const [folder, server, token, recording] = process.argv.slice(2);
const page = new URL("../../docs/tutorials/react-native/", import.meta.url);
const PROTOCOL = new URL("parley.ts", page).pathname;
const told = (problems) => problems.map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, "\n"));

// The protocol part with all its types; the screen, whose packages are not here, by its syntax.
const program = ts.createProgram([PROTOCOL], { noEmit: true, strict: true, skipLibCheck: true, target: ts.ScriptTarget.ES2022, types: [] });
assert.deepEqual(told(ts.getPreEmitDiagnostics(program)), []);
const compilerOptions = { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ES2022, jsx: ts.JsxEmit.ReactJSX };
const compiled = (fileName) =>
  ts.transpileModule(readFileSync(new URL(fileName, page), "utf8"), { fileName, compilerOptions, reportDiagnostics: true });
assert.deepEqual(told(compiled("App.tsx").diagnostics), []);

const script = join(folder, "parley.mjs");
writeFileSync(script, compiled("parley.ts").outputText);
const { Parley } = await import(pathToFileURL(script));

const states = [];
const m4a = readFileSync(recording).toString("base64");
/** One answer and its text, however the line is. */
const asked = (user) =>
  new Promise((resolve, reject) => {
    let answer;
    const line = new Parley(
      server,
      user,
      {
        onAnswer: (uri) => (answer = Buffer.from(uri.replace("data:audio/wav;base64,", ""), "base64")),
        onText: (text) => resolve({ answer, text, line }),
        onError: (sentence) => reject(new Error(sentence)),
        onState: (state) => states.push(state),
      },
      token,
      [50, 100, 200, 400, 800],
    );
    line.say(m4a); // before there is a line: it goes out as soon as there is
    line.dial();
  });

const { answer, text, line } = await asked("ann");
assert.equal(answer.subarray(0, 4).toString(), "RIFF");
console.log(`answered ${answer.length} ${text}`);
line.close();
console.log(`states ${states.join(" ")}`);
process.exit(0);
