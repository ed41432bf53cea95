-- Ends pending deliveries of a replay, which from now on makes none. KEYS: rp:<replay>, st:replays, st:canceled,
-- announce. ARGV: the lifetime in seconds, the replay, the reason, how many at most. Answers how many.
local lifetime_s, replay, reason, limit = tonumber(arg()), arg(), arg(), tonumber(arg())
for i = 1, 3 do call('ZCARD', KEYS[i]) end
call('SET', prefix .. 'x:' .. replay, '1', 'EX', text(lifetime_s))
local found = call('ZRANGE', KEYS[1], '0', text(limit - 1), 'WITHSCORES')
local changed, ended, stamp = {}, {}, now

for i = 1, #found, 2 do
  local mail, member = string.sub(found[i], 1, 16), string.sub(found[i], 17)
  local made = text(tonumber(found[i + 1]))
  local name, endpoint = string.match(member, '^([^|]*)|(.*)$')
  local lane = lane_of('l', endpoint)
  local at = text(stamp)
  cancel(lane, mail, name, made, reason, at, lifetime_s)
  table.insert(ended, at)
  table.insert(ended, member)
  call('ZREM', KEYS[1], found[i])
  call('ZREM', KEYS[2], member)
  changed[endpoint], stamp = true, stamp + 1
end
for endpoint in pairs(changed) do refresh('l', endpoint) end
if #ended > 0 then
  each('ZADD', KEYS[3], ended)
  trim('canceled', lifetime_s, ended)
  call('XADD', KEYS[4], 'MAXLEN', '~', '100', '*', 'n', '1')
end
return #ended / 2
