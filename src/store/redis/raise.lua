-- Raises a generation, never lowers it, and forgets what lanes of endpoints remembered that are gone. KEYS: what holds it,
-- ls. ARGV: the generation; the ids of those endpoints.
local to = arg()
if tonumber(call('GET', KEYS[1]) or '0') < tonumber(to) then call('SET', KEYS[1], to) end
for _ = place + 1, #ARGV do call('HDEL', KEYS[2], arg()) end
return 1
