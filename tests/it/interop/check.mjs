// Reads a list of checks from stdin, and writes what each library says of them, in order.
import { createPublicKey, verify as verifySignature } from "node:crypto";
import { EventWebhook } from "@sendgrid/eventwebhook";
import { HTTP } from "cloudevents";
import { Resend } from "resend";
import { Webhook as Standard } from "standardwebhooks";
import { Stripe } from "stripe";
import { Webhook as Svix } from "svix";
import { verify } from "./readme.mjs";
import { seeds } from "./seeds.mjs";

const stripe = new Stripe("sk_test_unused");
const sendgrid = new EventWebhook();

// These throw what they do not accept; what they return, if anything, is the parsed body.
const accepts = (verifying) => {
  verifying();
  return true;
};

// The public key as every library takes it: the DER of RFC 8410 around the 32 bytes.
const publicKey = (whpk) => {
  const raw = Buffer.from(whpk.replace(/^whpk_/, ""), "base64");
  const der = Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), raw]);
  return createPublicKey({ key: der, format: "der", type: "spki" });
};

const libraries = {
  ...seeds,
  // Consumers verify what they have parsed and written again.
  stringify: ({ body }) => JSON.stringify(JSON.parse(body)) === body,
  cloudevents: ({ body, headers }) => HTTP.toEvent({ body, headers }).validate(),
  // No JavaScript library of Standard Webhooks knows v1a; Node's own Ed25519 does.
  ed25519: ({ body, headers, key }) => {
    const signed = Buffer.from(`${headers["webhook-id"]}.${headers["webhook-timestamp"]}.${body}`);
    const values = headers["webhook-signature"].split(" ").filter((value) => value.startsWith("v1a,"));
    return values.some((value) => verifySignature(null, signed, publicKey(key), Buffer.from(value.slice(4), "base64")));
  },
  readme: ({ body, header, secret }) => verify(Buffer.from(body), header, secret),
  stripe: ({ body, header, secret }) => accepts(() => stripe.webhooks.constructEvent(body, header, secret)),
  standard: ({ body, headers, secret }) => accepts(() => new Standard(secret).verify(body, headers)),
  svix: ({ body, headers, secret }) => accepts(() => new Svix(secret).verify(body, headers)),
  resend: ({ body, headers, secret }) => {
    const [id, timestamp, signature] = ["id", "timestamp", "signature"].map((name) => headers[`svix-${name}`]);
    const request = { payload: body, headers: { id, timestamp, signature }, webhookSecret: secret };
    return accepts(() => new Resend("re_unused").webhooks.verify(request));
  },
  svix_sign: ({ body, id, seconds, secret }) => new Svix(secret).sign(id, new Date(seconds * 1000), body),
  sendgrid: ({ body, key, signature, timestamp }) =>
    sendgrid.verifySignature(sendgrid.convertPublicKeyToECDSA(key), body, signature, timestamp),
};

let text = "";
for await (const part of process.stdin) text += part;
const said = JSON.parse(text).map((check) => {
  try {
    return { answer: libraries[check.library](check) };
  } catch (error) {
    return { answer: false, error: String(error.message) };
  }
});
process.stdout.write(JSON.stringify(said));
