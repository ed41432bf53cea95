-- Keeps a job if nobody else has changed it. KEYS: j:<job>, jobs, jobs:active. ARGV: the lifetime in seconds, its id, its
-- version, when it was made, 1 if it has something to do, its JSON. Answers 1 if it was kept, else 0.
local lifetime_s, id, version, made, active, json = tonumber(arg()), arg(), tonumber(arg()), arg(), arg(), arg()
call('ZCARD', KEYS[2])
call('SCARD', KEYS[3])
local known = call('GET', KEYS[1])
if tonumber(known and string.match(known, '^%d+') or '0') + 1 ~= version then return 0 end
call('SET', KEYS[1], text(version) .. '|' .. json, 'EX', text(lifetime_s))
if not known then
  call('ZADD', KEYS[2], made, id)
  local old = call('ZRANGEBYSCORE', KEYS[2], '-inf', text(now - lifetime_s * 1000000), 'LIMIT', '0', text(MANY))
  if #old > 0 then call('ZREM', KEYS[2], unpack(old)) end
end
call(active == '1' and 'SADD' or 'SREM', KEYS[3], id)
return 1
