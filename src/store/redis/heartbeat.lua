-- Keeps a gateway among the living, and tells who is. KEYS: gateways.
local gateway, ttl = arg(), tonumber(arg())
call('ZREMRANGEBYSCORE', KEYS[1], '-inf', text(now))
call('ZADD', KEYS[1], text(now + ttl), gateway)
return call('ZRANGE', KEYS[1], 0, -1)
