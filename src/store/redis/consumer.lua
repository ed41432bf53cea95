-- Puts a consumer of the feed if its version follows that of the one there. KEYS: consumers. ARGV: its name, its version, its
-- JSON. Answers 1 if it did, else 0.
local name, version, json = arg(), tonumber(arg()), arg()
local known = call('HGET', KEYS[1], name)
if tonumber(known and string.match(known, '^%d+') or '0') + 1 ~= version then return 0 end
call('HSET', KEYS[1], name, text(version) .. '|' .. json)
return 1
