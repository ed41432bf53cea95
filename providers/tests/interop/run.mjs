// Reads jobs from stdin and prints, for each, what the library says. Bodies travel as base64, for they are bytes.
import { readFileSync } from "node:fs";
import Ajv from "ajv/dist/2020.js";
import formats from "ajv-formats";
import sendgrid from "@sendgrid/eventwebhook";
import { Webhook } from "svix";

const text = (job) => Buffer.from(job.body, "base64").toString("utf8");

const run = {
  svixSign: (job) => new Webhook(job.secret).sign(job.id, new Date(job.now * 1000), text(job)),
  svixVerify: (job) => {
    // The library asks the clock how old a signature is; the request is of the fixture's time.
    Date.now = () => job.now * 1000;
    return attempt(() => new Webhook(job.secret).verify(text(job), job.headers) !== undefined);
  },
  sendgridVerify: (job) => {
    const verifier = new sendgrid.EventWebhook();
    const key = verifier.convertPublicKeyToECDSA(job.key);
    const header = (name) => job.headers[name().toLowerCase()];
    const { SIGNATURE, TIMESTAMP } = sendgrid.EventWebhookHeader;
    return attempt(() => verifier.verifySignature(key, text(job), header(SIGNATURE), header(TIMESTAMP)));
  },
  // What is wrong with each of them.
  validate: (job) => {
    const ajv = new Ajv({ allErrors: true, strict: true });
    formats(ajv);
    const check = ajv.compile(job.schema);
    return job.values.map((value) => (check(value) ? [] : check.errors));
  },
};

function attempt(check) {
  try {
    return check();
  } catch {
    return false;
  }
}

const jobs = JSON.parse(readFileSync(0, "utf8"));
console.log(JSON.stringify(jobs.map((job) => run[job.op](job))));
