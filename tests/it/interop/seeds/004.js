// From the seed document 004, as it stands there.
import { createHmac, timingSafeEqual } from "node:crypto";
function verifyWebhook(payload, signature, secret) {
const expected = createHmac("sha256", secret).update(payload).digest("hex");
return timingSafeEqual(
Buffer.from(signature, "utf-8"),
Buffer.from(expected, "utf-8"),
);
}
