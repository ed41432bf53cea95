-- Ends pending deliveries of a replay, which from now on makes none. KEYS: rp:<replay>, st:replays, st:canceled,
-- announce. ARGV: the lifetime in seconds, the replay, the reason, how many at most. Answers how many.
local lifetime_s, replay, reason, limit = tonumber(arg()), arg(), arg(), tonumber(arg())
for i = 1, 3 do call('ZCARD', KEYS[i]) end
call('SET', prefix .. 'x:' .. replay, '1', 'EX', text(lifetime_s))
local found = call('ZRANGE', KEYS[1], '0', text(limit - 1), 'WITHSCORES')
local changed, ended, stamp = {}, {}, now

-- It is among those that fall due at a time of their own, or was never tried, or waits for another of its mail.
local function take_out(lane, mail, entry)
  if call('ZREM', lane.due, entry) == 0 and call('LREM', lane.fresh, '1', entry) == 0 then
    call('LREM', chain(lane, mail), '1', entry)
  end
end

-- Where it was its turn, the next of its mail may go.
local function advance(lane, mail, name)
  local holder = call('HGET', lane.busy, mail)
  if holder ~= name and holder ~= name .. '+' then return end
  local key = chain(lane, mail)
  local follower = call('LPOP', key)
  if not follower then
    call('HDEL', lane.busy, mail)
    return
  end
  local event = string.sub(follower, 33)
  call('HSET', lane.busy, mail, call('EXISTS', key) == 1 and waited_for(event) or event)
  call('ZADD', lane.due, text(now), follower)
end

for i = 1, #found, 2 do
  local mail, member = string.sub(found[i], 1, 16), string.sub(found[i], 17)
  local made = text(tonumber(found[i + 1]))
  local name, endpoint = string.match(member, '^([^|]*)|(.*)$')
  local lane = lane_of('l', endpoint)
  local row = call('HGET', lane.rows, name)
  local known, begun, begun_at, attempts, _
  if row then known, begun, begun_at, _, _, attempts = row_read(row) end
  if not known then begun, begun_at, attempts = '0', '', '' end
  take_out(lane, mail, made .. mail .. name)
  call('HDEL', lane.rows, name)
  advance(lane, mail, name)
  local at = text(stamp)
  keep(name, endpoint, {'canceled', reason, begun, begun_at, at, attempts}, made, lifetime_s)
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
