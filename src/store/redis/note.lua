-- Adds to the audit log. KEYS: audit. ARGV: the lifetime in milliseconds, the entries.
local lifetime_ms = tonumber(arg())
local entries = {}
for _ = place + 1, #ARGV do table.insert(entries, arg()) end
note(KEYS[1], lifetime_ms, entries)
return 1
