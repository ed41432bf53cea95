-- Raises a generation, never lowers it. KEYS: what holds it.
local to = arg()
if tonumber(call('GET', KEYS[1]) or '0') < tonumber(to) then call('SET', KEYS[1], to) end
return 1
