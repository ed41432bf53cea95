// Handles Waypost's events as they are committed to Redis, each at least once: docs/redis-streams.md says what it reads.
//
//   npm install redis
//   REDIS_URL=redis://crm:PASSWORD@localhost:6379 GROUP=crm CONSUMER=crm-1 node redis-streams.mjs
//
// Every process has a CONSUMER name of its own and keeps it when it is started again. On an error it ends: have it restarted.

import { createClient } from 'redis';

const PARTITIONS = new Map([0, 1, 2, 3].map((number) => [`{wp:${number}}:feed`, `{wp:${number}}:e:`]));
const { REDIS_URL, GROUP, CONSUMER } = process.env;
// Longer than a batch may take: after this, others believe that whoever has an entry is dead.
const CLAIM_AFTER_MS = Number(process.env.CLAIM_AFTER_MS ?? 60_000);
const [BATCH, BLOCK_MS, STAMP_LEN] = [100, 2_000, 16];

const db = createClient({ url: REDIS_URL });
let stopping = false;

/** Yours. The same event may come again: remember event.id. It is done when this returns. */
async function handle(event) {
  await new Promise((done) => process.stdout.write(`${JSON.stringify(event)}\n`, done));
}

/** Fetches the events of these entries, handles those that are still there, and acknowledges all. */
async function work(stream, entries) {
  if (entries.length === 0) return;
  const kept = await db.mGet(entries.map((entry) => PARTITIONS.get(stream) + entry.message.id));
  for (const value of kept) {
    // null: it has expired. A stamp alone: it was erased.
    if (value?.length > STAMP_LEN) await handle(JSON.parse(value.slice(STAMP_LEN)));
  }
  await db.xAck(stream, GROUP, entries.map((entry) => entry.id));
}

/** What this consumer left when it last ended. */
async function workOnOwn(stream) {
  for (;;) {
    const own = await db.xPendingRange(stream, GROUP, '-', '+', BATCH, { consumer: CONSUMER });
    if (own.length === 0) return;
    await work(stream, await db.xClaim(stream, GROUP, CONSUMER, 0, own.map((one) => one.id)));
  }
}

/** What other consumers left that are dead. */
async function workOnLeft(stream) {
  let start;
  while (start !== '0-0') {
    const left = await db.xAutoClaim(stream, GROUP, CONSUMER, CLAIM_AFTER_MS, start ?? '0-0', { COUNT: BATCH });
    await work(stream, left.messages);
    start = left.nextId;
  }
}

process.on('SIGTERM', () => (stopping = true));
await db.on('error', (error) => console.error(error.message)).connect();
for (const stream of PARTITIONS.keys()) {
  await db.xGroupCreate(stream, GROUP, '0', { MKSTREAM: true }).catch((error) => {
    if (!error.message.startsWith('BUSYGROUP')) throw error;
  });
  await workOnOwn(stream);
}
const streams = [...PARTITIONS.keys()].map((key) => ({ key, id: '>' }));
for (let claimAt = 0; !stopping; ) {
  if (performance.now() >= claimAt) {
    for (const { key } of streams) await workOnLeft(key);
    claimAt = performance.now() + CLAIM_AFTER_MS;
  }
  const read = await db.xReadGroup(GROUP, CONSUMER, streams, { COUNT: BATCH, BLOCK: BLOCK_MS });
  for (const { name, messages } of read ?? []) await work(name, messages);
}
await db.close();
