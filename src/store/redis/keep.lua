-- Keeps a request with parts that were not understood, unless it is there. KEYS: r:<request>, n:<request>, incomplete.
-- ARGV: the lifetime in seconds, its id, what is kept of it, and what of it was not understood. Each has a stamp of its
-- own, which is its place in the list.
local lifetime_s, id, value, lacks = tonumber(arg()), arg(), arg(), arg()
local last = tonumber(call('ZREVRANGE', KEYS[3], '0', '0', 'WITHSCORES')[2] or '0')
if not call('SET', KEYS[1], value, 'NX', 'EX', text(lifetime_s)) then return 0 end
call('SET', KEYS[2], lacks, 'EX', text(lifetime_s))
call('ZADD', KEYS[3], text(math.max(now, last + 1)), id)
local old = call('ZRANGEBYSCORE', KEYS[3], '-inf', text(now - lifetime_s * 1000000), 'LIMIT', '0', text(MANY))
if #old > 0 then call('ZREM', KEYS[3], unpack(old)) end
return 1
