// The snippets of the seed documents, run as they stand: what they leave out (an app, an environment) is put around them.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import ts from "typescript";

const require = createRequire(import.meta.url);
const text = (name) => readFileSync(new URL(`seeds/${name}`, import.meta.url), "utf8");

// A module that keeps its function to itself, with types or without.
const verifier = async (name) => {
  const compilerOptions = { module: ts.ModuleKind.ES2022, target: ts.ScriptTarget.ES2022 };
  const module = ts.transpileModule(`${text(name)}\nexport { verifyWebhook };\n`, { compilerOptions }).outputText;
  return (await import(`data:text/javascript,${encodeURIComponent(module)}`)).verifyWebhook;
};

const seed001 = await verifier("001.ts");
const seed004 = await verifier("004.js");

// Runs a script that adds a handler to `app`, as Express would call it: the body is parsed by then.
const handled = (name, { headers, body, secret }) => {
  const printed = [];
  const answer = {};
  let handler;
  const app = { post: (_, given) => (handler = given) };
  const console = { log: (...words) => printed.push(words.join(" ")) };
  const process = { env: { WEBHOOK_SECRET: secret } };
  const response = {
    status: (code) => Object.assign(response, { code }),
    json: () => (answer.status = response.code),
    send: () => (answer.status = response.code),
  };
  const processEmailEvent = (event) => (answer.processed = event);
  const names = ["require", "app", "console", "process", "processEmailEvent"];
  new Function(...names, text(name))(require, app, console, process, processEmailEvent);
  handler({ headers, body: JSON.parse(body) }, response);
  return { ...answer, printed };
};

export const seeds = {
  seed001: ({ headers, body, secret }) => seed001(body, headers["x-webhook-signature"], secret),
  seed002: (request) => handled("002.js", request).status === 200,
  seed003: (request) => {
    const { status, processed, printed } = handled("003.js", request);
    return status === 200 && JSON.stringify(processed) === request.body ? printed[0] : false;
  },
  seed004: ({ headers, body, secret }) => seed004(body, headers["x-webhook-signature"], secret),
};
