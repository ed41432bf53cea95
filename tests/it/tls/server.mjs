// An HTTPS server of Node's own. Arguments: the folder of its key and certificate, and h2 or http/1.1. Prints its port,
// then what it saw of each request, a line of JSON each; ends with its standard input.
import { createSecureServer } from "node:http2";
import { createServer } from "node:https";
import { readFileSync } from "node:fs";
import { createSecureContext } from "node:tls";

const [folder, protocol] = process.argv.slice(2);
const own = { key: readFileSync(`${folder}/key.pem`), cert: readFileSync(`${folder}/cert.pem`) };
let asked = null;
const SNICallback = (name, done) => {
  asked = name;
  done(null, createSecureContext(own));
};
let connections = 0;
const answer = (request, response) => {
  const host = request.headers[":authority"] ?? request.headers.host;
  const seen = { version: request.httpVersion, name: asked, host, connections };
  request.on("data", () => {});
  request.on("end", () => {
    console.log(JSON.stringify(seen));
    response.end("thanks");
  });
};
const server =
  protocol === "h2" ? createSecureServer({ ...own, SNICallback }, answer) : createServer({ ...own, SNICallback }, answer);
server.on("secureConnection", () => (connections += 1));
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
process.stdin.on("end", () => process.exit()).resume();
