// Reads an AsyncAPI document from standard input and says what a parser of that ecosystem finds wrong with it.
import { Parser } from "@asyncapi/parser";

let text = "";
for await (const chunk of process.stdin) text += chunk;
const { document, diagnostics } = await new Parser().parse(text);
const errors = diagnostics.filter((diagnostic) => diagnostic.severity === 0);
for (const error of errors.slice(0, 20)) console.error(`${error.path.join(".")}: ${error.message}`);
if (!document || errors.length > 0) process.exit(1);
const operations = document.operations().all().map((operation) => operation.id());
console.log(`${document.version()} ${operations.join(",")} ${document.allMessages().all().length} messages`);
